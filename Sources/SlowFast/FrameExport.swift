import Support
import Video

/// Shows what a model would see of a clip: a PNG a frame, one contact sheet, PNG or JPEG by its name.
public struct FrameExport: Sendable {
  /// Made if it is not there; nil writes no single frames.
  public var directory: String?
  /// nil writes no contact sheet.
  public var sheet: String?

  /// Replaces files that are there already; never the clip. Without it, frames that are there just as they would be written stay.
  public var replacing: Bool

  /// Where the frames go.
  public init(directory: String? = nil, sheet: String? = nil, replacing: Bool = false) {
    self.directory = directory
    self.sheet = sheet
    self.replacing = replacing
  }

  /// `progress` gets the frames done, and how many there are.
  public func run(
    _ source: MediaInput, _ request: SamplingRequest, progress: (Int, Int) -> Void = { _, _ in },
    isCancelled: @escaping () -> Bool = { false }
  ) throws(SlowFastError) -> SamplingReport {
    let inputs = source.paths
    var sheetFormat = PictureFormat.png
    if let sheet {
      guard let format = PictureFormat(path: sheet) else {
        throw .badOption(name: "the contact sheet's name", found: sheet, expected: "one that ends in .png, .jpg or .jpeg")
      }
      sheetFormat = format
      // Before any work is done.
      do throws(OutputError) { try OutputFile.check(sheet, replacing: replacing, inputs: inputs) } catch { throw SlowFastError(error) }
    }
    if let directory {
      do throws(SystemError) { try SystemCalls.makeDirectory(directory) } catch {
        throw SlowFastError(OutputError.cannotWrite(path: directory, error))
      }
    }
    return try classified { () throws(VideoError) in
      let (report, contact) = try Self.sample(source, request, hasSheet: sheet != nil, isCancelled: isCancelled) {
        (frame, position, total) throws(VideoError) in
        if let directory {
          try frame.image.writePNG(to: Self.name(frame, position, in: directory), replacing: replacing, inputs: inputs)
        }
        progress(position + 1, total)
      }
      if let sheet, let contact { try contact.image.write(sheetFormat, to: sheet, replacing: replacing, inputs: inputs) }
      return report
    }
  }

  /// The contact sheet as a JPEG file's bytes, and what is on it.
  public static func sheet(
    _ source: MediaInput, _ request: SamplingRequest, isCancelled: @escaping () -> Bool = { false }
  ) throws(SlowFastError) -> (report: SamplingReport, jpeg: [UInt8]) {
    try classified { () throws(VideoError) in
      let (report, contact) = try sample(source, request, hasSheet: true, isCancelled: isCancelled)
      guard let contact else { throw .noFrames(path: source.path, reason: "nothing was sampled") }
      return (report, try contact.image.encoded(.jpeg))
    }
  }

  /// The sheet of a stream's newest frames, as the model sees them.
  public static func sheet(_ window: LiveWindow) throws(SlowFastError) -> [UInt8] {
    guard let first = window.frames.first else { return [] }
    return try classified { () throws(VideoError) in
      var contact = try ContactSheet(count: window.frames.count, first: first.image)
      for (position, frame) in window.frames.enumerated() {
        contact.add(
          SampledFrame(index: position, seconds: window.report.frames[position].seconds, image: frame.image), at: position)
      }
      return try contact.image.encoded(.jpeg)
    }
  }

  private static func sample(
    _ source: MediaInput, _ request: SamplingRequest, hasSheet: Bool, isCancelled: @escaping () -> Bool,
    onFrame: (_ frame: SampledFrame, _ position: Int, _ total: Int) throws(VideoError) -> Void = { (_, _, _) throws(VideoError) in }
  ) throws(VideoError) -> (SamplingReport, ContactSheet?) {
    var request = request
    request.frames = source.frameCount(request)
    var contact: ContactSheet?
    var last: SampledFrame?
    var (position, total) = (0, 0)
    let report = try source.sample(request, cancelled: isCancelled) { event in
      switch event {
      case .begin(let frames):
        total = frames
        return
      case .restart:
        (contact, last, position) = (nil, nil, 0)
        return
      case .frame(let frame): last = frame
      case .repeated: break
      }
      guard let frame = last else { return }
      if hasSheet, contact == nil { contact = try ContactSheet(count: total, first: frame.image) }
      contact?.add(frame, at: position)
      try onFrame(frame, position, total)
      position += 1
    }
    return (report, contact)
  }

  /// `frame-0007-000123.png`: position and index.
  private static func name(_ frame: SampledFrame, _ position: Int, in directory: String) -> String {
    func padded(_ number: Int, _ width: Int) -> String { "\(number)".leftPadded(to: width, with: "0") }
    return "\(directory)/frame-\(padded(position, 4))-\(padded(frame.index, 6)).png"
  }
}
