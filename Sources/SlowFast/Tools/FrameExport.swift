import Foundation
import Video

/// Writes what a model would see of a clip: a PNG a frame, one contact sheet.
public struct FrameExport: Sendable {
  /// Made if it is not there; nil writes no single frames.
  public var directory: String?
  /// nil writes no contact sheet.
  public var sheet: String?

  public init(directory: String? = nil, sheet: String? = nil) {
    self.directory = directory
    self.sheet = sheet
  }

  /// `progress` gets the frames done, and how many there are.
  public func run(
    _ source: VisualSource, _ request: SamplingRequest, progress: (Int, Int) -> Void = { _, _ in }, isCancelled: @escaping () -> Bool = { false }
  ) throws(SlowFastError) -> SamplingReport {
    if let directory {
      do { try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true) } catch {
        throw .video(.unwritable(path: directory, reason: "cannot make the directory"))
      }
    }
    return try video { () throws(VideoError) in
      var request = request
      request.frames = source.frameCount(request)
      var contact: ContactSheet?
      let report = try source.sample(
        request, cancelled: isCancelled,
        onRestart: { contact = nil },
        onFrame: { frame in
          if let directory { try frame.image.writePNG(to: Self.name(frame, in: directory)) }
          if sheet != nil, contact == nil { contact = try ContactSheet(count: frame.total, first: frame.image) }
          contact?.add(frame)
          progress(frame.position + 1, frame.total)
        })
      if let sheet, let contact { try contact.image.writePNG(to: sheet) }
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
