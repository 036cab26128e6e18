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

  public init(directory: String? = nil, sheet: String? = nil, replacing: Bool = false) {
    self.directory = directory
    self.sheet = sheet
    self.replacing = replacing
  }

  /// `progress` gets the frames done, and how many there are.
  public func run(
    _ source: VisualSource, _ request: SamplingRequest, progress: (Int, Int) -> Void = { _, _ in },
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
      do throws(OutputError) { try OutputFile.check(sheet, replacing: replacing, inputs: inputs) } catch { throw .output(error) }
    }
    if let directory {
      do throws(SystemError) { try SystemCalls.makeDirectory(directory) } catch { throw .output(.cannotWrite(path: directory, error)) }
    }
    return try video { () throws(VideoError) in
      var request = request
      request.frames = source.frameCount(request)
      var contact: ContactSheet?
      let report = try source.sample(
        request, cancelled: isCancelled,
        onRestart: { contact = nil },
        onFrame: { frame in
          if let directory { try frame.image.writePNG(to: Self.name(frame, in: directory), replacing: replacing, inputs: inputs) }
          if sheet != nil, contact == nil { contact = try ContactSheet(count: frame.total, first: frame.image) }
          contact?.add(frame)
          progress(frame.position + 1, frame.total)
        })
      if let sheet, let contact { try contact.image.write(sheetFormat, to: sheet, replacing: replacing, inputs: inputs) }
      return report
    }
  }

  /// `frame-0007-000123.png`: position and index.
  private static func name(_ frame: SampledFrame, in directory: String) -> String {
    func padded(_ number: Int, _ width: Int) -> String {
      let digits = String(number)
      return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
    return "\(directory)/frame-\(padded(frame.position, 4))-\(padded(frame.index, 6)).png"
  }
}

extension VisualSource {
  /// The names of the files that it reads.
  var paths: [String] { if case .directory(let images) = kind { images } else { [path] } }
}
