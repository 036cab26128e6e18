import Support

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A clip: a video file, an image file (one frame), or a directory of image files (a frame each, in natural order, one a second).
public struct MediaInput: Sendable {
  /// Whether it has frames in time.
  public enum Kind: Sendable, Equatable {
    /// Frames in time.
    case video
    /// A picture, or an animation.
    case image
    /// The images' paths in order.
    case directory([String])
  }

  /// Where it lies.
  public let path: String
  /// A video or an image.
  public let kind: Kind
  /// What a directory holds beside its images, each a sentence.
  let leftOut: [String]

  /// Pixels of all frames together up to which a video is decoded whole, which proves the number of its frames. The default is decoded
  /// in about a second by two processors: 320 frames of 1280 × 720.
  package var shortClip = 300_000_000

  /// What decodes it, in a process of its own; nil: this process does. What is opened has `DecoderProcesses.standard`.
  public var decoder = DecoderProcesses.standard

  /// As another process has opened it.
  init(path: String, kind: Kind, leftOut: [String], shortClip: Int) {
    (self.path, self.kind, self.leftOut, self.shortClip, decoder) = (path, kind, leftOut, shortClip, nil)
  }

  /// Looks what is there: a file by its first bytes, never by its name. Nothing is decoded yet.
  package init(path: String) throws(VideoError) {
    self.path = path
    switch try PathKind(of: path) {
    case .directory:
      let directory = try ImageDirectory(path)
      guard !directory.images.isEmpty else { throw .noImages(path: path, found: directory.contents) }
      kind = .directory(directory.images)
      leftOut = directory.warnings
    case .file:
      let head = try FileInput(path: path).read(first: 1 << 16)
      kind = ImageFormat(head).map { $0 != .gif && ($0 != .png || ImageHeader(head, $0).pictures == 1) } ?? false ? .image : .video
      leftOut = []
    }
    decoder?.prepare()
  }

  /// Pictures as a clip, each looked at as above.
  package init(pictures paths: [String]) throws(VideoError) {
    for path in paths where try MediaInput(path: path).kind != .image {
      throw .unreadable(path: path, reason: "no picture: only pictures make a clip together")
    }
    path = paths.first ?? ""
    kind = .directory(paths)
    leftOut = []
  }

  /// Calls `onEvent` with the frames asked for, in order, and returns what was noticed.
  ///
  /// The frames are those at `SamplingRequest.indices` of the frames that really decode, in the order of presentation: exactly these,
  /// whatever the container says of their number. They come upright and in RGB. Only a few decoded frames are in memory at a time.
  /// A process that decodes is at most one frame ahead of `onEvent`.
  ///
  /// - Parameters:
  ///   - preparing: frames become what the model sees of them; nil: they come in their own size.
  ///   - threads: for decoding; nil for as many as there are processors.
  ///   - memory: bytes that decoding may take, if fewer threads can make it so; nil for no limit.
  ///   - cancelled: asked often, from this thread; true ends sampling with `cancelled`.
  ///   - onEvent: its own error ends sampling with `consumerFailed`, or as it is if it is a `VideoError`.
  package func sample(
    _ request: SamplingRequest, preparing: Preprocessing? = nil, threads: Int? = nil, memory: Int? = nil,
    cancelled: @escaping () -> Bool = { false }, onEvent: (FrameEvent<SampledFrame>) throws -> Void
  ) throws(VideoError) -> SamplingReport {
    try request.check()
    let limits = DecoderLimits(threads: threads, memory: memory)
    let before = UnsteadyFiles(files, mayGrow: kind == .video)
    let result: Result<SamplingReport, VideoError> = withoutActuallyEscaping(onEvent) { onEvent in
      Result { () throws(VideoError) in
        if let decoder {
          return try RemoteClip(self, decoder, cancelled: cancelled).sample(request, preparing: preparing, limits, onEvent: onEvent)
        }
        return try run(request, limits, FrameSink(preparing: preparing, onEvent: onEvent), FileAccess(cancelled: cancelled))
      }
    }
    if case .failure(.cancelled) = result { return try result.get() }
    // Whatever else came of it: frames of a file that was written over meanwhile are of two clips, and errors of neither.
    if let path = before.overwritten { throw .changedWhileReading(path: path) }
    return try result.get()
  }

  /// The same in this process.
  func run(
    _ request: SamplingRequest, _ limits: DecoderLimits, _ sink: FrameSink, _ access: FileAccess
  ) throws(VideoError) -> SamplingReport {
    switch kind {
    case .video:
      try VideoSampler(
        path: path, request: request, limits: limits, shortClip: shortClip, sink: sink, access: access
      ).run()
    case .image:
      try StillSampler(path: path, request: request, sink: sink, access: access).run([path], isDirectory: false)
    case .directory(let files):
      try StillSampler(path: path, request: request, sink: sink, access: access).run(
        files, leftOut: leftOut, isDirectory: true)
    }
  }
}

/// What a directory holds; hidden files left out.
struct ImageDirectory {
  /// The image files in natural order: those whose first bytes are of an image.
  private(set) var images: [String] = []
  /// Names of files of other kinds, and of files that cannot be read with the reason.
  private var others: [String] = []
  private var unreadable: [String] = []
  private var directories = 0
  private let path: String

  init(_ path: String) throws(VideoError) {
    self.path = path
    var names: [String]
    do throws(SystemError) { names = try SystemCalls.entries(of: path).filter { !$0.hasPrefix(".") } } catch {
      throw .unreadable(path: path, reason: error.message)
    }
    names.sort(by: naturallyPrecedes)
    let prefix = path.hasSuffix("/") ? path : path + "/"
    for name in names {
      do {
        if case .directory = try PathKind(of: prefix + name) {
          directories += 1
        } else if try ImageFormat(FileInput(path: prefix + name).read(first: 16)) != nil {
          images.append(prefix + name)
        } else {
          others.append(name)
        }
      } catch {
        unreadable.append("\(error)")
      }
    }
  }

  /// A sentence for all that is no image, and one for each file that may be one.
  var warnings: [String] {
    let files = others.count == 1 ? "1 file is" : "\(others.count) files are"
    let left = others.isEmpty ? [] : ["\(path.escaped()): \(files) of no known image format and left out: \(ImageDirectory.list(others))"]
    return left + unreadable.map { "left out: \($0)" }
  }

  /// In words, where there is no image.
  var contents: String {
    var parts: [String] = []
    if !others.isEmpty {
      parts.append("\(others.count) file\(others.count == 1 ? "" : "s") of other kinds (\(ImageDirectory.list(others)))")
    }
    if let first = unreadable.first { parts.append("\(unreadable.count) that cannot be read (\(first))") }
    if directories > 0 { parts.append("\(directories) director\(directories == 1 ? "y" : "ies")") }
    return parts.isEmpty ? "which is empty" : "only \(parts.joined(separator: " and "))"
  }

  private static func list(_ names: [String]) -> String {
    let shown = names.prefix(5).map(\.quoted).joined(separator: ", ")
    return names.count > 5 ? "\(shown) and \(names.count - 5) more" : shown
  }
}

/// `frame9` before `frame10`: digits are compared as numbers, everything else by code point.
func naturallyPrecedes(_ one: String, _ other: String) -> Bool {
  let left = Array(one.unicodeScalars)
  let right = Array(other.unicodeScalars)
  var i = 0
  var j = 0
  while i < left.count, j < right.count {
    if left[i].isDigit, right[j].isDigit {
      let first = digits(left, &i)
      let second = digits(right, &j)
      if first.count != second.count { return first.count < second.count }
      if first != second { return first.lexicographicallyPrecedes(second) }
    } else {
      if left[i] != right[j] { return left[i] < right[j] }
      i += 1
      j += 1
    }
  }
  if left.count - i != right.count - j { return left.count - i < right.count - j }
  // Equal but for leading zeros.
  return one < other
}

/// The digits at `position`, leading zeros left out; `position` moves behind them.
private func digits(_ text: [Unicode.Scalar], _ position: inout Int) -> [Unicode.Scalar] {
  let start = position
  while position < text.count, text[position].isDigit { position += 1 }
  return Array(text[start..<position].drop { $0 == "0" })
}

extension Unicode.Scalar {
  fileprivate var isDigit: Bool { ("0"..."9").contains(self) }
}
