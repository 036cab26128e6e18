import CIntrinsics
import Kernels

// What kernels of 256 bits have in common, with and without VNNI.

typealias Integers = __m256i
@inline(__always)
func zeroIntegers() -> Integers { avx2_fill32(0) }

/// A tile's tokens, in at most two parts of nearly the same size: six tokens' accumulators fill the registers.
@inline(__always)
func multiplyTile(bits: Int, _ tile: QuantizedTile) {
  if tile.width <= 6 {
    multiplyUpTo6(bits: bits, tile.width, tile, 0)
  } else {
    let left = (tile.width + 1) / 2
    multiplyUpTo6(bits: bits, left, tile, 0)
    multiplyUpTo6(bits: bits, tile.width - left, tile, left)
  }
}

/// See `QuantizedKernels.multiplyInRegisters`: a tile of six tokens, of which `multiplyAdd` takes two vectors of codes each.
@inline(__always)
func repeatInRegisters(_ iterations: Int, _ multiplyAdd: (_ sum: __m256i, _ codes: __m256i, _ values: __m256i) -> __m256i) -> Int {
  var sums = zeros12()
  var left = avx2_fill8(1)
  var right = avx2_fill8(2)
  let values = avx2_fill8(1)
  for _ in 0..<iterations {
    for token in 0..<6 {
      left = avx2_opaque(left)
      right = avx2_opaque(right)
      sums[unchecked: 2 * token] = multiplyAdd(sums[unchecked: 2 * token], left, values)
      sums[unchecked: 2 * token + 1] = multiplyAdd(sums[unchecked: 2 * token + 1], right, values)
    }
  }
  for index in 0..<12 { _ = avx2_opaque(sums[unchecked: index]) }
  return iterations * 12 * 32
}

// MARK: codes

/// 4-bit codes of `inputs` inputs as bytes: `[2 halves][inputs / 4][16 rows][4 inputs]`.
@inline(__always)
func unpack4(_ codes: UnsafeRawPointer, _ inputs: Int, _ to: UnsafeMutableRawPointer) {
  let mask = avx2_fill8(15)
  let half = inputs / 4 * 64
  var from = codes
  var to = to
  for _ in 0..<inputs / 8 {
    for vector in 0..<4 {
      let pair = avx2_load(from + 32 * vector)
      let place = to + (vector >> 1) * half + (vector & 1) * 32
      avx2_store(place, avx2_and(pair, mask))
      avx2_store(place + 64, avx2_and(avx2_shift4(pair), mask))
    }
    from += 128
    to += 128
  }
}

/// Uneven levels plus 32 as bytes, in the same order.
@inline(__always)
func storeLevels(_ codes: UnsafeRawPointer, _ inputs: Int, _ to: UnsafeMutableRawPointer) {
  let levels = avx2_levels(32)
  let half = inputs / 4 * 64
  var from = codes
  var to = to
  for _ in 0..<inputs / 8 {
    for vector in 0..<4 {
      let (low, high) = lookUp(levels, avx2_load(from + 32 * vector))
      let place = to + (vector >> 1) * half + (vector & 1) * 32
      avx2_store(place, low)
      avx2_store(place + 64, high)
    }
    from += 128
    to += 128
  }
}

/// What a table of levels has for the codes in the lower and in the upper halves of bytes.
@inline(__always)
func lookUp(_ levels: __m256i, _ packed: __m256i) -> (low: __m256i, high: __m256i) {
  let mask = avx2_fill8(15)
  return (avx2_look_up(levels, avx2_and(packed, mask)), avx2_look_up(levels, avx2_and(avx2_shift4(packed), mask)))
}

/// 3-bit codes as bytes, in the same order.
@inline(__always)
func unpack3(_ codes: UnsafeRawPointer, _ inputs: Int, _ to: UnsafeMutableRawPointer) {
  let half = inputs / 4 * 64
  var from = codes
  var to = to
  for _ in 0..<inputs / 32 {
    for vector in 0..<4 {
      let parts = Parts3(from + 32 * vector)
      let place = to + (vector >> 1) * half + (vector & 1) * 32
      avx2_store(place, parts.low(parts.a))
      avx2_store(place + 64, parts.high(parts.a))
      avx2_store(place + 128, parts.low(parts.b))
      avx2_store(place + 192, parts.high(parts.b))
      avx2_store(place + 256, parts.low(parts.c))
      avx2_store(place + 320, parts.high(parts.c))
      avx2_store(place + 384, avx2_seventh_codes(parts.a, parts.c))
      avx2_store(place + 448, avx2_eighth_codes(parts.b, parts.c))
    }
    from += 384
    to += 512
  }
}

/// 32 inputs of eight rows in 3-bit codes: the three parts, each with two fours and bits of the last two.
struct Parts3 {
  let a: __m256i
  let b: __m256i
  let c: __m256i

  @inline(__always)
  init(_ codes: UnsafeRawPointer) {
    a = avx2_load(codes)
    b = avx2_load(codes + 128)
    c = avx2_load(codes + 256)
  }

  @inline(__always)
  func low(_ part: __m256i) -> __m256i { avx2_and(part, avx2_fill8(7)) }
  @inline(__always)
  func high(_ part: __m256i) -> __m256i { avx2_and(avx2_shift3(part), avx2_fill8(7)) }
}

// MARK: sums to floats

/// `output += scales · factor · sums`: a token's integer sums over a group, scaled, for eight rows.
@inline(__always)
func add(_ sums: __m256i, _ scales: __m256, _ factor: UnsafePointer<Float>, to output: UnsafeMutablePointer<Float>) {
  let product = avx2_multiply(scales, avx2_broadcast_float(factor))
  avx2_store_floats(output, avx2_multiply_add(product, avx2_to_float(sums), avx2_load_floats(output)))
}

/// `output += minima · factor`, with a token's sum as the factor.
@inline(__always)
func add(_ minima: __m256, _ factor: UnsafePointer<Float>, to output: UnsafeMutablePointer<Float>) {
  avx2_store_floats(output, avx2_multiply_add(minima, avx2_broadcast_float(factor), avx2_load_floats(output)))
}

/// A group's minima, plus what taking the zero point off the codes takes away.
@inline(__always)
func minima(_ minima: UnsafePointer<UInt16>, _ scales: __m256, bits: Int) -> __m256 {
  avx2_multiply_add(avx2_fill_float(zeroPoint(bits: bits)), scales, avx2_load_halves(minima))
}

// MARK: activations to int8, 32 at a time

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
  withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 8) { fours in
    avx2_store(fours.baseAddress, bytes)
    for index in 0..<8 { (to + 4 * index * width).storeBytes(of: fours[index], as: UInt32.self) }
  }
}
