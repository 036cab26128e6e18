import CIntrinsics
import Kernels

/// See `QuantizedKernels.quantizeRows`. Offsets are two int16 for each 64 inputs: −8 times the sums over inputs 0, 1 and over 2, 3 of each four.
func quantizeRows(
  _ x: UnsafePointer<Float>, _ stride: Int, _ columns: Int, _ rows: QuantizedRows, _ tokens: Range<Int>, _ groups: Range<Int>
) {
  for token in tokens { quantizeRow(x + (token - tokens.lowerBound) * stride, columns, rows, token, groups) }
}

@inline(__always)
func quantizeRow(_ x: UnsafePointer<Float>, _ columns: Int, _ rows: QuantizedRows, _ token: Int, _ groups: Range<Int>) {
  var place = QuantizedRowPlace(rows, token, group: groups.lowerBound, words: offsetWords(rows.group))

  for group in 0..<groups.count {
    let start = group * rows.group
    let known = greater(0, smaller(rows.group, columns - start))
    let greatest = greatestMagnitude(x + start, known)
    let (scale, inverse) = scaleAndInverse(greatest)
    place.scales[group * place.width] = scale
    var sum: Int32 = 0
    var block = 0
    while block < rows.group {
      let end = smaller(block + lanes16Inputs, rows.group)
      var pairs = avx2_fill16(0)
      while block < end {
        let bytes = quantize32(x + start + block, known - block, inverse)
        store(bytes, place.values + (start + block) * place.width, place.width)
        pairs = avx2_add16(pairs, avx2_multiply_pairs8(avx2_fill8(1), bytes))
        block += 32
      }
      let word = avx2_offset_word(pairs)
      place.offsets.pointee = word
      place.offsets += place.width
      sum &-= Int32(Int16(truncatingIfNeeded: word)) &+ (word >> 16)
    }
    // The word's halves are −8 times their sums; a NaN scale keeps being one.
    place.sums[group * place.width] = scale * Float(sum >> 3)
  }
}
