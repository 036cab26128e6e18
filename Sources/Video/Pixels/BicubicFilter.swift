/// The weights of one direction of a resize, as Pillow computes them for 8-bit images (`BICUBIC`, no reducing gap): a cubic with
/// a = −0.5, widened by the reduction, in fixed point with 22 bits.
struct BicubicFilter {
  /// Fractional bits of a weight: 32 less 8 of a pixel less 2 for sums that overshoot.
  static let precision = 32 - 8 - 2
  /// Bits of a weight's lower part; both parts fit into 16 bits.
  static let lowBits = 11

  /// Per output where its inputs begin.
  let starts: [Int]
  /// How many inputs every output has.
  let taps: Int
  /// Per output and pair of taps: both weights' higher parts, then both lower parts. Pairs are filled up with zero.
  let weights: [Int16]

  /// Numbers in `weights` per output.
  var weightStride: Int { (taps + 1) / 2 * 4 }

  /// Inputs that the outputs use.
  var inputs: Range<Int> { (starts.first ?? 0)..<((starts.last ?? 0) + taps) }

  /// For the outputs `part` of `output` that are made of `input` pixels; all at least 1.
  init(input: Int, output: Int, part: Range<Int>) {
    let scale = Double(input) / Double(output)
    let widening = max(scale, 1)
    let support = 2 * widening
    // Pillow's room for the widest case; weights that are not needed are zero.
    let taps = min(Int(support.rounded(.up)) * 2 + 1, input)
    let stride = (taps + 1) / 2 * 4
    var starts = [Int](repeating: 0, count: part.count)
    var weights = [Int16](repeating: 0, count: part.count * stride)
    for (place, position) in part.enumerated() {
      let center = (Double(position) + 0.5) * scale
      let low = max(0, Int(center - support + 0.5))
      let high = min(input, Int(center + support + 0.5))
      let values = (low..<high).map { BicubicFilter.cubic((Double($0) - center + 0.5) * (1 / widening)) }
      let sum = values.reduce(0, +)
      // Earlier where the taps would reach beyond the input, so that all outputs have the same number.
      let start = min(low, input - taps)
      starts[place] = start
      for (tap, value) in values.enumerated() {
        let share = sum == 0 ? value : value / sum
        let fixed = Int((share < 0 ? -0.5 : 0.5) + share * Double(1 << BicubicFilter.precision))
        let (pair, side) = (tap + low - start).quotientAndRemainder(dividingBy: 2)
        weights[place * stride + pair * 4 + side] = Int16(fixed >> BicubicFilter.lowBits)
        weights[place * stride + pair * 4 + side + 2] = Int16(fixed & (1 << BicubicFilter.lowBits - 1))
      }
    }
    self.starts = starts
    self.taps = taps
    self.weights = weights
  }

  private static func cubic(_ distance: Double) -> Double {
    let a = -0.5
    let x = abs(distance)
    if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
    if x < 2 { return (((x - 5) * x + 8) * x - 4) * a }
    return 0
  }
}
