import CIntrinsics
import Kernels

/// See `QuantizedKernels.quantizeRow`. Offsets are two int16 for each 64 inputs: −8 times the sums over inputs 0, 1 and over 2, 3 of each four.
func quantizeRow(_ x: UnsafePointer<Float>, _ columns: Int, _ rows: QuantizedRows, _ token: Int) {
  let tile = token / tileTokens
  let width = smaller(tileTokens, rows.count - tile * tileTokens)
  let column = token - tile * tileTokens
  let values = UnsafeMutableRawPointer(rows.values + tile * tileTokens * rows.columns + 4 * column)
  let scales = rows.scales + tile * tileTokens * rows.groups + column
  let sums = rows.sums + tile * tileTokens * rows.groups + column
  var offsets = rows.offsets + tile * tileTokens * rows.columns / 32 + column

  for group in 0..<rows.groups {
    let start = group * rows.group
    let known = greater(0, smaller(rows.group, columns - start))
    let greatest = greatestMagnitude(x + start, known)
    let (scale, inverse) = scaleAndInverse(greatest)
    scales[group * width] = scale
    var sum: Int32 = 0
    var block = 0
    while block < rows.group {
      let end = smaller(block + lanes16Inputs, rows.group)
      var pairs = avx2_fill16(0)
      while block < end {
        let bytes = quantize32(x + start + block, known - block, inverse)
        store(bytes, values + (start + block) * width, width)
        pairs = avx2_add16(pairs, avx2_multiply_pairs8(avx2_fill8(1), bytes))
        block += 32
      }
      let word = avx2_offset_word(pairs)
      offsets.pointee = word
      offsets += width
      sum &-= Int32(Int16(truncatingIfNeeded: word)) &+ (word >> 16)
    }
    // The word's halves are −8 times their sums; a NaN scale keeps being one.
    sums[group * width] = scale * Float(sum >> 3)
  }
}

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
