import CLibAV

/// Samples by decoding everything twice: once to count the frames, once to deliver the wanted ones. Right for every stream, where
/// `IndexedSampler` needs a well-formed one.
struct CountingSampler {
  let path: String
  let request: SamplingRequest
  let limits: DecoderLimits
  let threading: Decoder.Threading
  let delivery: Delivery
  let cancelled: () -> Bool

  func run() throws(AttemptFailure) -> AttemptResult {
    let (times, damage) = try count()
    let reader = try open()
    let indices = try AttemptFailure.passing { () throws(VideoError) in
      guard !times.isEmpty else { throw .noFrames(path: path, reason: damage.first ?? damage.end ?? "the stream is empty") }
      return try request.indices(of: times.count, reader.stream.averageRate, path: path) { reader.stream.seconds(times[$0], index: $0) }
    }
    try AttemptFailure.passing { () throws(VideoError) in try delivery.begin(indices) }
    let converter = FrameConverter(path: path)
    var index = 0
    while let wanted = delivery.next {
      let isThere = try reader.next()
      try AttemptFailure.passing { () throws(VideoError) in
        guard isThere, reader.frame.time == times[index] else {
          // A frame that was not decoded for want of memory looks the same.
          try LibAV.reserve(reader.stream.pictureBytes)
          throw .changedWhileReading(path: path)
        }
        guard index == wanted else { return }
        let image = reader.stream.orientation.upright(try converter.image(reader.frame))
        try delivery.deliver(image, seconds: reader.stream.seconds(times[index], index: index))
      }
      index += 1
    }
    let warnings = damage.warnings(decoded: times.count, promised: reader.stream.promisedFrames)
    return AttemptResult(decodedFrames: times.count, warnings: warnings + converter.warnings)
  }

  private func open() throws(AttemptFailure) -> FrameReader {
    try AttemptFailure.passing { () throws(VideoError) in
      try FrameReader(path, stream: request.stream, limits: limits, threading: threading, cancelled: cancelled)
    }
  }

  /// The time of every frame that decodes, and what was wrong on the way.
  private func count() throws(AttemptFailure) -> ([Int64], StreamDamage) {
    let reader = try open()
    var times: [Int64] = []
    delivery.report(.counting(0))
    while try reader.next() {
      times.append(reader.frame.time)
      if times.count % 32 == 0 { delivery.report(.counting(times.count)) }
    }
    return (times, reader.damage)
  }
}
