import CIntrinsics

// Loops over one row: sums, norms, activations, elementwise operations.

// MARK: sums

// Sums along a row. Their order does not follow the width of a vector: partial sum i takes the inputs i, i + 16 (or i + 32), …, and halves
// are added onto halves at the end. So the same row has the same sum, to the last bit, wherever products and sums are fused.

/// Sixteen partial sums: one, two or four vectors.
struct RowSum {
  private var v0 = Lanes(repeating: 0)
  private var v1 = Lanes(repeating: 0)
  private var v2 = Lanes(repeating: 0)
  private var v3 = Lanes(repeating: 0)

  static var count: Int { 16 }

  @inline(__always) init() {}

  /// Each vector becomes `body(where its inputs begin, vector)`.
  @inline(__always) mutating func update(_ body: (_ offset: Int, _ sum: Lanes) -> Lanes) {
    v0 = body(0, v0)
    if laneCount < 16 { v1 = body(laneCount, v1) }
    if laneCount < 8 {
      v2 = body(2 * laneCount, v2)
      v3 = body(3 * laneCount, v3)
    }
  }

  /// This sum and another one's, partial sum by partial sum.
  @inline(__always) func adding(_ other: RowSum) -> RowSum {
    var result = self
    result.v0 = v0 + other.v0
    result.v1 = v1 + other.v1
    result.v2 = v2 + other.v2
    result.v3 = v3 + other.v3
    return result
  }

  @inline(__always) var total: Float {
    if laneCount == 16 { return lanes_sum(v0) }
    if laneCount == 8 { return lanes_sum(v0 + v1) }
    return lanes_sum((v0 + v2) + (v1 + v3))
  }
}

/// The sum over `count` values of `x − origin`, or of its square. Two times sixteen partial sums keep the sum accurate and the adders busy.
@inline(__always) func sum(_ x: UnsafePointer<Float>, _ count: Int, from origin: Float = 0, squared: Bool = false) -> Float {
  let shift = Lanes(repeating: origin)
  var even = RowSum()
  var odd = RowSum()
  var i = 0
  while i + 2 * RowSum.count <= count {
    even.update { offset, sum in adding(load(x + i + offset) - shift, squared, sum) }
    odd.update { offset, sum in adding(load(x + i + RowSum.count + offset) - shift, squared, sum) }
    i += 2 * RowSum.count
  }
  var rest: Float = 0
  while i < count {
    let value = x[i] - origin
    rest += squared ? value * value : value
    i += 1
  }
  return even.adding(odd).total + rest
}

@inline(__always) private func adding(_ x: Lanes, _ squared: Bool, _ sum: Lanes) -> Lanes {
  squared ? multiplyAdd(x, x, sum) : sum + x
}

// MARK: norms

// The variance is the mean of squared distances from the mean, in a pass of its own.

func layerNorm(
  _ x: UnsafePointer<Float>, _ count: Int, _ weight: UnsafePointer<Float>, _ bias: UnsafePointer<Float>, _ epsilon: Float,
  _ y: UnsafeMutablePointer<Float>
) {
  let mean = sum(x, count) / Float(count)
  let variance = sum(x, count, from: mean, squared: true) / Float(count)
  let factor = Lanes(repeating: 1 / (variance + epsilon).squareRoot())
  let origin = Lanes(repeating: mean)
  eachVector(count) { i, part in
    store(multiplyAdd((load(x + i, part) - origin) * factor, load(weight + i, part), load(bias + i, part)), y + i, part)
  }
}

func rmsNorm(_ x: UnsafePointer<Float>, _ count: Int, _ weight: UnsafePointer<Float>, _ epsilon: Float, _ y: UnsafeMutablePointer<Float>) {
  let meanSquare = sum(x, count, squared: true) / Float(count)
  let factor = Lanes(repeating: 1 / (meanSquare + epsilon).squareRoot())
  eachVector(count) { i, part in store(load(x + i, part) * factor * load(weight + i, part), y + i, part) }
}

// MARK: elementwise

func addMultiple(_ a: Float, _ x: UnsafePointer<Float>, _ count: Int, _ y: UnsafeMutablePointer<Float>) {
  let factor = Wide(repeating: a)
  eachWide(count) { i, part in store(multiplyAdd(factor, loadWide(x + i, part), loadWide(y + i, part)), y + i, part) }
}

func scale(_ x: UnsafeMutablePointer<Float>, _ a: Float, _ count: Int) {
  let factor = Wide(repeating: a)
  eachWide(count) { i, part in store(loadWide(x + i, part) * factor, x + i, part) }
}

func maximum(_ x: UnsafePointer<Float>, _ count: Int) -> Float {
  var greatest = Wide(repeating: -.infinity)
  var rest = -Float.infinity
  eachWide(count) { i, part in
    if part == wideCount {
      // The new value first: what is not a number is passed over.
      greatest = loadWide(x + i).orMore(greatest)
    } else {
      for j in 0..<part where x[i + j] > rest { rest = x[i + j] }
    }
  }
  let whole = lanes_greatest(lanes_max(greatest.low, greatest.high))
  return whole > rest ? whole : rest
}

func rotate(_ x: UnsafeMutablePointer<Float>, _ heads: Int, _ half: Int, _ cos: UnsafePointer<Float>, _ sin: UnsafePointer<Float>) {
  var head = x
  for _ in 0..<heads {
    let low = head
    let high = head + half
    eachWide(half) { i, part in
      let a = loadWide(low + i, part)
      let b = loadWide(high + i, part)
      let c = loadWide(cos + i, part)
      let s = loadWide(sin + i, part)
      store(multiplyAdd(a, c, -(b * s)), low + i, part)
      store(multiplyAdd(b, c, a * s), high + i, part)
    }
    head += 2 * half
  }
}

// MARK: activations

// Exponential, GELU and SiLU: straight-line polynomials, no table and no branch.

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

func softmaxColumns(
  _ scores: UnsafeMutablePointer<Float>, _ count: Int, _ greatest: UnsafeMutablePointer<Float>, _ weights: UnsafeMutablePointer<Float>,
  _ sums: UnsafeMutablePointer<Float>, _ rows: Int
) {
  eachWide(32) { column, _ in
    let before = loadWide(greatest + column)
    var now = before
    for row in 0..<count {
      // The new value first: what is not a number is passed over.
      now = loadWide(scores + 32 * row + column).orMore(now)
    }
    let factor = exponential(before - now)
    var total = loadWide(weights + column) * factor
    for row in 0..<count {
      let at = scores + 32 * row + column
      let weight = exponential(loadWide(at) - now)
      store(weight, at, wideCount)
      total += weight
    }
    for row in 0..<rows {
      let at = sums + 32 * row + column
      store(loadWide(at) * factor, at, wideCount)
    }
    store(now, greatest + column, wideCount)
    store(total, weights + column, wideCount)
  }
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

/// `x · (1 + tanh(u)) / 2 = x · σ(2u)` with `u = √(2/π) · (x + 0.044715 · x³)`.
@inline(__always) func gaussianErrorLinearByTanh(_ x: Wide) -> Wide {
  let factor = multiplyAdd(x * x, Wide(repeating: 0.071_354_816), Wide(repeating: 1.595_769_12))
  return x.times(sigmoidOf: x * factor)
}

extension Wide {
  /// `self / (1 + e⁻ʸ)`; 0 for y below −87, where `self` may be anything.
  @inline(__always) func times(sigmoidOf y: Wide) -> Wide {
    let e = exponential(Wide(repeating: 87).orLess(-y))
    let result = self / (Wide(repeating: 1) + e)
    let limit = Lanes(repeating: -87)
    return Wide(lanes_zero_below(y.low, limit, result.low), lanes_zero_below(y.high, limit, result.high))
  }
}

func gatedSilu(_ gate: UnsafePointer<Float>, _ up: UnsafePointer<Float>, _ count: Int, _ y: UnsafeMutablePointer<Float>) {
  eachWide(count) { i, part in
    let x = loadWide(gate + i, part)
    store(x.times(sigmoidOf: x) * loadWide(up + i, part), y + i, part)
  }
}

func exponentiate(_ x: UnsafeMutablePointer<Float>, _ maximum: Float, _ count: Int) -> Float {
  let shift = Wide(repeating: maximum)
  eachWide(count) { i, part in store(exponential(loadWide(x + i, part) - shift), x + i, part) }
  return sum(x, count)
}
