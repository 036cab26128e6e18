import CIntrinsics
import Kernels
import KernelsNEON

/// Quantized products with the dot product of Armv8.2: `sdot` multiplies 16 signed by 16 signed bytes and adds fours to four int32; the
/// four values of a token are taken by element from a vector that holds four tokens.
///
/// Many tokens: 8 rows by 6 tokens, twelve integer accumulators and twelve results. For each four inputs that is 12 `sdot`, two loads of
/// codes and two of values.
///
/// Limit: `sdot` alone, 16 products each.
package let quantizedKernelsDotProd = QuantizedKernels(
  quantizeRows: quantizedKernelsNEON.quantizeRows, multiply3: { multiply(bits: 3, $0, $1, $2, $3) },
  multiply4: { multiply(bits: 4, $0, $1, $2, $3) },
  multiply8: { multiply(bits: 8, $0, $1, $2, $3) }, multiplyUneven: multiplyUneven,
  scratchBytes: blockInputs * panelRows, multiplyInRegisters: multiplyInRegisters)

@inline(__always)
private func multiply(
  bits: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count == 1 {
    switch bits {
    case 3: return multiplyOneToken3(panel, rows, output)
    case 4: return multiplyOneToken4(panel, rows, output)
    default: return multiplyOneToken8(panel, rows, output)
    }
  }
  multiplyUnpacked(bits: bits, panel, rows, output, scratch) {
    storeFours($0, $1, $2, $3, $4)
  } multiply: { tile in
    multiplyTile(tile, bits: bits)
  }
}

@inline(__always)
private func multiplyUneven(
  _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
) {
  if rows.count == 1 { return multiplyOneTokenOfUneven(panel, rows, output) }
  multiplyUnpacked(bits: 4, isUneven: true, panel, rows, output, scratch) {
    storeFours($0, $1, $2, $3, $4)
  } multiply: { tile in
    multiplyTile(tile, bits: 4)
  }
}

private func multiplyInRegisters(_ iterations: Int) -> Int {
  16 * repeatInRegisters(iterations) { sum, codes, values, index in neon_dot(sum, codes, neon_lane(values, index & 3)) }
}

// MARK: one token

// One token, straight from the packed codes: each code is read once, from memory, and unpacked in registers.

/// All 32 rows. 4-bit codes stay unsigned, and the accumulators start at −8 · Σ values.
@inline(never)
func multiplyOneToken4(_ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>) {
  multiplyOneToken4(isUneven: false, panel, rows, output)
}

/// Uneven levels are looked up as they are, signed.
@inline(never)
func multiplyOneTokenOfUneven(_ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>) {
  multiplyOneToken4(isUneven: true, panel, rows, output)
}

@inline(__always)
private func multiplyOneToken4(
  isUneven: Bool, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>
) {
  let levels = neon_levels()
  clear(output, 1)
  var sums = zeros24()
  var codes = panel.codes
  var values = UnsafeRawPointer(rows.values)
  for group in 0..<panel.groups {
    let offset = isUneven ? neon_int32() : neon_fill(rows.offsets[group])
    for index in 0..<8 { sums[unchecked: index] = offset }
    for _ in 0..<panel.group / 16 {
      for line in 0..<4 { neon_prefetch(codes + prefetchDistance + 64 * line) }
      let four = neon_load(values)
      for half in 0..<2 {
        for vector in 0..<8 {
          let packed = neon_load(codes + 128 * half + 16 * vector)
          let low = isUneven ? neon_look_up(levels, neon_low_codes(packed)) : neon_low_codes(packed)
          let high = isUneven ? neon_look_up(levels, neon_high_codes(packed)) : neon_high_codes(packed)
          let sum = neon_dot(sums[unchecked: vector], low, neon_lane(four, 2 * half))
          sums[unchecked: vector] = neon_dot(sum, high, neon_lane(four, 2 * half + 1))
        }
      }
      codes += 256
      values += 16
    }
    addGroup(bits: 4, sums, panel, rows, group, output)
  }
}

/// 3-bit codes stay unsigned as well; the accumulators start at −4 · Σ values.
@inline(never)
func multiplyOneToken3(_ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>) {
  clear(output, 1)
  var sums = zeros24()
  var codes = panel.codes
  var values = UnsafeRawPointer(rows.values)
  for group in 0..<panel.groups {
    let offset = neon_fill(rows.offsets[group] >> 1)
    for index in 0..<8 { sums[unchecked: index] = offset }
    for _ in 0..<panel.group / 32 {
      for line in 0..<6 { neon_prefetch(codes + prefetchDistance + 64 * line) }
      let first = neon_load(values)
      let last = neon_load(values + 16)
      for vector in 0..<8 {
        let parts = Parts3(codes + 16 * vector)
        var sum = sums[unchecked: vector]
        sum = neon_dot(sum, parts.four(0), neon_lane(first, 0))
        sum = neon_dot(sum, parts.four(1), neon_lane(first, 1))
        sum = neon_dot(sum, parts.four(2), neon_lane(first, 2))
        sum = neon_dot(sum, parts.four(3), neon_lane(first, 3))
        sum = neon_dot(sum, parts.four(4), neon_lane(last, 0))
        sum = neon_dot(sum, parts.four(5), neon_lane(last, 1))
        sum = neon_dot(sum, parts.four(6), neon_lane(last, 2))
        sums[unchecked: vector] = neon_dot(sum, parts.four(7), neon_lane(last, 3))
      }
      codes += 384
      values += 32
    }
    addGroup(bits: 3, sums, panel, rows, group, output)
  }
}

@inline(never)
func multiplyOneToken8(_ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>) {
  clear(output, 1)
  var sums = zeros24()
  var codes = panel.codes
  var values = UnsafeRawPointer(rows.values)
  for group in 0..<panel.groups {
    for index in 0..<8 { sums[unchecked: index] = neon_int32() }
    for _ in 0..<panel.group / 16 {
      for line in 0..<8 { neon_prefetch(codes + prefetchDistance + 64 * line) }
      let four = neon_load(values)
      for lane in 0..<4 {
        for vector in 0..<8 {
          let signed = neon_less_128(neon_load(codes + 128 * lane + 16 * vector))
          sums[unchecked: vector] = neon_dot(sums[unchecked: vector], signed, neon_lane(four, lane))
        }
      }
      codes += 512
      values += 16
    }
    addGroup(bits: 8, sums, panel, rows, group, output)
  }
}

// MARK: many tokens

/// 8 rows by `tokens` (a constant) tokens from `first` on. Sums of a group and results each have their registers.
@inline(__always)
func multiplyTokens(_ tokens: Int, _ tile: QuantizedTile, _ first: Int, _ quarter: Int, _ bits: Int) {
  let width = tile.width
  let output = tile.output + first * panelRows + 8 * quarter
  var weights = tile.weights + quarter * (tile.groups * tile.group * 8)
  var values = UnsafeRawPointer(tile.values) + 4 * first
  var row = 8 * quarter
  var place = first
  var results = floatZeros12()
  for token in 0..<tokens {
    results[unchecked: 2 * token] = neon_load_floats(output + token * panelRows)
    results[unchecked: 2 * token + 1] = neon_load_floats(output + token * panelRows + 4)
  }
  for _ in 0..<tile.groups {
    var sums = startOfSums12()
    var rest = tile.group
    repeat {
      let upper = neon_load(weights)
      let lower = neon_load(weights + 16)
      if tokens < 4 {
        // What comes after these tokens may be beyond the memory's end.
        for token in 0..<tokens { add(neon_broadcast(values + 4 * token), upper, lower, token, &sums) }
      } else {
        let fours = neon_load(values)
        // Lanes written out: what is not known before inlining would not be an operand by element.
        add(neon_lane(fours, 0), upper, lower, 0, &sums)
        add(neon_lane(fours, 1), upper, lower, 1, &sums)
        add(neon_lane(fours, 2), upper, lower, 2, &sums)
        add(neon_lane(fours, 3), upper, lower, 3, &sums)
        if tokens > 4 {
          // The last four tokens, of which some were in the first four.
          let fours = neon_load(values + 4 * (tokens - 4))
          if tokens == 6 { add(neon_lane(fours, 2), upper, lower, 4, &sums) }
          add(neon_lane(fours, 3), upper, lower, tokens - 1, &sums)
        }
      }
      weights += 32
      values += 4 * width
      rest -= 4
    } while rest > 0
    let upper = neon_load_halves(tile.weightScales + row)
    let lower = neon_load_halves(tile.weightScales + row + 4)
    for token in 0..<tokens {
      let scale = tile.scales[place + token]
      let index = 2 * token
      results[unchecked: index] = neon_add_product(
        results[unchecked: index], neon_multiple(upper, scale), neon_sums(sums[unchecked: index]))
      results[unchecked: index + 1] = neon_add_product(
        results[unchecked: index + 1], neon_multiple(lower, scale), neon_sums(sums[unchecked: index + 1]))
    }
    if let minima = tile.minima {
      let upper = neon_minima(minima + row, upper, zeroPoint(bits: bits))
      let lower = neon_minima(minima + row + 4, lower, zeroPoint(bits: bits))
      for token in 0..<tokens {
        let sum = tile.sums[place + token]
        results[unchecked: 2 * token] = neon_add_multiple(results[unchecked: 2 * token], upper, sum)
        results[unchecked: 2 * token + 1] = neon_add_multiple(results[unchecked: 2 * token + 1], lower, sum)
      }
    }
    row += panelRows
    place += width
  }
  for token in 0..<tokens {
    neon_store_floats(output + token * panelRows, results[unchecked: 2 * token])
    neon_store_floats(output + token * panelRows + 4, results[unchecked: 2 * token + 1])
  }
}

/// Four inputs of a token to its sums.
@inline(__always)
private func add(_ four: neon_int8, _ upper: neon_int8, _ lower: neon_int8, _ token: Int, _ sums: inout InlineArray<12, neon_int32>) {
  sums[unchecked: 2 * token] = neon_dot(sums[unchecked: 2 * token], upper, four)
  sums[unchecked: 2 * token + 1] = neon_dot(sums[unchecked: 2 * token + 1], lower, four)
}
