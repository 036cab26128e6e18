/// Which variant to take.
public struct Choice: Codable, Sendable, Equatable {
  /// nil: each differs from the baseline by more than chance.
  public var name: String?
  /// A sentence.
  public var reason: String
}

extension Choice {
  /// Sizes this near count as the same.
  private static let tolerance = 1.02

  /// The smallest whose answers do not differ from the baseline's by more than chance, and of those of that size the one that diverges least.
  package init?(among variants: [ModelResult], questions: Int) {
    let usable = variants.filter { $0.hasFloatInputs != true && $0.isAnotherModel != true && $0.fileBytes != nil }
    guard !usable.isEmpty else { return nil }
    let alike = usable.filter { $0.isWithinChance == true }
    guard let least = alike.compactMap(\.fileBytes).min() else {
      let nearest = usable.min { ($0.divergence?.mean ?? .infinity) < ($1.divergence?.mean ?? .infinity) }
      self.init(
        name: nil,
        reason: "Answers of each variant differ from the unquantized model's by more than chance"
          + (nearest.map { "; nearest to it is \($0.name) (\(Self.facts($0, questions)))" } ?? "") + ".")
      return
    }
    let candidates = alike.filter { Double($0.fileBytes ?? 0) <= Self.tolerance * Double(least) }
    guard let best = candidates.min(by: { ($0.divergence?.mean ?? .infinity) < ($1.divergence?.mean ?? .infinity) }) else { return nil }
    self.init(
      name: best.name,
      reason: "Choose \(best.name), the smallest whose answers do not differ from the unquantized model's by more than chance: "
        + "\(Self.facts(best, questions)).\(Self.caution(best))")
  }

  /// Where the questions are too few to show a loss that matters.
  private static func caution(_ result: ModelResult) -> String {
    guard let change = result.change, change.low < -0.02 else { return "" }
    return " With so few questions a loss of up to \(Numbers.fixed(-100 * change.low, 1)) points would not show."
  }

  private static func facts(_ result: ModelResult, _ questions: Int) -> String {
    var parts: [String] = []
    if let bytes = result.fileBytes { parts.append(Numbers.gigabytes(bytes)) }
    if let bits = result.bitsPerWeight { parts.append("\(Numbers.fixed(bits, 2)) bits a weight") }
    if let gained = result.gained, let lost = result.lost {
      parts.append("\(gained) won and \(lost) lost of \(questions)" + (result.pValue.map { ", p = \(Numbers.probability($0))" } ?? ""))
    }
    if let change = result.change { parts.append("right answers \(Numbers.points(change))") }
    return parts.joined(separator: "; ")
  }
}

extension ComparisonReport {
  /// What the differences between answers are worth, in a sentence; nil where nothing is compared.
  var verdict: String? {
    let tested = variants.filter { $0.pValue != nil }
    guard !tested.isEmpty else { return nil }
    let differing = tested.filter { $0.isWithinChance == false }
    let names = differing.map(\.name).joined(separator: ", ")
    if differing.isEmpty { return "Differences between answers are noise: chance explains those of all \(tested.count)." }
    if differing.count == tested.count { return "Answers differ by more than chance in each: \(names)." }
    return "Answers differ by more than chance in \(differing.count) of \(tested.count): \(names). The other differences are noise."
  }
}
