/// Hands the wanted frames to the caller, and keeps account of them.
final class Delivery {
  private let onFrame: (SampledFrame) throws -> Void
  private let onRestart: () throws -> Void
  private let progress: (SamplingProgress) -> Void
  private(set) var delivered: [SamplingReport.Frame] = []
  private var indices: [Int] = []

  init(
    progress: @escaping (SamplingProgress) -> Void, onRestart: @escaping () throws -> Void,
    onFrame: @escaping (SampledFrame) throws -> Void
  ) {
    self.progress = progress
    self.onRestart = onRestart
    self.onFrame = onFrame
  }

  func report(_ progress: SamplingProgress) { self.progress(progress) }

  /// Begins with the frames to deliver, by position; again if an earlier beginning proved wrong.
  func begin(_ indices: [Int]) throws(VideoError) {
    if !delivered.isEmpty {
      delivered = []
      try passing { try onRestart() }
    }
    self.indices = indices
    progress(.sampling(0, of: indices.count))
  }

  /// The frame that is due next; nil when all were delivered.
  var next: Int? { delivered.count < indices.count ? indices[delivered.count] : nil }

  /// Delivers the frame that is due at all its positions.
  func deliver(_ image: RGBImage, seconds: Double) throws(VideoError) {
    guard let index = next else { return }
    var isRepeat = false
    while next == index {
      let frame = SampledFrame(
        position: delivered.count, total: indices.count, index: index, seconds: seconds, image: image, isRepeat: isRepeat)
      delivered.append(SamplingReport.Frame(index: index, seconds: seconds, width: image.width, height: image.height))
      try passing { try onFrame(frame) }
      progress(.sampling(delivered.count, of: indices.count))
      isRepeat = true
    }
  }

  private func passing(_ body: () throws -> Void) throws(VideoError) {
    do { try body() } catch let error as VideoError { throw error } catch { throw .consumerFailed(error) }
  }
}
