import Kernels

/// See `QuantizedKernels.quantizeRows`. Leaves the offsets alone: these kernels take the zero point off the codes.
func quantizeRows(
  _ x: UnsafePointer<Float>, _ stride: Int, _ columns: Int, _ rows: QuantizedRows, _ tokens: Range<Int>, _ groups: Range<Int>
) {
  for token in tokens { quantizeRow(x + (token - tokens.lowerBound) * stride, columns, rows, token, groups) }
}

@inline(__always)
func quantizeRow(_ x: UnsafePointer<Float>, _ columns: Int, _ rows: QuantizedRows, _ token: Int, _ groups: Range<Int>) {
  let place = QuantizedRowPlace(rows, token, group: groups.lowerBound, words: 1)
  let values = place.values.assumingMemoryBound(to: Int8.self)
  for group in 0..<groups.count {
    let start = group * rows.group
    let known = greater(0, smaller(rows.group, columns - start))
    var greatest: Int32 = 0
    for index in start..<start + known {
      let bits = Int32(bitPattern: x[index].bitPattern & 0x7fff_ffff)
      greatest = bits > greatest ? bits : greatest
    }
    let (scale, inverse) = scaleAndInverse(greatest)
    var sum: Int32 = 0
    for index in 0..<rows.group {
      let value = index < known && inverse != 0 ? rounded(x[start + index] * inverse) : 0
      sum &+= value
      let input = start + index
      values[(input >> 2) * 4 * place.width + input & 3] = Int8(truncatingIfNeeded: value)
    }
    place.scales[group * place.width] = scale
    place.sums[group * place.width] = scale * Float(sum)
  }
}

/// To the nearest integer, ties to even, for magnitudes below 2²²: adding 1.5 · 2²³ leaves no digits behind the point.
@inline(__always)
func rounded(_ x: Float) -> Int32 {
  Int32(bitPattern: (x + 0x1.8p23).bitPattern) &- Int32(bitPattern: (0x1.8p23 as Float).bitPattern)
}
