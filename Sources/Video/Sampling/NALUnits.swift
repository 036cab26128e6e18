/// The units that a packet of H.264 or H.265 consists of.
struct NALUnits {
  enum Framing: Equatable {
    /// Each unit follows its length, a number of this many bytes.
    case lengths(Int)
    /// Each unit follows the bytes 0, 0, 1.
    case startCodes
  }

  private let bytes: UnsafeBufferPointer<UInt8>
  private let framing: Framing

  init(_ bytes: UnsafeBufferPointer<UInt8>, _ framing: Framing) {
    self.bytes = bytes
    self.framing = framing
  }

  /// Calls `body` with each unit, none of them empty. False if the lengths do not add up to the packet, or there is no unit.
  func forEach(_ body: (_ unit: UnsafeBufferPointer<UInt8>) -> Void) -> Bool {
    switch framing {
    case .lengths(let size): forEachByLength(size, body)
    case .startCodes: forEachByStartCode(body)
    }
  }

  private func forEachByLength(_ size: Int, _ body: (UnsafeBufferPointer<UInt8>) -> Void) -> Bool {
    var position = 0, found = false
    while position < bytes.count {
      guard bytes.count - position > size else { return false }
      var length = 0
      for index in 0..<size { length = length << 8 | Int(bytes[position + index]) }
      position += size
      guard length > 0, length <= bytes.count - position else { return false }
      body(UnsafeBufferPointer(rebasing: bytes[position..<position + length]))
      found = true
      position += length
    }
    return found
  }

  private func forEachByStartCode(_ body: (UnsafeBufferPointer<UInt8>) -> Void) -> Bool {
    var start: Int?
    var found = false
    func close(_ end: Int) {
      guard let start, start < end else { return }
      body(UnsafeBufferPointer(rebasing: bytes[start..<end]))
      found = true
    }
    var index = 0
    while index + 2 < bytes.count {
      // Most bytes are above 1, and a start code cannot begin in the three that end with such a byte.
      if bytes[index + 2] > 1 {
        index += 3
      } else if bytes[index] == 0, bytes[index + 1] == 0, bytes[index + 2] == 1 {
        close(index)
        start = index + 3
        index += 3
      } else {
        index += 1
      }
    }
    close(bytes.count)
    return found
  }
}

/// Bits of a unit's payload from the highest down, with the bytes that guard against false start codes left out.
struct UnitBits {
  private let bytes: UnsafeBufferPointer<UInt8>
  private var byte: Int
  private var bit = 0
  private var zeros = 0

  init(_ bytes: UnsafeBufferPointer<UInt8>, from byte: Int) {
    self.bytes = bytes
    self.byte = byte
  }

  /// nil at the end.
  mutating func next() -> Int? {
    if bit == 0, byte < bytes.count, zeros >= 2, bytes[byte] == 3 {
      byte += 1
      zeros = 0
    }
    guard byte < bytes.count else { return nil }
    let value = Int(bytes[byte] >> UInt8(7 - bit)) & 1
    bit += 1
    if bit == 8 {
      zeros = bytes[byte] == 0 ? zeros + 1 : 0
      bit = 0
      byte += 1
    }
    return value
  }

  mutating func next(_ count: Int) -> Int? {
    var value = 0
    for _ in 0..<count {
      guard let bit = next() else { return nil }
      value = value << 1 | bit
    }
    return value
  }

  /// An unsigned Exp-Golomb number; nil at the end or beyond 32 bits.
  mutating func nextGolomb() -> Int? {
    var zeros = 0
    while true {
      guard let bit = next() else { return nil }
      if bit == 1 { break }
      zeros += 1
      if zeros > 31 { return nil }
    }
    return next(zeros).map { (1 << zeros) - 1 + $0 }
  }
}
