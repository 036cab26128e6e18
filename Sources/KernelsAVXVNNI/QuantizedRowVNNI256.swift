import CIntrinsics
import Kernels

/// See `QuantizedKernels.quantizeRow`. A group's offset is −8 · Σ values.
func quantizeRow(_ x: UnsafePointer<Float>, _ columns: Int, _ rows: QuantizedRows, _ token: Int) {
  let tile = token / tileTokens
  let width = smaller(tileTokens, rows.count - tile * tileTokens)
  let column = token - tile * tileTokens
  let values = UnsafeMutableRawPointer(rows.values + tile * tileTokens * rows.columns + 4 * column)
  let scales = rows.scales + tile * tileTokens * rows.groups + column
  let sums = rows.sums + tile * tileTokens * rows.groups + column
  let offsets = rows.offsets + tile * tileTokens * rows.columns / 32 + column

  for group in 0..<rows.groups {
    let start = group * rows.group
    let known = greater(0, smaller(rows.group, columns - start))
    let (scale, inverse) = scaleAndInverse(greatestMagnitude(x + start, known))
    var sum = avx2_fill32(0)
    var index = 0
    while index < rows.group {
      let bytes = quantize32(x + start + index, known - index, inverse)
      sum = vnni256_dot(sum, avx2_fill8(1), bytes)
      store(bytes, values + (start + index) * width, width)
      index += 32
    }
    let total = avx2_sum32(sum)
    scales[group * width] = scale
    sums[group * width] = scale * Float(total)
    offsets[group * width] = -8 &* total
  }
}
