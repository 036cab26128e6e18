import Support

/// Samples a file that is a container of streams.
///
/// Three ways, from the fastest to the one that copes with everything. The next is taken when the stream turns out not to keep what the
/// present one relies on.
struct FilmSampler {
  let path: String
  let request: SamplingRequest
  let limits: DecoderLimits
  let shortClip: Int
  let delivery: Delivery
  let cancelled: () -> Bool

  /// What decoding takes beside the pictures that `DecodingMemory` counts: threads' stacks, tables, pictures in RGB. An allocation of Swift's that fails
  /// ends the process, so this must be there before the first.
  private static let room = 64 << 20

  func run() throws(VideoError) -> SamplingReport {
    try LibAV.reserve(Self.room)
    let (orientation, verdict, indexed) = try sampleByIndex()
    if let indexed { return report(indexed, orientation) }
    if case .damaged = verdict {} else if let counted = try sampleByCounting(.frames) { return report(counted, orientation) }
    guard let careful = try sampleByCounting(.slices) else {
      // Frames that were not decoded for want of memory look the same.
      try LibAV.reserve(Self.room)
      throw .changedWhileReading(path: path)
    }
    return report(careful, orientation)
  }

  private func sampleByIndex() throws(VideoError) -> (Orientation, PacketIndex.Verdict, AttemptResult?) {
    let container = try Container(path: path, cancelled: cancelled)
    let stream = try container.select(request.stream)
    let index = try PacketIndex(container, stream) { delivery.report($0) }
    guard index.verdict == .exact else { return (stream.orientation, index.verdict, nil) }
    let result = try trusted { () throws(AttemptFailure) in
      var sampler = try AttemptFailure.passing { () throws(VideoError) in
        try IndexedSampler(container, stream, index, limits: limits, shortClip: shortClip, delivery: delivery)
      }
      return try sampler.run(request)
    }
    return (stream.orientation, index.verdict, result)
  }

  private func sampleByCounting(_ threading: Decoder.Threading) throws(VideoError) -> AttemptResult? {
    let sampler = CountingSampler(
      path: path, request: request, limits: limits, threading: threading, delivery: delivery, cancelled: cancelled)
    return try trusted(isLast: threading == .slices) { () throws(AttemptFailure) in try sampler.run() }
  }

  /// nil when another attempt may do better.
  private func trusted(
    isLast: Bool = false, _ attempt: () throws(AttemptFailure) -> AttemptResult
  ) throws(VideoError) -> AttemptResult? {
    do { return try attempt() } catch {
      switch error {
      case .distrust: return nil
      // A decoder that accepts no damage may refuse already what the container says of the stream.
      case .failed(.noFrames) where !isLast: return nil
      case .failed(let error): throw error
      }
    }
  }

  private func report(_ result: AttemptResult, _ orientation: Orientation) -> SamplingReport {
    var warnings = result.warnings
    if orientation.isRounded { warnings.append("the display matrix turns by an odd angle: the nearest quarter turn is used") }
    if let head = try? FileInput(path: path, cancelled: { false }).read(first: 4096), let status = FileStatus(path: path),
      let missing = MatroskaLength.missing(head, byteCount: status.byteCount)
    {
      warnings.append("damaged: the file ends \(missing) bytes before its end")
    }
    return SamplingReport(
      decodedFrames: result.decodedFrames, rotation: orientation.degrees, frames: delivery.delivered, warnings: warnings)
  }
}
