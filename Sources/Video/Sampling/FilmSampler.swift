/// Samples a file that is a container of streams.
///
/// Three ways, from the fastest to the one that copes with everything. The next is taken when the stream turns out not to keep what the
/// present one relies on.
struct FilmSampler {
  let path: String
  let request: SamplingRequest
  let threads: Int?
  let delivery: Delivery
  let cancelled: () -> Bool

  func run() throws(VideoError) -> SamplingReport {
    let (orientation, verdict, indexed) = try sampleByIndex()
    if let indexed { return report(indexed, orientation) }
    if case .damaged = verdict {} else if let counted = try sampleByCounting(.frames) { return report(counted, orientation) }
    if let careful = try sampleByCounting(.slices) { return report(careful, orientation) }
    throw .changedWhileReading(path: path)
  }

  private func sampleByIndex() throws(VideoError) -> (Orientation, PacketIndex.Verdict, AttemptResult?) {
    let container = try Container(path: path, cancelled: cancelled)
    let stream = try container.select(request.stream)
    let index = try PacketIndex(container, stream) { delivery.report($0) }
    guard index.verdict == .exact else { return (stream.orientation, index.verdict, nil) }
    let converter = FrameConverter(path: path)
    var sampler = try IndexedSampler(container, stream, index, threads: threads, converter: converter, delivery: delivery)
    let result = try trusted { () throws(AttemptFailure) in try sampler.run(request) }
    return (stream.orientation, index.verdict, result)
  }

  private func sampleByCounting(_ threading: Decoder.Threading) throws(VideoError) -> AttemptResult? {
    let sampler = CountingSampler(
      path: path, request: request, threads: threads, threading: threading, delivery: delivery, cancelled: cancelled)
    return try trusted { () throws(AttemptFailure) in try sampler.run() }
  }

  /// nil when the attempt ended in distrust.
  private func trusted(_ attempt: () throws(AttemptFailure) -> AttemptResult) throws(VideoError) -> AttemptResult? {
    do { return try attempt() } catch {
      switch error {
      case .distrust: return nil
      case .failed(let error): throw error
      }
    }
  }

  private func report(_ result: AttemptResult, _ orientation: Orientation) -> SamplingReport {
    var warnings = result.warnings
    if orientation.isRounded { warnings.append("the display matrix turns by an odd angle: the nearest quarter turn is used") }
    return SamplingReport(
      decodedFrames: result.decodedFrames, rotation: orientation.degrees, frames: delivery.delivered, warnings: warnings)
  }
}
