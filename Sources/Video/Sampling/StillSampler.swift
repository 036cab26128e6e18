/// Samples image files, each a frame.
struct StillSampler {
  /// The directory, or the one file.
  let path: String
  let request: SamplingRequest
  let delivery: Delivery
  let cancelled: () -> Bool

  /// `files` in the order of the frames, one a second. Those that do not decode are left out, as damaged frames of a film are.
  func run(_ files: [String], leftOut: [String] = [], isDirectory: Bool) throws(VideoError) -> SamplingReport {
    guard request.stream ?? 0 == 0 else { throw .noSuchStream(path: path, stream: request.stream ?? 0, available: [0]) }
    var files = files
    var warnings = leftOut
    var rotation = 0
    restart: while true {
      guard !files.isEmpty else { throw .noFrames(path: path, reason: "none of its images can be read") }
      try delivery.begin(try request.indices(of: files.count, FrameRate(numerator: 1, denominator: 1), path: path) { Double($0) })
      while let index = delivery.next {
        if cancelled() { throw .cancelled }
        do {
          let still = try StillImage(path: files[index], cancelled: cancelled)
          for warning in still.warnings where !warnings.contains(warning) { warnings.append(warning) }
          rotation = still.orientation.degrees
          try delivery.deliver(still.image, seconds: Double(index))
        } catch {
          guard isDirectory, error.isOfOneImage else { throw error }
          warnings.append("left out: \(error)")
          files.remove(at: index)
          continue restart
        }
      }
      return SamplingReport(
        decodedFrames: files.count, rotation: isDirectory ? 0 : rotation, frames: delivery.delivered, warnings: warnings)
    }
  }
}

extension VideoError {
  /// Whether the other images of a directory may still be in order.
  fileprivate var isOfOneImage: Bool {
    switch self {
    case .notFound, .unreadable, .notAFile, .empty, .notVideo, .unsupportedCodec, .unsupportedPixels, .damagedImage, .tooLarge,
      .unsupportedImage:
      true
    default: false
    }
  }
}
