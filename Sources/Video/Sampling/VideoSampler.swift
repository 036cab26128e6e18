import CLibAV

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
  let access: FileAccess

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
    let container = try Container(path: path, access: access)
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
      path: path, request: request, limits: limits, threading: threading, sink: sink, access: access)
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
    if let input = try? FileInput(path: path, access: FileAccess(open: access.open)), let head = try? input.read(first: 4096),
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

  /// The other way round, where there is no other way.
  static func unwrapped<Result>(_ body: () throws(AttemptFailure) -> Result) throws(VideoError) -> Result {
    do { return try body() } catch {
      switch error {
      case .failed(let error): throw error
      case .distrust(let reason): throw .noFrames(path: "", reason: reason)
      }
    }
  }
}

/// What a way of sampling found.
struct AttemptResult {
  var decodedFrames: Int
  var warnings: [String]
  /// All frames were decoded to count them.
  var isCounted: Bool
  var framesPerSecond: Double
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

/// Samples by decoding everything twice: once to count the frames, once to deliver the wanted ones. Right for every stream, where
/// `IndexedSampler` needs a well-formed one.
struct CountingSampler {
  let path: String
  let request: SamplingRequest
  let limits: DecoderLimits
  let threading: Decoder.Threading
  let sink: FrameSink
  let access: FileAccess

  func run() throws(AttemptFailure) -> AttemptResult {
    let (times, damage) = try count()
    let reader = try open()
    let indices = try AttemptFailure.passing { () throws(VideoError) in
      guard !times.isEmpty else { throw .noFrames(path: path, reason: damage.first ?? damage.end ?? "the stream is empty") }
      return try request.indices(of: times.count, reader.stream.averageRate, path: path) { reader.stream.seconds(times[$0], index: $0) }
    }
    try AttemptFailure.passing { () throws(VideoError) in try sink.begin(indices) }
    let converter = FrameConverter(path: path)
    var index = 0
    while let wanted = sink.next {
      let isThere = try reader.next()
      try AttemptFailure.passing { () throws(VideoError) in
        guard isThere, reader.frame.time == times[index] else {
          // A frame that was not decoded for want of memory looks the same.
          try LibAV.reserve(reader.stream.pictureBytes)
          throw .changedWhileReading(path: path)
        }
        guard index == wanted else { return }
        let image = reader.stream.orientation.upright(try converter.image(reader.frame))
        try sink.deliver(image, seconds: reader.stream.seconds(times[index], index: index))
      }
      index += 1
    }
    let warnings = damage.warnings(decoded: times.count, promised: reader.stream.promisedFrames)
    return AttemptResult(
      decodedFrames: times.count, warnings: warnings + converter.warnings, isCounted: true,
      framesPerSecond: reader.stream.averageRate.value)
  }

  private func open() throws(AttemptFailure) -> FrameReader {
    try AttemptFailure.passing { () throws(VideoError) in
      try FrameReader(path, stream: request.stream, limits: limits, threading: threading, access: access)
    }
  }

  /// The time of every frame that decodes, and what was wrong on the way.
  private func count() throws(AttemptFailure) -> ([Int64], StreamDamage) {
    let reader = try open()
    var times: [Int64] = []
    while try reader.next() { times.append(reader.frame.time) }
    return (times, reader.damage)
  }
}

/// Decodes a stream from its beginning, frame after frame in the order of presentation.
///
/// With `Decoder.Threading.frames` any damage ends it with `distrust`. With `.slices` damage is lived with: what libav can conceal is
/// used; at a packet that it refuses the decoder is emptied, with the frames that it still held, and goes on at the next key frame,
/// since all until then is predicted from what is lost.
final class FrameReader {
  let stream: VideoStream
  /// The frame that `next` found.
  let frame: Frame
  private(set) var damage = StreamDamage()

  private let container: Container
  private let decoder: Decoder
  private let packet: Packet
  private let toleratesDamage: Bool
  private var isAtEnd = false
  private var waitsForKey = false
  /// Times of frames that an edit list hides. libav leaves them out itself, but FFmpeg 5 not those of AV1.
  private var hiddenTimes: Set<Int64> = []
  /// Nothing but key frames is decoded, each at once.
  var takesKeysOnly = false
  /// Is told of every packet of the stream.
  var onPacket: (Packet) -> Void = { _ in }

  convenience init(
    _ path: String, stream: Int?, limits: DecoderLimits, threading: Decoder.Threading, access: FileAccess
  ) throws(VideoError) {
    try self.init(Container(path: path, access: access), stream: stream, limits: limits, threading: threading)
  }

  init(_ container: Container, stream: Int?, limits: DecoderLimits, threading: Decoder.Threading) throws(VideoError) {
    self.container = container
    self.stream = try container.select(stream)
    decoder = try Decoder(self.stream, path: container.path, limits: limits, threading: threading)
    packet = try Packet()
    frame = try Frame()
    toleratesDamage = threading == .slices
  }

  /// Whether there is another frame.
  func next() throws(AttemptFailure) -> Bool {
    while true {
      switch decoder.receive(frame) {
      case .frame:
        if hiddenTimes.contains(frame.pts) { continue }
        if frame.isCorrupt { try note(.concealed) }
        return true
      case .needsPacket: try feed()
      case .end where !isAtEnd: decoder.flush()
      case .end: return false
      case .failed(let code):
        try note(.refused(code, at: packet.pts))
        recover()
      }
    }
  }

  private func feed() throws(AttemptFailure) {
    let reading = try AttemptFailure.passing { () throws(VideoError) in
      isAtEnd ? .end : try container.read(stream, into: packet)
    }
    switch reading {
    case .packet:
      onPacket(packet)
      if waitsForKey || takesKeysOnly, !packet.isKey {
        // What comes after one that was left out must begin anew.
        waitsForKey = true
        return
      }
      waitsForKey = false
      if packet.isDiscarded {
        damage.hidden += 1
        if stream.parameters.pointee.codec_id == AV_CODEC_ID_AV1 { hiddenTimes.insert(packet.pts) }
      }
      let code = decoder.send(packet)
      guard code < 0 else {
        // It need not wait for those that come after it.
        if takesKeysOnly { _ = decoder.send(nil) }
        return
      }
      try note(.refused(code, at: packet.pts))
      recover()
    case .broken(let code):
      try note(.cut(code))
      fallthrough
    case .end:
      isAtEnd = true
      // After damage there is nothing in the decoder that could still come out.
      _ = decoder.send(nil)
    }
  }

  private func recover() {
    decoder.flush()
    waitsForKey = true
  }

  private enum Event {
    case concealed
    case refused(Int32, at: Int64)
    case cut(Int32)
  }

  private func note(_ event: Event) throws(AttemptFailure) {
    guard toleratesDamage else { throw .distrust("damage") }
    switch event {
    case .concealed: damage.concealed += 1
    case .refused(let code, let time):
      // Decoders call it invalid data when they get no memory for a picture.
      try AttemptFailure.passing { () throws(VideoError) in try LibAV.reserve(stream.pictureBytes) }
      damage.refused += 1
      guard damage.first == nil else { return }
      let place = time == lav_no_timestamp ? "" : ", at \(secondsText(stream.seconds(time, index: 0))) s"
      damage.first = LibAV.text(code) + place
    case .cut(let code): damage.end = LibAV.text(code)
    }
  }
}

/// What was wrong with a stream, and how often.
struct StreamDamage {
  /// Frames that are not shown, for an edit list begins behind them or ends before.
  var hidden = 0
  /// Packets that the decoder refused.
  var refused = 0
  /// The first refusal, in words.
  var first: String?
  /// Frames of which libav had to make up a part.
  var concealed = 0
  /// Why the file could not be read to its end.
  var end: String?

  func warnings(decoded: Int, promised: Int) -> [String] {
    var warnings: [String] = []
    if let first {
      let packets = refused == 1 ? "1 packet does" : "\(refused) packets do"
      warnings.append("damaged: \(packets) not decode (\(first)); frames from there to the next key frame are left out")
    }
    if concealed > 0 { warnings.append("damaged: parts of \(concealed) frame\(concealed == 1 ? " are" : "s are") made up by the decoder") }
    if let end { warnings.append("damaged: the file cannot be read to its end (\(end))") }
    if promised - hidden > decoded { warnings.append("the header promises \(promised) frames, \(decoded) decode") }
    return warnings
  }
}
