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
