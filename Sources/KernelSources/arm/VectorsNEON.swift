import CIntrinsics
import Kernels

// What all quantized kernels for ARM have in common.

/// Bytes ahead of the codes being read that are asked for, where one token is multiplied straight from the packed codes.
@inline(__always)
var prefetchDistance: Int { 1024 }

/// Many tokens: codes are unpacked to bytes in scratch, a block of inputs at a time, and `multiply` takes each tile of tokens over them.
///
/// `store` puts codes less their zero point, or their uneven levels, in their places in the block at `to`: four rows', the first and the
/// last four of eight inputs; `vector` counts fours of rows.
@inline(__always)
func multiplyUnpacked(
  bits: Int, isUneven: Bool = false, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>,
  _ scratch: UnsafeMutableRawPointer,
  store: (_ first: neon_int8, _ last: neon_int8, _ vector: Int, _ inputs: Int, _ to: UnsafeMutableRawPointer) -> Void,
  multiply: (QuantizedTile) -> Void
) {
  multiplyInBlocks(bits: bits, panel, rows, output, scratch: scratch) { group, groups in
    let inputs = groups * panel.group
    var from = panel.codes + group * panel.group * panelRows * bits / 8
    var to = scratch
    for _ in 0..<(bits == 3 ? inputs / 32 : 0) {
      for vector in 0..<8 {
        let parts = Parts3(from + 16 * vector)
        store(neon_less_4(parts.four(0)), neon_less_4(parts.four(1)), vector, inputs, to)
        store(neon_less_4(parts.four(2)), neon_less_4(parts.four(3)), vector, inputs, to + 64)
        store(neon_less_4(parts.four(4)), neon_less_4(parts.four(5)), vector, inputs, to + 128)
        store(neon_less_4(parts.four(6)), neon_less_4(parts.four(7)), vector, inputs, to + 192)
      }
      from += 384
      to += 256
    }
    for _ in 0..<(bits == 3 ? 0 : inputs / 8) {
      for vector in 0..<8 {
        let codes = neon_load(from + 16 * vector)
        if isUneven {
          let levels = neon_levels()
          store(neon_look_up(levels, neon_low_codes(codes)), neon_look_up(levels, neon_high_codes(codes)), vector, inputs, to)
        } else if bits == 4 {
          store(neon_less_8(neon_low_codes(codes)), neon_less_8(neon_high_codes(codes)), vector, inputs, to)
        } else {
          store(neon_less_128(codes), neon_less_128(neon_load(from + 16 * vector + 128)), vector, inputs, to)
        }
      }
      from += 32 * bits
      to += 64
    }
    return UnsafeRawPointer(scratch)
  } multiply: { tile in
    multiply(tile)
  }
}

/// 32 inputs of four rows in 3-bit codes.
struct Parts3 {
  private let a: neon_int8
  private let b: neon_int8
  private let c: neon_int8

  @inline(__always)
  init(_ codes: UnsafeRawPointer) {
    a = neon_load(codes)
    b = neon_load(codes + 128)
    c = neon_load(codes + 256)
  }

  /// Codes, unsigned, of the inputs from `4 · index` (a constant) on.
  @inline(__always)
  func four(_ index: Int) -> neon_int8 {
    switch index {
    case 0: neon_low_codes3(a)
    case 1: neon_high_codes3(a)
    case 2: neon_low_codes3(b)
    case 3: neon_high_codes3(b)
    case 4: neon_low_codes3(c)
    case 5: neon_high_codes3(c)
    case 6: neon_seventh_codes(a, c)
    default: neon_eighth_codes(b, c)
    }
  }
}

/// The `store` of kernels that take four inputs of a row at a time: `[4 quarters][inputs / 4][8 rows][4 inputs]`.
@inline(__always)
func storeFours(_ first: neon_int8, _ last: neon_int8, _ vector: Int, _ inputs: Int, _ to: UnsafeMutableRawPointer) {
  let place = to + (vector >> 1) * inputs * 8 + (vector & 1) * 16
  neon_store(place, first)
  neon_store(place + 32, last)
}

/// A group's sums of all 32 rows and one token.
@inline(__always)
func addGroup(
  bits: Int, _ sums: InlineArray<24, neon_int32>, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ group: Int,
  _ output: UnsafeMutablePointer<Float>
) {
  let halves = panel.scales + group * panelRows
  for index in 0..<8 {
    neon_add_scaled(output + 4 * index, sums[unchecked: index], neon_load_halves(halves + 4 * index), rows.scales[group])
  }
  if let minima = panel.minima {
    for index in 0..<8 {
      let row = 4 * index
      let minima = neon_minima(minima + group * panelRows + row, neon_load_halves(halves + row), zeroPoint(bits: bits))
      neon_add_minima(output + row, minima, rows.sums[group])
    }
  }
}

// MARK: accumulators

// Written out: `InlineArray(repeating:)` may stay a call to a copy of a generic function, which a kernel module may not hold, and the
// accumulators would be memory.

@inline(__always)
func zeros24() -> InlineArray<24, neon_int32> {
  let zero = neon_int32()
  return [
    zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero,
    zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero,
  ]
}

@inline(__always)
func startOfSums12() -> InlineArray<12, neon_int32> {
  let start = neon_start_of_sums()
  return [start, start, start, start, start, start, start, start, start, start, start, start]
}

@inline(__always)
func floatZeros12() -> InlineArray<12, neon_float> {
  let zero = neon_float()
  return [zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero]
}
