import CIntrinsics
import Kernels

/// Codes of `inputs` inputs, less their zero point, at a byte each: `[4 quarters][inputs / 8][4 pairs of rows][2 rows][8 inputs]`.
@inline(__always)
func unpackPairs4(_ codes: UnsafeRawPointer, _ inputs: Int, _ to: UnsafeMutableRawPointer) {
  var from = codes
  var to = to
  for _ in 0..<inputs / 8 {
    for vector in 0..<8 {
      let packed = neon_load(from + 16 * vector)
      storePairs(neon_less_8(neon_low_codes(packed)), neon_less_8(neon_high_codes(packed)), vector, inputs, to)
    }
    from += 128
    to += 64
  }
}

@inline(__always)
func unpackPairs8(_ codes: UnsafeRawPointer, _ inputs: Int, _ to: UnsafeMutableRawPointer) {
  var from = codes
  var to = to
  for _ in 0..<inputs / 8 {
    for vector in 0..<8 {
      let first = neon_load(from + 16 * vector)
      let last = neon_load(from + 16 * vector + 128)
      storePairs(neon_less_128(first), neon_less_128(last), vector, inputs, to)
    }
    from += 256
    to += 64
  }
}

/// Four rows' first and last four of eight inputs to their places, as two pairs of rows.
@inline(__always)
func storePairs(_ first: neon_int8, _ last: neon_int8, _ vector: Int, _ inputs: Int, _ to: UnsafeMutableRawPointer) {
  let place = to + (vector >> 1) * inputs * 8 + (vector & 1) * 32
  neon_store(place, neon_join_low(first, last))
  neon_store(place + 16, neon_join_high(first, last))
}

/// A tile's values as `[inputs / 8][pairs of tokens][2 tokens][8 inputs]`; after an odd number of tokens come any values.
@inline(__always)
func pairTokens(_ tile: QuantizedTile, _ to: UnsafeMutableRawPointer) {
  var from = UnsafeRawPointer(tile.values)
  var to = to
  let step = 4 * tile.width
  let wholeFours = tile.width & ~3
  for _ in 0..<tile.groups * tile.group / 8 {
    var token = 0
    while token < wholeFours {
      let first = neon_load(from + 4 * token)
      let last = neon_load(from + step + 4 * token)
      neon_store(to, neon_join_low(first, last))
      neon_store(to + 16, neon_join_high(first, last))
      to += 32
      token += 4
    }
    while token < tile.width {
      // Eight bytes of each token that is left; beyond the last may be the memory's end.
      to.storeBytes(of: (from + 4 * token).loadUnaligned(as: UInt32.self), as: UInt32.self)
      (to + 4).storeBytes(of: (from + step + 4 * token).loadUnaligned(as: UInt32.self), as: UInt32.self)
      to += 8
      token += 1
    }
    to += 8 * (tile.width & 1)
    from += 2 * step
  }
}
