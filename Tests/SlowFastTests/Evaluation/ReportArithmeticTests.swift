import Conversion
import Foundation
import Lab
import TestSupport
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

  /// Against the binomial tail in exact fractions, by Python.
  @Test(arguments: [
    (0, 0, 1.0), (0, 1, 1.0), (0, 5, 0.0625), (0, 6, 0.03125), (4, 15, 0.0192108154296875), (10, 21, 0.07075554598122835),
    (7, 11, 0.480682373046875), (5, 2, 0.453125), (300, 361, 0.019541266266901794), (0, 1000, 1.8665272370064378e-301),
  ])
  func mcNemar(gained: Int, lost: Int, probability: Double) {
    for (b, c) in [(gained, lost), (lost, gained)] {
      #expect(abs(PairedTest.probability(gained: b, lost: c) / probability - 1) < 1e-9)
    }
  }

  /// Against a bootstrap of 100 000 rounds by Python's random module: clips of 1 to 5 questions.
  @Test func intervalsByClip() throws {
    let right = [2, 2, 0, 4, 4, 0, 1, 1, 1, 4, 4, 2, 1, 1, 3, 2, 2, 3, 2, 1, 2, 2, 1, 2]
    let total = [2, 3, 1, 4, 4, 2, 1, 1, 1, 4, 5, 3, 1, 2, 5, 5, 3, 3, 2, 1, 3, 2, 1, 3]
    let shares = zip(right, total).map { (value: Double($0), weight: Double($1)) }
    let zeros = total.map { (value: 0.0, weight: Double($0)) }
    let found = ClipBootstrap.intervals([shares, zeros])
    let interval = try #require(found[0])
    #expect(abs(interval.low - 0.6471) < 0.01 && abs(interval.high - 0.8654) < 0.01, "\(interval)")
    #expect(found[1] == Interval(low: 0, high: 0))
    // The same again, and whatever else is asked for beside it.
    #expect(ClipBootstrap.intervals([shares]) == [interval])
    #expect(ClipBootstrap.intervals([Array(shares.prefix(2))]) == [nil])
    #expect(ClipBootstrap.intervals([[(1, 1), (.infinity, 1), (1, 1)]]) == [nil])
  }

  private func result(_ name: String, bytes: Int, mean: Double, gained: Int, lost: Int, of questions: Int = 1000) -> ModelResult {
    var result = ModelResult(
      name: name, clips: 80, exactMatch: Proportion(900 + gained - lost, of: questions),
      closed: Proportion(900 + gained - lost, of: questions),
      kinds: [], features: [], stages: [])
    result.fileBytes = bytes
    result.divergence = Divergence(mean: mean)
    (result.gained, result.lost) = (gained, lost)
    result.pValue = PairedTest.probability(gained: gained, lost: lost)
    return result
  }

  @Test func theChoice() throws {
    let large = result("8", bytes: 8_000_000_000, mean: 1e-4, gained: 1, lost: 2)
    let medium = result("5", bytes: 5_000_000_000, mean: 1e-3, gained: 5, lost: 8)
    let twin = result("5b", bytes: 5_050_000_000, mean: 5e-4, gained: 6, lost: 6)
    var small = result("4", bytes: 4_000_000_000, mean: 1e-2, gained: 5, lost: 25)
    let choice = try #require(Choice(among: [large, medium, twin, small], questions: 1000))
    #expect(choice.name == "5b")
    #expect(
      choice.reason
        == "Choose 5b, the smallest whose answers do not differ from the unquantized model's by more than chance: 5.05 GB; "
        + "6 won and 6 lost of 1000, p = 1.00.")
    #expect(Choice(among: [small], questions: 1000)?.name == nil)
    #expect(Choice(among: [], questions: 1000) == nil)
    // What cannot be used is not advised: another model, weights that are only measured.
    small = result("4", bytes: 4_000_000_000, mean: 1e-2, gained: 0, lost: 0)
    #expect(Choice(among: [medium, small], questions: 1000)?.name == "4")
    small.isAnotherModel = true
    #expect(Choice(among: [medium, small], questions: 1000)?.name == "5")
    small.isAnotherModel = nil
    small.hasFloatInputs = true
    #expect(Choice(among: [medium, small], questions: 1000)?.name == "5")
    // The interval of the change says what the test does not.
    small.hasFloatInputs = nil
    small.change = Interval(low: -0.06, high: -0.01)
    #expect(Choice(among: [medium, small], questions: 1000)?.name == "5")
    small.change = Interval(low: -0.06, high: 0.01)
    #expect(
      Choice(among: [medium, small], questions: 1000)?.reason.hasSuffix("With so few questions a loss of up to 6.0 points would not show.")
        == true)
  }

  @Test func descriptionsAreToldByTheirAnswers() throws {
    let answers = [
      ("choice", "A"), ("choice", "B"), ("sentence", "The small blue triangle stays still."),
      ("describe", "A small red cross bounces back. A large yellow square bounces back."),
      ("describe", "Two shapes collide, and after that a digit flashes in the middle."),
    ]
    let lines = answers.map { #"{"video": null, "question": "q", "answer": "\#($1)", "kind": "\#($0)"}"# }
    let directory = try TemporaryDirectory()
    let set = try EvaluationSet(jsonLines: directory.write("eval.jsonl", lines.joined(separator: "\n")))
    #expect(set.descriptionKinds == ["describe"])
  }
}
