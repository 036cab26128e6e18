// VP8 (RFC 6386, 9.1), VP9 (bitstream specification 6.2 and annex B) and AV1 (specification 5.3 to 5.9).

extension PacketInspector {
  func inspectVP8(_ bytes: UnsafeBufferPointer<UInt8>) -> PacketFinding {
    guard bytes.count > 3 else { return .damaged }
    let isKey = bytes[0] & 1 == 0
    if isKey, bytes.count < 10 || bytes[3] != 0x9D || bytes[4] != 0x01 || bytes[5] != 0x2A { return .damaged }
    let firstPartition = Int(bytes[0]) >> 5 | Int(bytes[1]) << 3 | Int(bytes[2]) << 11
    guard firstPartition <= bytes.count - (isKey ? 10 : 3) else { return .damaged }
    return bytes[0] >> 4 & 1 == 1 ? .picture(isStart: isKey, isDisposable: false) : .hidden
  }

  func inspectVP9(_ bytes: UnsafeBufferPointer<UInt8>) -> PacketFinding {
    guard let frames = vp9Frames(bytes) else { return .damaged }
    var shown = 0
    var isStart = false
    for (number, frame) in frames.enumerated() {
      var bits = UnitBits(UnsafeBufferPointer(rebasing: bytes[frame]), from: 0)
      guard bits.next(2) == 2, let low = bits.next(), let high = bits.next() else { return .damaged }
      if high << 1 | low == 3, bits.next() == nil { return .damaged }
      guard let showsExisting = bits.next() else { return .damaged }
      if showsExisting == 1 {
        shown += 1
        continue
      }
      guard let isInter = bits.next(), let isShown = bits.next() else { return .damaged }
      shown += isShown
      if number == 0, isInter == 0 { isStart = true }
    }
    switch shown {
    case 0: return .hidden
    case 1: return .picture(isStart: isStart, isDisposable: false)
    default: return .uncertain("a packet with \(shown) pictures")
    }
  }

  /// The frames of a packet: one, or those that the index at its end lists. nil if the index does not fit.
  private func vp9Frames(_ bytes: UnsafeBufferPointer<UInt8>) -> [Range<Int>]? {
    guard let marker = bytes.last, marker & 0xE0 == 0xC0 else { return [0..<bytes.count] }
    let count = Int(marker & 7) + 1
    let width = Int(marker >> 3 & 3) + 1
    let indexSize = 2 + count * width
    guard bytes.count > indexSize, bytes[bytes.count - indexSize] == marker else { return [0..<bytes.count] }
    var frames: [Range<Int>] = []
    var start = 0
    for frame in 0..<count {
      var size = 0
      for byte in 0..<width { size |= Int(bytes[bytes.count - indexSize + 1 + frame * width + byte]) << (8 * byte) }
      guard size <= bytes.count - indexSize - start else { return nil }
      if size > 0 { frames.append(start..<start + size) }
      start += size
    }
    return frames.isEmpty ? nil : frames
  }

  /// A packet is a temporal unit, which shows exactly one frame.
  func inspectAV1(_ bytes: UnsafeBufferPointer<UInt8>, isKey: Bool) -> PacketFinding {
    var position = 0
    var hasFrame = false
    var hasSequence = false
    while position < bytes.count {
      let header = bytes[position]
      let type = header >> 3 & 15
      guard header & 0x80 == 0 else { return .damaged }
      position += header & 4 == 0 ? 1 : 2
      if header & 2 == 0 {
        // Without a size of its own it reaches to the end.
        guard position <= bytes.count else { return .damaged }
        position = bytes.count
      } else {
        guard let size = leb128(bytes, &position), size <= bytes.count - position else { return .damaged }
        position += size
      }
      switch type {
      case 1: hasSequence = true
      case 3, 6: hasFrame = true
      case 2, 4, 5, 7, 8, 15: break
      default: return .uncertain("a unit of reserved type \(type)")
      }
    }
    guard hasFrame else { return .uncertain("a packet without a frame") }
    return .picture(isStart: isKey && hasSequence, isDisposable: false)
  }

  private func leb128(_ bytes: UnsafeBufferPointer<UInt8>, _ position: inout Int) -> Int? {
    var value = 0
    for shift in 0..<8 {
      guard position < bytes.count else { return nil }
      let byte = bytes[position]
      position += 1
      value |= Int(byte & 0x7F) << (shift * 7)
      if byte & 0x80 == 0 { return value <= Int(UInt32.max) ? value : nil }
    }
    return nil
  }
}
