import CLibAV

/// Samples by an index of the packets: decodes only what the wanted frames need, and jumps to key frames.
///
/// Everything that comes out is checked against the index: frames must come with the times, in the order and in the number that the
/// packets promise. What does not agree ends the attempt with `distrust`. A clip that is short is decoded whole, which proves the
/// number of its frames; of a longer one the parts that no wanted frame needs are counted by their packets.
struct IndexedSampler {
  private let stream: VideoStream
  private let index: PacketIndex
  private let converter: FrameConverter
  private let sink: FrameSink
  private let decoder: Decoder
  private let frame: Frame
  private let path: String
  private var reader: IndexedReader

  /// The next packet to send; nil when the decoder has been emptied and must begin anew at a key frame.
  private var position: Int?
  /// The frame of the packet that decoding began with, by its place in the presentation.
  private var firstPlace = 0
  /// Frames sent and not yet seen, by their place, ascending.
  private var pending: [Int] = []
  private var lastSeen = -1
  private var seekingFailed = false
  /// The clip is short enough to decode all of it.
  private let decodesAll: Bool

  /// A jump costs an emptied pipeline, so it must skip more packets than this.
  private let shortestJump = 8
  /// No codec holds back more frames, those of all threads included: beyond it they are lost.
  private let pendingLimit = 256

  /// `shortClip`: pixels in all up to which every frame is decoded.
  init(
    _ container: Container, _ stream: VideoStream, _ index: PacketIndex, limits: DecoderLimits, shortClip: Int, sink: FrameSink
  ) throws(VideoError) {
    self.stream = stream
    self.index = index
    converter = FrameConverter(path: container.path)
    self.sink = sink
    path = container.path
    reader = try IndexedReader(container, stream, index)
    decoder = try Decoder(stream, path: container.path, limits: limits, threading: .frames)
    frame = try Frame()
    decodesAll = stream.pixelCount(frames: index.frameCount) ?? .max <= shortClip
  }

  mutating func run(_ request: SamplingRequest) throws(AttemptFailure) -> AttemptResult {
    let indices = try AttemptFailure.passing { () throws(VideoError) in
      try request.indices(of: index.frameCount, stream.averageRate, path: path) { seconds(of: $0) }
    }
    try AttemptFailure.passing { () throws(VideoError) in try sink.begin(indices) }
    let wanted = Set(indices)
    let targets = wanted.sorted()
    for (number, target) in targets.enumerated() {
      if needsJump(to: target, from: position) { try jump(to: target) }
      try decode(target, wanted: wanted, next: number + 1 < targets.count ? targets[number + 1] : nil)
    }
    if decodesAll { try decodeRest() }
    return AttemptResult(
      decodedFrames: index.frameCount, warnings: converter.warnings, isCounted: false, framesPerSecond: stream.averageRate.value)
  }

  private func seconds(of place: Int) -> Double { stream.seconds(index.pts[index.shown[place]], index: place) }

  /// Whether a key frame lies on the way to `target`, worth jumping to.
  private func needsJump(to target: Int, from position: Int?) -> Bool {
    guard let position else { return true }
    return !seekingFailed && !decodesAll && index.start(for: target) > position + shortestJump
  }

  private mutating func jump(to target: Int) throws(AttemptFailure) {
    if !seekingFailed, !decodesAll, try begin(at: index.start(for: target)) { return }
    // Jumps lead elsewhere than the packets' order says: from the beginning, then, and no more of them.
    seekingFailed = true
    guard try begin(at: 0) else { throw .distrust("seeking does not lead back to the start") }
  }

  private mutating func begin(at start: Int) throws(AttemptFailure) -> Bool {
    decoder.flush()
    pending = []
    lastSeen = -1
    position = start
    firstPlace = index.firstFrame(from: index.pts[start])
    return try AttemptFailure.passing { () throws(VideoError) in try reader.seek(to: start) }
  }

  /// Decodes until `target` was delivered. When a jump follows, no packet beyond the target's is read: the decoder is emptied instead.
  private mutating func decode(_ target: Int, wanted: Set<Int>, next: Int?) throws(AttemptFailure) {
    while sink.next == target {
      switch decoder.receive(frame) {
      case .frame: try take(target)
      case .needsPacket:
        guard let here = position else { throw .distrust("a frame is missing") }
        let isSent = here > index.shown[target]
        if here >= index.packetCount || (isSent && next.map { needsJump(to: $0, from: here) } ?? !decodesAll) {
          position = nil
          try check(decoder.send(nil))
        } else {
          try send(here, wanted: wanted)
        }
      case .end: throw .distrust("a frame is missing")
      case .failed(let code): throw .distrust(LibAV.text(code))
      }
    }
  }

  /// Decodes to the end, only to see that everything comes.
  private mutating func decodeRest() throws(AttemptFailure) {
    while true {
      switch decoder.receive(frame) {
      case .frame: try take(nil)
      case .needsPacket:
        guard let here = position else { throw .distrust("a frame is missing") }
        if here >= index.packetCount {
          position = nil
          try check(decoder.send(nil))
        } else {
          try send(here, wanted: [])
        }
      case .end:
        guard pending.isEmpty else { throw .distrust("a frame is missing") }
        return
      case .failed(let code): throw .distrust(LibAV.text(code))
      }
    }
  }

  private mutating func send(_ here: Int, wanted: Set<Int>) throws(AttemptFailure) {
    let isRight = try AttemptFailure.passing { () throws(VideoError) in try reader.read(here) }
    guard isRight else { throw .distrust("a second reading gives other packets") }
    position = here + 1
    if index.isShown(here), let place = index.frame(at: index.pts[here]) {
      if !decodesAll, index.isDisposable(here), !wanted.contains(place) { return }
      // A frame shown before the one that decoding began with may come out or not.
      if place >= firstPlace { pending.insert(place, at: pending.firstIndex { $0 > place } ?? pending.count) }
      guard pending.count <= pendingLimit else { throw .distrust("the decoder keeps all frames") }
    }
    try check(decoder.send(reader.packet))
  }

  /// Checks the frame that came out against the index, and delivers it if it is the target.
  private mutating func take(_ target: Int?) throws(AttemptFailure) {
    // Not every decoder of libav leaves out itself what an edit list hides.
    if let packet = index.packet(at: frame.pts), !index.isShown(packet) { return }
    guard let place = index.frame(at: frame.pts), place > lastSeen else { throw .distrust("a frame out of order") }
    lastSeen = place
    guard place >= firstPlace else { return }
    guard !frame.isCorrupt else { throw .distrust("a damaged frame") }
    guard pending.first == place else { throw .distrust("a frame is missing") }
    pending.removeFirst()
    if place == target {
      try AttemptFailure.passing { () throws(VideoError) in
        let image = stream.orientation.upright(try converter.image(frame))
        try sink.deliver(image, seconds: seconds(of: place))
      }
    }
  }

  private func check(_ code: Int32) throws(AttemptFailure) {
    if code < 0 { throw .distrust(LibAV.text(code)) }
  }
}

/// Reads the packets of an index again, from any of those that decoding can begin with.
struct IndexedReader {
  let packet: Packet
  private let container: Container
  private let stream: VideoStream
  private let index: PacketIndex
  /// The packet was reached by a jump and not asked for yet.
  private var isAtHand = false

  init(_ container: Container, _ stream: VideoStream, _ index: PacketIndex) throws(VideoError) {
    self.container = container
    self.stream = stream
    self.index = index
    packet = try Packet()
  }

  /// Makes `start`, one of the index's starts, the next packet. False if the container cannot be brought there.
  mutating func seek(to start: Int) throws(VideoError) -> Bool {
    // Containers differ in whether they search by the one time or the other; some arrive later than asked for.
    var times = [index.pts[start]]
    let dts = index.dts[start]
    if dts != lav_no_timestamp, dts < index.pts[start] { times.append(dts) }
    if let earlier = index.start(before: start) { times.append(index.pts[earlier]) }
    for time in times where container.seek(stream, to: time) {
      if try skip(to: start) { return true }
    }
    return false
  }

  /// Reads the packet `here`, the one after the last. False if the container gives another.
  mutating func read(_ here: Int) throws(VideoError) -> Bool {
    if isAtHand {
      isAtHand = false
      return true
    }
    return try container.read(stream, into: packet) == .packet && packet.pts == index.pts[here]
  }

  /// Drops packets until `start` is at hand; false if the container stands behind it already.
  private mutating func skip(to start: Int) throws(VideoError) -> Bool {
    isAtHand = false
    guard try container.read(stream, into: packet) == .packet, var here = index.packet(at: packet.pts), here <= start else { return false }
    while here < start {
      guard try container.read(stream, into: packet) == .packet else { return false }
      here += 1
    }
    isAtHand = packet.pts == index.pts[start]
    return isAtHand
  }
}

/// Every packet of a stream in the order of decoding, read without decoding, and the order in which their pictures are shown.
///
/// What a packet holds is read by `PacketInspector`, for libav's parsers and bitstream filters do not tell enough. Tried with
/// FFmpeg 5.1: `av_parser_parse2` takes 79 packets of VP8 for 79 pictures where 75 are shown, and finds nothing wrong where a packet
/// of H.264 is emptied or its slice is noise (40 pictures where 37 and 39 decode); `h264_mp4toannexb` refuses lengths that do not
/// add up but passes the noise. `AV_PKT_FLAG_DISPOSABLE` is set on none of the 14 pictures among 48 that no other refers to, and
/// the key flag on 6 of which 1 is an IDR picture. Only `vp9_superframe_split` tells the shown frames, of VP9: it would take as
/// many lines as it saves, and a copy of each packet.
struct PacketIndex {
  /// Per packet, in the order of decoding.
  private(set) var pts: [Int64] = []
  private(set) var dts: [Int64] = []
  private var marks: [Marks] = []
  /// Packets of a picture, shown or not, by time.
  private var pictures: [Int] = []
  /// Packets whose picture is shown, in the order of presentation.
  private(set) var shown: [Int] = []
  /// Packets that decoding can begin with, ascending.
  private(set) var starts: [Int] = []
  /// Whether the frames that decode are exactly `shown`, as far as packets tell.
  private(set) var verdict: Verdict = .exact

  enum Verdict: Equatable {
    case exact
    /// Only decoding tells the number of frames.
    case uncertain(String)
    /// The stream is broken.
    case damaged(String)
  }

  private struct Marks: OptionSet {
    let rawValue: UInt8
    static let isShown = Marks(rawValue: 1)
    static let isDisposable = Marks(rawValue: 2)
    static let isPicture = Marks(rawValue: 4)
  }

  var packetCount: Int { pts.count }
  var frameCount: Int { shown.count }

  func isShown(_ packet: Int) -> Bool { marks[packet].contains(.isShown) }
  func isDisposable(_ packet: Int) -> Bool { marks[packet].contains(.isDisposable) }

  /// Reads `container` from where it is to its end.
  init(_ container: Container, _ stream: VideoStream) throws(VideoError) {
    var inspector = PacketInspector(stream)
    let packet = try Packet()
    var reading = Container.Reading.packet
    while true {
      reading = try container.read(stream, into: packet)
      guard reading == .packet else { break }
      append(packet, inspector.inspect(packet))
    }
    if case .broken(let code) = reading { doubt(.damaged("the file cannot be read to its end: \(LibAV.text(code))")) }
    if stream.promisedFrames > packetCount {
      doubt(.uncertain("the header promises \(stream.promisedFrames) frames, there are \(packetCount) packets"))
    }
    order()
  }

  private mutating func append(_ packet: Packet, _ finding: PacketFinding) {
    var mark: Marks = []
    switch finding {
    case .picture(let isStart, let isDisposable):
      mark.insert(.isPicture)
      // An edit list hides what a trimmed clip begins with: it is decoded, for others need it, and not shown.
      if !packet.isDiscarded { mark.insert(.isShown) }
      if isDisposable { mark.insert(.isDisposable) }
      if isStart { starts.append(packetCount) }
    case .hidden: break
    case .uncertain(let reason): doubt(.uncertain(reason))
    case .damaged: doubt(.damaged("packet \(packetCount) is damaged"))
    }
    marks.append(mark)
    pts.append(packet.pts)
    dts.append(packet.dts)
  }

  /// Damage outweighs uncertainty, and the first of a kind is kept.
  private mutating func doubt(_ verdict: Verdict) {
    switch (self.verdict, verdict) {
    case (.exact, _), (.uncertain, .damaged): self.verdict = verdict
    default: break
    }
  }

  private mutating func order() {
    guard verdict == .exact else { return }
    let pts = self.pts
    pictures = pts.indices.filter { marks[$0].contains(.isPicture) }
    guard pictures.allSatisfy({ pts[$0] != lav_no_timestamp }) else { return doubt(.uncertain("packets without times")) }
    pictures.sort { pts[$0] < pts[$1] }
    for (one, next) in zip(pictures, pictures.dropFirst()) where pts[one] == pts[next] {
      return doubt(.uncertain("two packets for one time"))
    }
    shown = pictures.filter { marks[$0].contains(.isShown) }
    guard !shown.isEmpty else { return doubt(.uncertain("no packet is shown")) }
    // What is shown before the first key frame but sent after it needs frames that are not there.
    guard starts.first == 0, pts[shown[0]] >= pts[0] else { return doubt(.uncertain("the stream does not begin with a key frame")) }
  }

  /// The packet of the picture of this time; nil if there is none.
  func packet(at time: Int64) -> Int? {
    let place = pictures.partitioningIndex { pts[$0] >= time }
    return place < pictures.count && pts[pictures[place]] == time ? pictures[place] : nil
  }

  /// The first shown frame of this time or later.
  func firstFrame(from time: Int64) -> Int { shown.partitioningIndex { pts[$0] >= time } }

  /// Which shown frame has this time; nil if none has.
  func frame(at time: Int64) -> Int? {
    let place = firstFrame(from: time)
    return place < shown.count && pts[shown[place]] == time ? place : nil
  }

  /// The last packet that decoding can begin with to get a shown frame right.
  func start(for frame: Int) -> Int {
    let packet = shown[frame]
    var place = starts.partitioningIndex { $0 > packet } - 1
    // Frames shown before a key frame but sent after it are predicted from what was sent before it.
    while place > 0, pts[starts[place]] > pts[packet] { place -= 1 }
    return starts[max(0, place)]
  }

  /// The nearest earlier packet that decoding can begin with.
  func start(before start: Int) -> Int? {
    let place = starts.partitioningIndex { $0 >= start } - 1
    return place >= 0 ? starts[place] : nil
  }
}

extension Array {
  /// The first index from which on `belongs` holds, of an array where it holds for a tail; `count` if for none.
  fileprivate func partitioningIndex(_ belongs: (Element) -> Bool) -> Int {
    var low = 0
    var high = count
    while low < high {
      let middle = (low + high) / 2
      if belongs(self[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}

/// What a packet's bytes promise, without decoding it.
enum PacketFinding: Equatable {
  /// Exactly one picture that will be shown. `isStart`: decoding can begin with it, and everything shown after it comes out exactly;
  /// `isDisposable`: no other picture is predicted from it.
  case picture(isStart: Bool, isDisposable: Bool)
  /// Decoded, never shown.
  case hidden
  /// It may be in order, but how many pictures come of it only decoding tells.
  case uncertain(String)
  /// Its parts do not fit into it.
  case damaged
}
