/// The weights of one direction of a resize, as Pillow computes them for 8-bit images (`BICUBIC`, `reducing_gap` off): a cubic with
/// a = −0.5, widened by the reduction, in fixed point with 22 bits.
struct BicubicFilter {
  /// Fractional bits of a weight: 32 less 8 of a pixel less 2 for sums that overshoot.
  static let precision: Int32 = 32 - 8 - 2

  /// The first output position that is computed.
  let first: Int
  /// Per output position from `first` on: where its inputs begin.
  let starts: [Int]
  /// Per output position `taps` weights; those beyond the input's end are zero.
  let weights: [Int32]
  /// How many inputs an output has, at most.
  let taps: Int

  /// Inputs that the outputs use.
  var inputs: Range<Int> { (starts.first ?? 0)..<((starts.last ?? 0) + taps) }

  /// The outputs `part` of a row of `output` that is made of `input` pixels; all at least 1.
  init(input: Int, output: Int, part: Range<Int>) {
    let scale = Double(input) / Double(output)
    let widening = max(scale, 1)
    let support = 2 * widening
    // Pillow keeps room for one more; the weights there are zero. An input shorter than the support has no more than itself.
    let taps = min(Int(support.rounded(.up)) * 2 + 1, input)
    var starts: [Int] = [], weights: [Int32] = []
    starts.reserveCapacity(part.count)
    weights.reserveCapacity(part.count * taps)
    for position in part {
      let center = (Double(position) + 0.5) * scale
      let low = max(0, Int(center - support + 0.5))
      let high = min(input, Int(center + support + 0.5))
      var values = (low..<high).map { BicubicFilter.cubic((Double($0) - center + 0.5) * (1 / widening)) }
      let sum = values.reduce(0, +)
      if sum != 0 { values = values.map { $0 / sum } }
      // Shifted back where the taps would reach beyond the input, so that all positions have the same number.
      let start = min(low, input - taps)
      let fixed = values.map { Int32(($0 < 0 ? -0.5 : 0.5) + $0 * Double(1 << BicubicFilter.precision)) }
      starts.append(start)
      weights += repeatElement(0, count: low - start) + fixed + repeatElement(0, count: taps - (low - start) - fixed.count)
    }
    first = part.lowerBound
    self.starts = starts
    self.weights = weights
    self.taps = taps
  }

  private static func cubic(_ distance: Double) -> Double {
    let a = -0.5
    let x = abs(distance)
    if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
    if x < 2 { return (((x - 5) * x + 8) * x - 4) * a }
    return 0
  }
}
