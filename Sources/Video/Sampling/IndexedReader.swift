import CLibAV

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
