import CIntrinsics
import Kernels

/// Quantized products with nothing beyond the baseline of the architecture (SSE2 on x86, NEON on ARM): codes and values widened to int16,
/// the zero point taken off the codes, and sums of two products added into int32.
package let quantizedKernelsPortable = QuantizedKernels(
  quantizeRows: quantizeRows, multiply3: { multiply(bits: 3, $0, $1, $2, $3) }, multiply4: { multiply(bits: 4, $0, $1, $2, $3) },
  multiply8: { multiply(bits: 8, $0, $1, $2, $3) }, multiplyUneven: multiplyUneven,
  scratchBytes: blockInputs * panelRows * 2 + blockInputs * tileTokens * 2 + (blockInputs / 32) * panelRows * 8,
  multiplyInRegisters: multiplyInRegisters)

private func multiplyUneven(
  _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  multiply(bits: 4, isUneven: true, panel, rows, output, scratch)
}

@inline(__always)
private func multiply(
  bits: Int, isUneven: Bool = false, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>,
  _ scratch: UnsafeMutableRawPointer
) {
  let weights = scratch.assumingMemoryBound(to: Int16.self)
  let values = weights + blockInputs * panelRows
  let scales = UnsafeMutableRawPointer(values + blockInputs * tileTokens).assumingMemoryBound(to: Float.self)
  let minima = scales + blockInputs / 32 * panelRows
  multiplyInBlocks(bits: bits, panel, rows, output, scratch: scratch) { first, groups in
    let inputs = groups * panel.group
    let codes = (panel.codes + first * panel.group * panelRows * bits / 8).assumingMemoryBound(to: UInt8.self)
    switch bits {
    case 3: unpack3(codes, inputs, weights)
    case 4: unpack4(isUneven: isUneven, codes, inputs, weights)
    default: unpack8(codes, inputs, weights)
    }
    for index in 0..<groups * panelRows {
      scales[index] = halfToFloat(panel.scales[first * panelRows + index])
    }
    if let halves = panel.minima {
      let zero = zeroPoint(bits: bits)
      for index in 0..<groups * panelRows {
        // Exact before the one rounding at the end: both factors have few digits.
        minima[index] = Float(Double(zero) * Double(scales[index]) + Double(halfToFloat(halves[first * panelRows + index])))
      }
    }
    return UnsafeRawPointer(scratch)
  } multiply: { tile in
    widen(tile, values)
    multiplyTile(tile, weights, values, scales, panel.minima == nil ? nil : minima)
  }
}

private func multiplyInRegisters(_ iterations: Int) -> Int {
  var sums = zeros8()
  var codes = portable_broadcast([1, 1])
  for _ in 0..<iterations {
    for index in 0..<8 {
      codes = portable_opaque(codes)
      sums[unchecked: index] = portable_add_pairs(sums[unchecked: index], codes, codes)
    }
  }
  for index in 0..<8 { _ = portable_opaque(unsafeBitCast(sums[unchecked: index], to: SIMD8<Int16>.self)) }
  return iterations * 8 * 8
}

// MARK: activations

/// See `QuantizedKernels.quantizeRows`. These kernels take the zero point off the codes, and do not read the offsets.
private func quantizeRows(
  _ x: UnsafePointer<Float>, _ stride: Int, _ columns: Int, _ rows: QuantizedRows, _ tokens: Range<Int>, _ groups: Range<Int>
) {
  for token in tokens {
    quantizeRow(x + (token - tokens.lowerBound) * stride, columns, rows, token, groups) { x, known in
      var greatest: Int32 = 0
      for index in 0..<known {
        let bits = Int32(bitPattern: x[index].bitPattern & 0x7fff_ffff)
        greatest = bits > greatest ? bits : greatest
      }
      return greatest
    } values: { x, known, inverse, to, width, _ in
      let values = to.assumingMemoryBound(to: Int8.self)
      var sum: Int32 = 0
      for index in 0..<rows.group {
        let value = index < known && inverse != 0 ? rounded(x[index] * inverse) : 0
        sum &+= value
        values[(index >> 2) * 4 * width + index & 3] = Int8(truncatingIfNeeded: value)
      }
      return sum
    }
  }
}

/// To the nearest integer, ties to even, for magnitudes below 2²²: adding 1.5 · 2²³ leaves no digits behind the point.
@inline(__always)
private func rounded(_ x: Float) -> Int32 {
  Int32(bitPattern: (x + 0x1.8p23).bitPattern) &- Int32(bitPattern: (0x1.8p23 as Float).bitPattern)
}

// MARK: values and codes as int16

/// A tile's values as int16: `[groups · group / 2][width][2 inputs]`.
@inline(__always)
private func widen(_ tile: QuantizedTile, _ to: UnsafeMutablePointer<Int16>) {
  let width = tile.width
  for four in 0..<tile.groups * tile.group / 4 {
    let from = tile.values + four * width * 4
    let low = to + four * width * 4
    let high = low + width * 2
    for token in 0..<width {
      low[2 * token] = Int16(from[4 * token])
      low[2 * token + 1] = Int16(from[4 * token + 1])
      high[2 * token] = Int16(from[4 * token + 2])
      high[2 * token + 1] = Int16(from[4 * token + 3])
    }
  }
}

/// Codes less their zero point, or their uneven levels, as int16: `[inputs / 2][32 rows][2 inputs]`.
@inline(__always)
private func unpack4(isUneven: Bool, _ codes: UnsafePointer<UInt8>, _ inputs: Int, _ to: UnsafeMutablePointer<Int16>) {
  for eight in 0..<inputs / 8 {
    let from = codes + eight * 128
    let place = to + eight * 256
    for row in 0..<panelRows {
      for pair in 0..<2 {
        for index in 0..<2 {
          let code = from[4 * row + 2 * pair + index]
          place[64 * pair + 2 * row + index] = isUneven ? Int16(uneven_level(code)) : Int16(code & 15) &- 8
          place[64 * (pair + 2) + 2 * row + index] = isUneven ? Int16(uneven_level(code >> 4)) : Int16(code >> 4) &- 8
        }
      }
    }
  }
}

@inline(__always)
private func unpack3(_ codes: UnsafePointer<UInt8>, _ inputs: Int, _ to: UnsafeMutablePointer<Int16>) {
  for block in 0..<inputs / 32 {
    for four in 0..<panelRows / 4 { portable_unpack3(codes + block * 384 + 16 * four, to + block * 1024 + 8 * four) }
  }
}

@inline(__always)
private func unpack8(_ codes: UnsafePointer<UInt8>, _ inputs: Int, _ to: UnsafeMutablePointer<Int16>) {
  for four in 0..<inputs / 4 {
    let from = codes + four * 128
    let place = to + four * 128
    for row in 0..<panelRows {
      for pair in 0..<2 {
        for index in 0..<2 { place[64 * pair + 2 * row + index] = Int16(from[4 * row + 2 * pair + index]) &- 128 }
      }
    }
  }
}

/// A float16's bits as a float: baseline x86 has no instruction for it.
@inline(__always)
private func halfToFloat(_ half: UInt16) -> Float {
  let magnitude = UInt32(half & 0x7fff) << 13
  // The exponent's bias differs by 112; the product is exact, subnormal numbers included.
  let scaled = Float(bitPattern: magnitude) * 0x1p112
  let bits = scaled.bitPattern | (half & 0x7c00 == 0x7c00 ? 0x7f80_0000 : 0) | UInt32(half & 0x8000) << 16
  return Float(bitPattern: bits)
}

// Written out: `InlineArray(repeating:)` may stay a call to a copy of a generic function, which a kernel module may not hold, and the
// accumulators would be memory.

@inline(__always)
func zeros8() -> InlineArray<8, SIMD4<Int32>> {
  let zero = SIMD4<Int32>()
  return [
    zero, zero, zero, zero, zero, zero, zero, zero,
  ]
}

// MARK: many tokens

/// All 32 rows by one tile of tokens.
@inline(__always)
func multiplyTile(
  _ tile: QuantizedTile, _ weights: UnsafePointer<Int16>, _ values: UnsafePointer<Int16>, _ scales: UnsafePointer<Float>,
  _ minima: UnsafePointer<Float>?
) {
  var token = 0
  while token + 2 <= tile.width {
    for part in 0..<2 { TileTokens<2>.multiply(tile, token, part, weights, values, scales, minima) }
    token += 2
  }
  if token < tile.width {
    for part in 0..<2 { TileTokens<1>.multiply(tile, token, part, weights, values, scales, minima) }
  }
}

/// One function for each number of tokens, so that the compiler knows it.
private enum TileTokens<let tokens: Int> {
  @inline(never)
  static func multiply(
    _ tile: QuantizedTile, _ first: Int, _ part: Int, _ weights: UnsafePointer<Int16>, _ values: UnsafePointer<Int16>,
    _ scales: UnsafePointer<Float>, _ minima: UnsafePointer<Float>?
  ) { multiplyTokens(tokens, tile, first, part, weights, values, scales, minima) }
}

/// `tokens` (a constant) tokens by 16 rows: four accumulators each.
@inline(__always)
private func multiplyTokens(
  _ tokens: Int, _ tile: QuantizedTile, _ first: Int, _ part: Int, _ weights: UnsafePointer<Int16>, _ values: UnsafePointer<Int16>,
  _ scales: UnsafePointer<Float>, _ minima: UnsafePointer<Float>?
) {
  var sums = zeros8()
  var weights = weights + part * 32
  var values = values + 2 * first
  for group in 0..<tile.groups {
    for index in 0..<4 * tokens { sums[unchecked: index] = SIMD4<Int32>() }
    for _ in 0..<tile.group / 2 {
      for vector in 0..<4 {
        let codes = portable_load(weights + 8 * vector)
        for token in 0..<tokens {
          let index = 4 * token + vector
          sums[unchecked: index] = portable_add_pairs(sums[unchecked: index], codes, portable_broadcast(values + 2 * token))
        }
      }
      weights += 64
      values += 2 * tile.width
    }
    for token in 0..<tokens {
      let place = group * tile.width + first + token
      let scale = SIMD4<Float>(repeating: tile.scales[place])
      let tokenSum = SIMD4<Float>(repeating: tile.sums[place])
      for vector in 0..<4 {
        let row = part * 16 + 4 * vector
        let output = tile.output + (first + token) * panelRows + row
        let factor = portable_load_floats(scales + group * panelRows + row) * scale
        var result = portable_multiply_add(
          factor, portable_to_float(sums[unchecked: 4 * token + vector]), portable_load_floats(output))
        if let minima { result = portable_multiply_add(portable_load_floats(minima + group * panelRows + row), tokenSum, result) }
        portable_store_floats(output, result)
      }
    }
  }
}
