import CIntrinsics
import Kernels

/// See `QuantizedKernels.quantizeRow`. A group's offset is −8 · Σ values.
func quantizeRow(_ x: UnsafePointer<Float>, _ columns: Int, _ rows: QuantizedRows, _ token: Int, _ groups: Range<Int>) {
  let place = QuantizedRowPlace(rows, token, group: groups.lowerBound, words: 1)

  for group in 0..<groups.count {
    let start = group * rows.group
    let known = greater(0, smaller(rows.group, columns - start))
    let (scale, inverse) = scaleAndInverse(greatestMagnitude(x + start, known))
    var sum = avx2_fill32(0)
    var index = 0
    while index < rows.group {
      let bytes = quantize32(x + start + index, known - index, inverse)
      sum = vnni256_dot(sum, avx2_fill8(1), bytes)
      store(bytes, place.values + (start + index) * place.width, place.width)
      index += 32
    }
    let total = avx2_sum32(sum)
    place.scales[group * place.width] = scale
    place.sums[group * place.width] = scale * Float(total)
    place.offsets[group * place.width] = -8 &* total
  }
}
