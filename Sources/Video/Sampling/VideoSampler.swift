/// Samples a file that is a container of streams.
///
/// Three ways, from the fastest to the one that copes with everything. The next is taken when the stream turns out not to keep what the
/// present one relies on.
struct VideoSampler {
  let path: String
  let request: SamplingRequest
  let limits: DecoderLimits
  let shortClip: Int
  let sink: FrameSink
  let cancelled: () -> Bool

  /// What decoding takes beside the pictures that `DecodingMemory` counts: threads' stacks, tables, pictures in RGB. An allocation of
  /// Swift's that fails ends the process, so this must be there before the first.
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
    let index = try PacketIndex(container, stream)
    guard index.verdict == .exact else { return (stream.orientation, index.verdict, nil) }
    let result = try trusted { () throws(AttemptFailure) in
      var sampler = try AttemptFailure.passing { () throws(VideoError) in
        try IndexedSampler(container, stream, index, limits: limits, shortClip: shortClip, sink: sink)
      }
      return try sampler.run(request)
    }
    return (stream.orientation, index.verdict, result)
  }

  private func sampleByCounting(_ threading: Decoder.Threading) throws(VideoError) -> AttemptResult? {
    let sampler = CountingSampler(
      path: path, request: request, limits: limits, threading: threading, sink: sink, cancelled: cancelled)
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
    var warnings: [String] = []
    if orientation.isRounded { warnings.append("the display matrix turns by an odd angle: the nearest quarter turn is used") }
    if let input = try? FileInput(path: path, cancelled: { false }), let head = try? input.read(first: 4096),
      let missing = MatroskaLength.missing(head, byteCount: Int(input.size))
    {
      warnings.append("damaged: the file ends \(missing) bytes before its end")
    }
    return SamplingReport(result, rotation: orientation.degrees, frames: sink.delivered, moreWarnings: warnings)
  }
}

/// Why a way of sampling did not come to its end.
enum AttemptFailure: Error {
  /// The stream does not keep what this way relies on: another way may do.
  case distrust(String)
  case failed(VideoError)

  /// What `body` gives; its error as one of this kind.
  static func passing<Result>(_ body: () throws(VideoError) -> Result) throws(AttemptFailure) -> Result {
    do { return try body() } catch { throw .failed(error) }
  }
}

/// What a way of sampling found.
struct AttemptResult {
  var decodedFrames: Int
  var warnings: [String]
  /// All frames were decoded to count them.
  var isCounted: Bool
}

extension SamplingRequest {
  /// Which of a stream's `count` frames are wanted, by position; `seconds` gives the time of each. `count` is at least 1.
  func indices(of count: Int, _ rate: FrameRate, path: String, seconds: (Int) -> Double) throws(VideoError) -> [Int] {
    guard start != nil || end != nil else { return indices(of: count, rate) }
    let inside = (0..<count).filter { contains(seconds($0)) }
    guard !inside.isEmpty else {
      throw .noFramesInRange(path: path, start: start, end: end, first: seconds(0), last: seconds(count - 1))
    }
    return indices(of: inside.count, rate).map { inside[$0] }
  }
}
