import CIntrinsics
import Kernels
import Tensors

// Values as they are stored: float32, float16 or bfloat16.

/// `part` stored values from index `i` on. `type` is a constant where this is inlined.
@inline(__always) private func load(_ type: ScalarType, _ values: UnsafeRawPointer, _ i: Int, _ part: Int) -> Lanes {
  switch type {
  case .float32:
    return load(values.assumingMemoryBound(to: Float.self) + i, part)
  case .float16:
    return part == laneCount ? lanes_load_half(values + 2 * i) : lanes_load_part_half(values + 2 * i, part)
  case .bfloat16:
    return part == laneCount ? lanes_load_bfloat(values + 2 * i) : lanes_load_part_bfloat(values + 2 * i, part)
  }
}

/// Calls `body` with the type as a constant.
@inline(__always) private func withConstant(_ type: ScalarType, _ body: (ScalarType) -> Void) {
  switch type {
  case .float32: body(.float32)
  case .float16: body(.float16)
  case .bfloat16: body(.bfloat16)
  }
}

func toFloat(_ type: ScalarType, _ from: UnsafeRawPointer, _ count: Int, _ to: UnsafeMutablePointer<Float>) {
  withConstant(type) { type in
    eachVector(count) { i, part in store(load(type, from, i, part), to + i, part) }
  }
}

func toHalf(_ from: UnsafePointer<Float>, _ count: Int, _ to: UnsafeMutablePointer<UInt16>) {
  eachVector(count) { i, part in
    let value = load(from + i, part)
    if part == laneCount { lanes_store_half(to + i, value) } else { lanes_store_part_half(to + i, value, part) }
  }
}

/// Squares of `laneCount` rows and columns are transposed in registers: each of log₂(laneCount) rounds interleaves vector i with
/// vector i + laneCount / 2.
func packPanel(
  _ type: ScalarType, _ weights: UnsafeRawPointer, _ rowStride: Int, _ rows: Int, _ columns: Int, _ panel: UnsafeMutablePointer<Float>
) {
  withConstant(type) { type in
    var firstRow = 0
    while firstRow < 32 {
      let present = rows - firstRow
      eachVector(columns) { column, part in
        transposeSquare(part, panel + column * 32 + firstRow) { r in
          r < present ? load(type, weights, (firstRow + r) * rowStride + column, part) : Lanes(repeating: 0)
        }
      }
      firstRow += laneCount
    }
  }
}

/// Stores column j of the vectors `row(0)`, `row(1)` … at `output + 32 · j`, for `j < columns`.
@inline(__always) private func transposeSquare(_ columns: Int, _ output: UnsafeMutablePointer<Float>, _ row: (Int) -> Lanes) {
  withUnsafeTemporaryAllocation(of: Lanes.self, capacity: laneCount) { from in
    withUnsafeTemporaryAllocation(of: Lanes.self, capacity: laneCount) { to in
      for r in 0..<laneCount { from[r] = row(r) }
      for _ in 0..<laneCount.trailingZeroBitCount {
        for i in 0..<(laneCount / 2) {
          to[2 * i] = lanes_zip_low(from[i], from[i + laneCount / 2])
          to[2 * i + 1] = lanes_zip_high(from[i], from[i + laneCount / 2])
        }
        for i in 0..<laneCount { from[i] = to[i] }
      }
      for j in 0..<columns { lanes_store(output + 32 * j, from[j]) }
    }
  }
}

/// Four rows share each load of `x`.
func multiplyVector(
  _ type: ScalarType, _ weights: UnsafeRawPointer, _ rowStride: Int, _ rows: Int, _ columns: Int, _ x: UnsafePointer<Float>,
  _ output: UnsafeMutablePointer<Float>
) {
  withConstant(type) { type in
    var row = 0
    while row + 4 <= rows {
      dotProducts(4, type, weights + row * rowStride * type.size, rowStride, columns, x, output + row)
      row += 4
    }
    while row < rows {
      dotProducts(1, type, weights + row * rowStride * type.size, rowStride, columns, x, output + row)
      row += 1
    }
  }
}

@inline(__always) private func dotProducts(
  _ rows: Int, _ type: ScalarType, _ weights: UnsafeRawPointer, _ rowStride: Int, _ columns: Int, _ x: UnsafePointer<Float>,
  _ output: UnsafeMutablePointer<Float>
) {
  withUnsafeTemporaryAllocation(of: RowSum.self, capacity: rows) { sums in
    for r in 0..<rows { sums[r] = RowSum() }
    var i = 0
    while i + RowSum.count <= columns {
      for r in 0..<rows {
        sums[r].update { offset, sum in multiplyAdd(load(type, weights, r * rowStride + i + offset, laneCount), load(x + i + offset), sum) }
      }
      i += RowSum.count
    }
    if i < columns {
      for r in 0..<rows {
        sums[r].update { offset, sum in
          let part = columns - i - offset
          if part <= 0 { return sum }
          let present = part < laneCount ? part : laneCount
          return multiplyAdd(load(type, weights, r * rowStride + i + offset, present), load(x + i + offset, present), sum)
        }
      }
    }
    for r in 0..<rows { output[r] = sums[r].total }
  }
}

// MARK: codes of 8 bits

func greatestMagnitude(_ x: UnsafePointer<Float>, _ count: Int) -> Float {
  // As integers: what is not a number has more bits than infinity.
  var greatest: Int32 = 0
  for i in 0..<count {
    let bits = Int32(bitPattern: x[i].bitPattern & 0x7fff_ffff)
    greatest = bits > greatest ? bits : greatest
  }
  return Float(bitPattern: UInt32(bitPattern: greatest))
}

/// Adding 1.5 · 2²³ rounds to an integer and leaves it in the low bits.
func toCodes(_ x: UnsafePointer<Float>, _ count: Int, _ inverse: Float, _ codes: UnsafeMutablePointer<UInt8>) {
  for i in 0..<count { codes[i] = UInt8(truncatingIfNeeded: (x[i] * inverse + 0x1.8p23).bitPattern &+ 128) }
}

func greatestMagnitudes(_ x: UnsafePointer<Float>, _ count: Int, _ greatest: UnsafeMutablePointer<Float>) {
  let zero = Lanes(repeating: 0)
  eachVector(32) { column, _ in
    var now = zero
    // What is not finite makes this one not a number.
    var check = zero
    for row in 0..<count {
      let value = load(x + 32 * row + column)
      now = lanes_max(lanes_magnitude(value), now)
      check = multiplyAdd(value, zero, check)
    }
    store(now + lanes_magnitude(check), greatest + column)
  }
}

func toCodesOfRows(
  _ x: UnsafePointer<Float>, _ count: Int, _ padded: Int, _ inverses: UnsafePointer<Float>, _ codes: UnsafeMutableRawPointer
) {
  let (zero, shift) = (Lanes(repeating: 0), Lanes(repeating: 0x1.8p23))
  eachVector(32) { column, _ in
    let inverse = load(inverses + column)
    var row = 0
    while row < padded {
      let at = x + 32 * row + column
      let known = count - row
      let to = codes + (32 * row + 4 * column)
      if known >= 4 {
        lanes_store_codes(
          to, load(at) * inverse + shift, load(at + 32) * inverse + shift, load(at + 64) * inverse + shift, load(at + 96) * inverse + shift)
      } else {
        lanes_store_codes(
          to, known > 0 ? load(at) * inverse + shift : zero, known > 1 ? load(at + 32) * inverse + shift : zero,
          known > 2 ? load(at + 64) * inverse + shift : zero, zero)
      }
      row += 4
    }
  }
}

func fromCodes(_ codes: UnsafePointer<UInt8>, _ count: Int, _ scale: Float, _ x: UnsafeMutablePointer<Float>) {
  for i in 0..<count { x[i] = scale * Float(Int32(codes[i]) &- 128) }
}

func takeDigit(
  _ x: UnsafeMutablePointer<Float>, _ factors: UnsafePointer<Float>?, _ count: Int, _ rest: UnsafeMutablePointer<Float>
) {
  if let factors { eachVector(count) { i, part in store(load(x + i, part) * load(factors + i, part), x + i, part) } }
  let (scale, inverse) = scaleAndInverse(Int32(bitPattern: greatestMagnitude(x, count).bitPattern))
  let (less, times, shift) = (Lanes(repeating: -scale), Lanes(repeating: inverse), Lanes(repeating: 0x1.8p23))
  eachVector(count) { i, part in
    let value = load(x + i, part)
    let digit = (value * times + shift) - shift
    store(multiplyAdd(less, digit, value), rest + i, part)
  }
}

func addDigits(_ m: Int, _ a: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ accumulate: Bool) {
  let others = a + 32 * m
  for row in 0..<m {
    let to = c + cStride * row
    eachVector(32) { i, _ in
      let sum = load(a + 32 * row + i) + load(others + 32 * row + i)
      store(accumulate ? load(to + i) + sum : sum, to + i)
    }
  }
}
