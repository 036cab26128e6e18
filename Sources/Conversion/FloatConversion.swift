import Safetensors

/// The types of weights that are read.
enum SourceType {
  case float32, float16, bfloat16

  /// nil for a type that holds no weights.
  init?(_ type: TensorType) {
    switch type {
    case .float32: self = .float32
    case .float16: self = .float16
    case .bfloat16: self = .bfloat16
    default: return nil
    }
  }

  var size: Int { self == .float32 ? 4 : 2 }
}

/// Loops over stored values. Plain integer arithmetic on bits, which compilers turn into vectors on any machine.
enum FloatConversion {
  /// `count` stored values to floats, exactly. Returns whether all are finite.
  static func toFloat(_ type: SourceType, _ from: UnsafeRawPointer, _ count: Int, _ to: UnsafeMutablePointer<Float>) -> Bool {
    // An exponent of all ones, and nothing else, carries into the sign when one is added to it.
    var carry: UInt32 = 0
    switch type {
    case .float32:
      let from = from.assumingMemoryBound(to: UInt32.self)
      for index in 0..<count {
        let bits = from[index]
        carry |= (bits & 0x7F80_0000) &+ 0x0080_0000
        to[index] = Float(bitPattern: bits)
      }
    case .bfloat16:
      let from = from.assumingMemoryBound(to: UInt16.self)
      for index in 0..<count {
        let bits = UInt32(truncatingIfNeeded: from[index]) &<< 16
        carry |= (bits & 0x7F80_0000) &+ 0x0080_0000
        to[index] = Float(bitPattern: bits)
      }
    case .float16:
      let from = from.assumingMemoryBound(to: UInt16.self)
      for index in 0..<count {
        let half = UInt32(truncatingIfNeeded: from[index])
        // The exponent's bias differs by 112; the product is exact, also where the half was denormal.
        let magnitude = Float(bitPattern: (half & 0x7FFF) &<< 13) * 0x1p112
        let isSpecial = half & 0x7C00 == 0x7C00
        let bits = isSpecial ? (half & 0x7FFF) &<< 13 | 0x7F80_0000 : magnitude.bitPattern
        carry |= (bits & 0x7F80_0000) &+ 0x0080_0000
        to[index] = Float(bitPattern: bits | (half & 0x8000) &<< 16)
      }
    }
    return carry & 0x8000_0000 == 0
  }

  /// Whether all of `count` stored values are finite.
  static func areFinite(_ type: SourceType, _ from: UnsafeRawPointer, _ count: Int) -> Bool {
    if type == .float32 {
      let from = from.assumingMemoryBound(to: UInt32.self)
      var carry: UInt32 = 0
      for index in 0..<count { carry |= (from[index] & 0x7F80_0000) &+ 0x0080_0000 }
      return carry & 0x8000_0000 == 0
    }
    let from = from.assumingMemoryBound(to: UInt16.self)
    let (mask, one): (UInt16, UInt16) = type == .float16 ? (0x7C00, 0x0400) : (0x7F80, 0x0080)
    var carry: UInt16 = 0
    for index in 0..<count { carry |= (from[index] & mask) &+ one }
    return carry & 0x8000 == 0
  }

  /// `count` floats to bfloat16, rounded to nearest even. A finite value beyond the largest bfloat16 becomes infinite; NaN stays NaN.
  static func toBFloat16(_ from: UnsafePointer<Float>, _ count: Int, _ to: UnsafeMutablePointer<UInt16>) {
    for index in 0..<count {
      let bits = from[index].bitPattern
      let isNaN = bits & 0x7FFF_FFFF > 0x7F80_0000
      let rounded = bits &+ 0x7FFF &+ (bits &>> 16 & 1)
      to[index] = UInt16(truncatingIfNeeded: (isNaN ? bits | 0x40_0000 : rounded) &>> 16)
    }
  }
}
