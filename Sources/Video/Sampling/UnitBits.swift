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
