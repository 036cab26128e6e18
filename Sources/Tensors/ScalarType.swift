/// A type that weights, inputs and caches are stored in; what is computed with is float32. Files have more types, and say which of theirs
/// are these.
public enum ScalarType: UInt8, Sendable, CaseIterable {
  case float32 = 0
  case float16 = 1
  case bfloat16 = 2

  /// Bytes of one value.
  public var size: Int { self == .float32 ? 4 : 2 }
}

extension ScalarType: CustomStringConvertible {
  public var description: String {
    switch self {
    case .float32: "float32"
    case .float16: "float16"
    case .bfloat16: "bfloat16"
    }
  }
}

/// Loops over stored values, at any alignment, as plain integer arithmetic on bits, which compilers turn into vectors on any machine. Where
/// a kernel table is at hand, `FloatKernels.toFloat` does the same with the machine's own instructions.
extension ScalarType {
  /// The largest magnitude that a value can have.
  package var greatestMagnitude: Float {
    switch self {
    case .float32: .greatestFiniteMagnitude
    case .float16: Float(Float16.greatestFiniteMagnitude)
    case .bfloat16: 0x1.fep127
    }
  }

  /// The stored value of that index, exactly.
  package func value(_ from: UnsafeRawPointer, _ index: Int) -> Float {
    var result: Float = 0
    decode(from + index * size, 1, to: &result)
    return result
  }

  /// `count` stored values to floats, exactly. Returns whether all are finite.
  @discardableResult
  package func decode(_ from: UnsafeRawPointer, _ count: Int, to: UnsafeMutablePointer<Float>) -> Bool {
    // An exponent of all ones, and nothing else, carries into the sign when one is added to it.
    var carry: UInt32 = 0
    switch self {
    case .float32:
      for index in 0..<count {
        let bits = from.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self)
        carry |= (bits & 0x7F80_0000) &+ 0x0080_0000
        to[index] = Float(bitPattern: bits)
      }
    case .bfloat16:
      for index in 0..<count {
        let bits = UInt32(truncatingIfNeeded: from.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)) &<< 16
        carry |= (bits & 0x7F80_0000) &+ 0x0080_0000
        to[index] = Float(bitPattern: bits)
      }
    case .float16:
      for index in 0..<count {
        let half = UInt32(truncatingIfNeeded: from.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self))
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
  package func areFinite(_ from: UnsafeRawPointer, _ count: Int) -> Bool {
    if self == .float32 {
      var carry: UInt32 = 0
      for index in 0..<count {
        carry |= (from.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self) & 0x7F80_0000) &+ 0x0080_0000
      }
      return carry & 0x8000_0000 == 0
    }
    let (mask, one): (UInt16, UInt16) = self == .float16 ? (0x7C00, 0x0400) : (0x7F80, 0x0080)
    var carry: UInt16 = 0
    for index in 0..<count { carry |= (from.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self) & mask) &+ one }
    return carry & 0x8000 == 0
  }

  /// `count` floats to stored values, rounded to nearest even. A finite value beyond `greatestMagnitude` may become infinite; NaN stays
  /// NaN.
  package func encode(_ from: UnsafePointer<Float>, _ count: Int, to: UnsafeMutableRawPointer) {
    switch self {
    case .float32: to.copyMemory(from: from, byteCount: 4 * count)
    case .float16:
      for index in 0..<count { to.storeBytes(of: Float16(from[index]).bitPattern, toByteOffset: 2 * index, as: UInt16.self) }
    case .bfloat16:
      for index in 0..<count {
        let bits = from[index].bitPattern
        let isNaN = bits & 0x7FFF_FFFF > 0x7F80_0000
        let rounded = bits &+ 0x7FFF &+ (bits &>> 16 & 1)
        let stored = UInt16(truncatingIfNeeded: (isNaN ? bits | 0x40_0000 : rounded) &>> 16)
        to.storeBytes(of: stored, toByteOffset: 2 * index, as: UInt16.self)
      }
    }
  }
}
