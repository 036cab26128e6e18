import Foundation

/// Numbers as reports write them.
enum Numbers {
  static func fixed(_ value: Double, _ digits: Int) -> String { value.fixed(digits) }

  /// `98.4 %`
  static func percent(_ share: Double, digits: Int = 1) -> String { fixed(100 * share, digits) + " %" }

  /// Two or three digits that count, whatever the size: `0.0124`, `3.1·10⁻⁵`.
  static func small(_ value: Double?) -> String {
    guard let value, value.isFinite else { return "–" }
    if value == 0 { return "0" }
    let power = Int(log10(value.magnitude).rounded(.down))
    if power >= 2 { return fixed(value, 0) }
    if power >= -3 { return fixed(value, max(0, 2 - power)) }
    return fixed(value / pow(10, Double(power)), 1) + "·10" + superscript(power)
  }

  static func superscript(_ number: Int) -> String {
    let digits = Array("⁰¹²³⁴⁵⁶⁷⁸⁹")
    return (number < 0 ? "⁻" : "") + String(String(number.magnitude).compactMap { $0.wholeNumberValue.map { digits[$0] } })
  }

  /// `71.2–83.4` as percentages.
  static func interval(_ proportion: Proportion) -> String { "\(fixed(100 * proportion.low, 1))–\(fixed(100 * proportion.high, 1))" }

  static func seconds(_ value: Double) -> String {
    value < 0.0005 ? "0" : value < 1 ? fixed(value, 3) : value < 100 ? fixed(value, 2) : fixed(value, 0)
  }

  /// `71.2–83.4` as percentages.
  static func interval(_ interval: Interval) -> String { "\(fixed(100 * interval.low, 1))–\(fixed(100 * interval.high, 1))" }

  /// A difference of shares: `−1.9 to +0.3 points (95 %)`.
  static func points(_ interval: Interval) -> String {
    func signed(_ value: Double) -> String {
      let text = fixed((100 * value).magnitude, 1)
      return text == "0.0" ? "0" : (value < 0 ? "−" : "+") + text
    }
    let (low, high) = (signed(interval.low), signed(interval.high))
    return low == high ? "\(low) points" : "\(low) to \(high) points (95 %)"
  }

  /// `2.1·10⁻⁴–5.0·10⁻⁴`
  static func smallInterval(_ interval: Interval) -> String { "\(small(interval.low))–\(small(interval.high))" }

  /// `8.5 billion`, `5.2 million`
  static func millions(_ count: Int) -> String {
    count < 1_000_000_000 ? fixed(Double(count) / 1e6, 1) + " million" : fixed(Double(count) / 1e9, 2) + " billion"
  }

  /// Of a second.
  static func rate(_ value: Double) -> String { fixed(value, value < 100 ? 1 : 0) }

  static func probability(_ value: Double) -> String { value < 0.001 ? "< 0.001" : fixed(value, value < 0.1 ? 3 : 2) }

  /// `4.83 GB`, `2.6 MB`: decimal, as files are told.
  static func gigabytes(_ bytes: Int) -> String {
    bytes < 999_500_000 ? fixed(Double(bytes) / 1e6, bytes < 100_000_000 ? 1 : 0) + " MB" : fixed(Double(bytes) / 1e9, 2) + " GB"
  }
}
