import Support
import Video

/// Writes what a model would see of a clip: a PNG a frame, one contact sheet, PNG or JPEG by its name.
public struct FrameExport: Sendable {
  /// Made if it is not there; nil writes no single frames.
  public var directory: String?
  /// nil writes no contact sheet.
  public var sheet: String?

  /// Replaces files that are there already; never the clip.
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
        if let directory {
          try frame.image.writePNG(to: Self.name(frame, position, in: directory), replacing: replacing, inputs: inputs)
        }
        if sheet != nil, contact == nil { contact = try ContactSheet(count: total, first: frame.image) }
        contact?.add(frame, at: position)
        position += 1
        progress(position, total)
      }
      if let sheet, let contact { try contact.image.write(sheetFormat, to: sheet, replacing: replacing, inputs: inputs) }
      return report
    }
  }

  /// The sheet of a stream's newest frames, as the model sees them.
  public func run(_ window: LiveWindow) throws(SlowFastError) {
    guard let sheet, let first = window.frames.first, let format = PictureFormat(path: sheet) else { return }
    try classified { () throws(VideoError) in
      var contact = try ContactSheet(count: window.frames.count, first: first.image)
      for (position, frame) in window.frames.enumerated() {
        contact.add(
          SampledFrame(index: position, seconds: window.report.frames[position].seconds, image: frame.image), at: position)
      }
      try contact.image.write(format, to: sheet, replacing: replacing, inputs: [])
    }
  }

  /// `frame-0007-000123.png`: position and index.
  private static func name(_ frame: SampledFrame, _ position: Int, in directory: String) -> String {
    func padded(_ number: Int, _ width: Int) -> String { "\(number)".leftPadded(to: width, with: "0") }
    return "\(directory)/frame-\(padded(position, 4))-\(padded(frame.index, 6)).png"
  }
}
