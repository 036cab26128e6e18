import CLibAV

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
