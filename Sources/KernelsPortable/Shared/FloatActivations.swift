import CIntrinsics

// Exponential, GELU and SiLU of a vector: straight-line polynomials, no table and no branch.

/// eˣ for x ≤ 88, within 2 units in the last place; 0 below −87; a number that is none stays so.
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2; eʳ by its polynomial (Cephes' `expf`), 2ⁿ by the exponent's bits.
@inline(__always) func exponential(_ x: Lanes) -> Lanes {
  let clamped = lanes_max(Lanes(repeating: -87.33), x)
  // Adding 1.5 · 2²³ rounds to an integer and leaves it in the low bits.
  let shifted = multiplyAdd(clamped, Lanes(repeating: 1.442_695_04), Lanes(repeating: 12_582_912))
  let n = shifted - Lanes(repeating: 12_582_912)
  var r = multiplyAdd(n, Lanes(repeating: -0.693_359_375), clamped)
  r = multiplyAdd(n, Lanes(repeating: 2.121_944_4e-4), r)
  var p = Lanes(repeating: 1.987_569_15e-4)
  p = multiplyAdd(p, r, Lanes(repeating: 1.398_199_95e-3))
  p = multiplyAdd(p, r, Lanes(repeating: 8.333_451_9e-3))
  p = multiplyAdd(p, r, Lanes(repeating: 4.166_579_6e-2))
  p = multiplyAdd(p, r, Lanes(repeating: 1.666_666_5e-1))
  p = multiplyAdd(p, r, Lanes(repeating: 0.5))
  p = multiplyAdd(p, r * r, r) + Lanes(repeating: 1)
  return lanes_zero_below(x, Lanes(repeating: -87.33), p * lanes_power_of_two(shifted))
}

/// `x · Φ(x)`, within 5e-7.
///
/// `x · Φ(x) = max(x, 0) − a · erfc(a / √2) / 2` with `a = |x|`. Beyond 5.5 the second term is below 1e-7; up to there its factor
/// is a polynomial of degree 16 in `a`, scaled to −1 ... 1 (a fit that weighs errors by `a`).
@inline(__always) func gaussianErrorLinear(_ x: Lanes) -> Lanes {
  let a = lanes_min(lanes_magnitude(x), Lanes(repeating: 5.5))
  let s = multiplyAdd(a, Lanes(repeating: 2 / 5.5), Lanes(repeating: -1))
  var p = Lanes(repeating: 0.00211515208)
  p = multiplyAdd(p, s, Lanes(repeating: -0.00783196278))
  p = multiplyAdd(p, s, Lanes(repeating: -0.00139281549))
  p = multiplyAdd(p, s, Lanes(repeating: 0.0374105908))
  p = multiplyAdd(p, s, Lanes(repeating: -0.0351344906))
  p = multiplyAdd(p, s, Lanes(repeating: -0.0583768375))
  p = multiplyAdd(p, s, Lanes(repeating: 0.128035888))
  p = multiplyAdd(p, s, Lanes(repeating: -0.0289569162))
  p = multiplyAdd(p, s, Lanes(repeating: -0.16142033))
  p = multiplyAdd(p, s, Lanes(repeating: 0.216417745))
  p = multiplyAdd(p, s, Lanes(repeating: -0.0516435876))
  p = multiplyAdd(p, s, Lanes(repeating: -0.176822305))
  p = multiplyAdd(p, s, Lanes(repeating: 0.271902859))
  p = multiplyAdd(p, s, Lanes(repeating: -0.206833169))
  p = multiplyAdd(p, s, Lanes(repeating: 0.0945579782))
  p = multiplyAdd(p, s, Lanes(repeating: -0.0250075459))
  p = multiplyAdd(p, s, Lanes(repeating: 0.00297976984))
  return multiplyAdd(-a, p, lanes_max(Lanes(repeating: 0), x))
}

/// `x / (1 + e⁻ˣ)`.
@inline(__always) func sigmoidLinear(_ x: Lanes) -> Lanes {
  let e = exponential(lanes_min(Lanes(repeating: 87), -x))
  return x / (Lanes(repeating: 1) + e)
}

func gelu(_ x: UnsafeMutablePointer<Float>, _ bias: UnsafePointer<Float>?, _ count: Int) {
  if let bias {
    eachVector(count) { i, part in store(gaussianErrorLinear(load(x + i, part) + load(bias + i, part)), x + i, part) }
  } else {
    eachVector(count) { i, part in store(gaussianErrorLinear(load(x + i, part)), x + i, part) }
  }
}

func gatedSilu(_ gate: UnsafePointer<Float>, _ up: UnsafePointer<Float>, _ count: Int, _ y: UnsafeMutablePointer<Float>) {
  eachVector(count) { i, part in store(sigmoidLinear(load(gate + i, part)) * load(up + i, part), y + i, part) }
}

func exponentiate(_ x: UnsafeMutablePointer<Float>, _ maximum: Float, _ count: Int) -> Float {
  let shift = Lanes(repeating: maximum)
  var sum = Lanes(repeating: 0)
  var rest: Float = 0
  eachVector(count) { i, part in
    let e = exponential(load(x + i, part) - shift)
    store(e, x + i, part)
    if part == laneCount {
      sum += e
    } else {
      for j in 0..<part { rest += x[i + j] }
    }
  }
  return lanes_sum(sum) + rest
}
