import CIntrinsics
import Kernels

// Activations to int8, 32 at a time.

/// The bits of the greatest |x|: as integers they are ordered as the magnitudes are, with NaN above infinity.
@inline(__always)
func greatestMagnitude(_ x: UnsafePointer<Float>, _ count: Int) -> Int32 {
  let mask = avx2_fill32(0x7fff_ffff)
  var greatest = avx2_fill32(0)
  var index = 0
  while index + 8 <= count {
    greatest = avx2_max32(greatest, avx2_and(mask, avx2_bits(avx2_load_floats(x + index))))
    index += 8
  }
  var result = avx2_greatest32(greatest)
  while index < count {
    let bits = Int32(bitPattern: x[index].bitPattern & 0x7fff_ffff)
    result = bits > result ? bits : result
    index += 1
  }
  return result
}

/// 32 values; those from `known` on are zeros.
@inline(__always)
func quantize32(_ x: UnsafePointer<Float>, _ known: Int, _ inverse: Float) -> __m256i {
  if inverse == 0 || known <= 0 { return avx2_fill8(0) }
  if known >= 32 { return quantizeFull(x, inverse) }
  return withUnsafeTemporaryAllocation(of: Float.self, capacity: 32) { copy in
    for index in 0..<32 { copy[index] = index < known ? x[index] : 0 }
    return quantizeFull(copy.baseAddress.unsafelyUnwrapped, inverse)
  }
}

@inline(__always)
func quantizeFull(_ x: UnsafePointer<Float>, _ inverse: Float) -> __m256i {
  let factor = avx2_fill_float(inverse)
  return avx2_narrow(
    avx2_round(avx2_multiply(avx2_load_floats(x), factor)), avx2_round(avx2_multiply(avx2_load_floats(x + 8), factor)),
    avx2_round(avx2_multiply(avx2_load_floats(x + 16), factor)), avx2_round(avx2_multiply(avx2_load_floats(x + 24), factor)))
}

/// Eight fours of bytes to their places in a tile.
@inline(__always)
func store(_ bytes: __m256i, _ to: UnsafeMutableRawPointer, _ width: Int) {
  if width == 1 { return avx2_store(to, bytes) }
  withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 8) { words in
    avx2_store(words.baseAddress, bytes)
    for word in 0..<8 { (to + 4 * word * width).storeBytes(of: words[word], as: UInt32.self) }
  }
}
