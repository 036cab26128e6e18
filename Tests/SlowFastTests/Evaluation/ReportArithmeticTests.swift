import Foundation
import SlowFast
import Testing

/// Shares, intervals, quantiles: the arithmetic of reports.
@Suite struct ReportArithmeticTests {
  /// Against values of Wilson's formula computed elsewhere.
  @Test(arguments: [
    (count: 8, total: 10, low: 0.49016, high: 0.94331), (0, 28, 0, 0.12064), (28, 28, 0.87936, 1), (450, 500, 0.87058, 0.92332),
    (1, 3, 0.06149, 0.79234),
  ])
  func wilson(count: Int, total: Int, low: Double, high: Double) {
    let proportion = Proportion(count, of: total)
    #expect(abs(proportion.low - low) < 2e-5 && abs(proportion.high - high) < 2e-5, "\(proportion)")
    #expect(proportion.share == Double(count) / Double(total))
  }

  @Test func nothingMeansNothing() {
    let proportion = Proportion(0, of: 0)
    #expect(proportion.low == 0 && proportion.high == 1 && proportion.share == 0)
  }
}
