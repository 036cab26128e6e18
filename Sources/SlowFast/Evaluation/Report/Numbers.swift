import Foundation

/// Numbers as reports write them.
enum Numbers {
  static func fixed(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }

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

  /// `0.71–0.83` as percentages.
  static func interval(_ proportion: Proportion) -> String { "\(fixed(100 * proportion.low, 1))–\(fixed(100 * proportion.high, 1))" }

  static func seconds(_ value: Double) -> String {
    value < 0.0005 ? "0" : value < 1 ? fixed(value, 3) : value < 100 ? fixed(value, 2) : fixed(value, 0)
  }
}
