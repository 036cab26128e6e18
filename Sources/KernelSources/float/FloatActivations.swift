import CIntrinsics

// Exponential, GELU and SiLU of a vector: straight-line polynomials, no table and no branch.

/// eˣ for x ≤ 88, within 2 units in the last place; 0 below −87; a number that is none stays so.
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2; eʳ by its polynomial (Cephes' `expf`), 2ⁿ by the exponent's bits.
@inline(__always) func exponential(_ x: Wide) -> Wide {
  let clamped = Wide(repeating: -87.33).orMore(x)
  // Adding 1.5 · 2²³ rounds to an integer and leaves it in the low bits.
  let shifted = multiplyAdd(clamped, Wide(repeating: 1.442_695_04), Wide(repeating: 12_582_912))
  let n = shifted - Wide(repeating: 12_582_912)
  var r = multiplyAdd(n, Wide(repeating: -0.693_359_375), clamped)
  r = multiplyAdd(n, Wide(repeating: 2.121_944_4e-4), r)
  var p = Wide(repeating: 1.987_569_15e-4)
  p = multiplyAdd(p, r, Wide(repeating: 1.398_199_95e-3))
  p = multiplyAdd(p, r, Wide(repeating: 8.333_451_9e-3))
  p = multiplyAdd(p, r, Wide(repeating: 4.166_579_6e-2))
  p = multiplyAdd(p, r, Wide(repeating: 1.666_666_5e-1))
  p = multiplyAdd(p, r, Wide(repeating: 0.5))
  p = multiplyAdd(p, r * r, r) + Wide(repeating: 1)
  let result = p * Wide(lanes_power_of_two(shifted.low), lanes_power_of_two(shifted.high))
  let limit = Lanes(repeating: -87.33)
  return Wide(lanes_zero_below(x.low, limit, result.low), lanes_zero_below(x.high, limit, result.high))
}

/// `x · Φ(x)`, within 5e-7.
///
/// `x · Φ(x) = max(x, 0) − a · erfc(a / √2) / 2` with `a = |x|`. Beyond 5.5 the second term is below 1e-7; up to there its factor
/// is a polynomial of degree 16 in `a`, scaled to −1 ... 1 (a fit that weighs errors by `a`). Even and odd powers apart: two short
/// chains instead of a long one.
@inline(__always) func gaussianErrorLinear(_ x: Wide) -> Wide {
  let a = x.magnitude.orLess(Wide(repeating: 5.5))
  let s = multiplyAdd(a, Wide(repeating: 2 / 5.5), Wide(repeating: -1))
  let t = s * s
  var even = Wide(repeating: 0.00211515208)
  even = multiplyAdd(even, t, Wide(repeating: -0.00139281549))
  even = multiplyAdd(even, t, Wide(repeating: -0.0351344906))
  even = multiplyAdd(even, t, Wide(repeating: 0.128035888))
  even = multiplyAdd(even, t, Wide(repeating: -0.16142033))
  even = multiplyAdd(even, t, Wide(repeating: -0.0516435876))
  even = multiplyAdd(even, t, Wide(repeating: 0.271902859))
  even = multiplyAdd(even, t, Wide(repeating: 0.0945579782))
  even = multiplyAdd(even, t, Wide(repeating: 0.00297976984))
  var odd = Wide(repeating: -0.00783196278)
  odd = multiplyAdd(odd, t, Wide(repeating: 0.0374105908))
  odd = multiplyAdd(odd, t, Wide(repeating: -0.0583768375))
  odd = multiplyAdd(odd, t, Wide(repeating: -0.0289569162))
  odd = multiplyAdd(odd, t, Wide(repeating: 0.216417745))
  odd = multiplyAdd(odd, t, Wide(repeating: -0.176822305))
  odd = multiplyAdd(odd, t, Wide(repeating: -0.206833169))
  odd = multiplyAdd(odd, t, Wide(repeating: -0.0250075459))
  return multiplyAdd(-a, multiplyAdd(odd, s, even), Wide(repeating: 0).orMore(x))
}

/// `x / (1 + e⁻ˣ)`.
@inline(__always) func sigmoidLinear(_ x: Wide) -> Wide {
  let e = exponential(Wide(repeating: 87).orLess(-x))
  return x / (Wide(repeating: 1) + e)
}

func gatedSilu(_ gate: UnsafePointer<Float>, _ up: UnsafePointer<Float>, _ count: Int, _ y: UnsafeMutablePointer<Float>) {
  eachWide(count) { i, part in store(sigmoidLinear(loadWide(gate + i, part)) * loadWide(up + i, part), y + i, part) }
}

func exponentiate(_ x: UnsafeMutablePointer<Float>, _ maximum: Float, _ count: Int) -> Float {
  let shift = Wide(repeating: maximum)
  eachWide(count) { i, part in store(exponential(loadWide(x + i, part) - shift), x + i, part) }
  return sum(x, count)
}
