import Foundation
import Lab
import Testing

/// The baseline's distributions as they are kept, and the divergence from them.
@Suite struct DivergenceTests {
  private static func logits(_ count: Int, seed: UInt64, spread: Float = 3) -> [Float] {
    var state = seed
    return (0..<count).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return (Float(state >> 40) / Float(1 << 24) - 0.5) * 2 * spread
    }
  }

  private static func probabilities(_ logits: [Float]) -> [Double] {
    let sum = logits.reduce(0.0) { $0 + exp(Double($1)) }
    return logits.map { exp(Double($0)) / sum }
  }

  private static func exact(_ p: [Float], _ q: [Float]) -> Double {
    zip(probabilities(p), probabilities(q)).reduce(0) { $0 + $1.0 * log($1.0 / $1.1) }
  }

  private func kept(_ logits: [Float], _ count: Int) -> SparseDistribution {
    logits.withUnsafeBufferPointer { SparseDistribution($0, keeping: count) }
  }

  private func divergence(_ p: SparseDistribution, _ q: [Float]) -> Double { q.withUnsafeBufferPointer { p.divergence(of: $0) } }

  @Test func ofAllTokensItIsExact() {
    let (p, q) = (Self.logits(100, seed: 1), Self.logits(100, seed: 2))
    let all = kept(p, 128)
    #expect(all.tokens.count == 100 && all.tail == 0)
    #expect(abs(divergence(all, q) - Self.exact(p, q)) < 1e-6)
    #expect(divergence(all, p) < 1e-7)
  }

  /// The rest as one token: never more than the divergence of all, and near it where the rest is small.
  @Test(arguments: [Float(3), 12])
  func ofTheLikeliestItIsABound(spread: Float) {
    let (p, q) = (Self.logits(5000, seed: 3, spread: spread), Self.logits(5000, seed: 3, spread: spread * 0.9))
    let exact = Self.exact(p, q)
    var last = 0.0
    for count in [1, 16, 128, 1024, 5000] {
      let found = divergence(kept(p, count), q)
      #expect(found <= exact + 1e-6 && found >= last - 1e-6)
      last = found
    }
    #expect(abs(last - exact) < 1e-5)
  }

  @Test func theLikeliestComeInOrder() {
    let logits: [Float] = [0, 5, 5, -.infinity, 9, .nan, 1]
    let found = kept(logits, 4)
    #expect(found.tokens == [4, 1, 2, 6])
    #expect(
      kept(Self.logits(3000, seed: 4), 128).tokens
        == Array(
          Self.logits(3000, seed: 4).enumerated()
            .sorted { $0.element != $1.element ? $0.element > $1.element : $0.offset < $1.offset }.prefix(128).map { Int32($0.offset) }))
  }

  @Test func whatHasNoNumberIsInfinite() {
    let p = kept([1, 2, 3], 3)
    #expect(divergence(p, [1, 2, .nan]) == .infinity)
    #expect(divergence(p, [1, -.infinity, 3]) == .infinity)
  }

  @Test func theyComeBackFromJSON() throws {
    let found = kept(Self.logits(1000, seed: 5), 128)
    let json = try JSONEncoder().encode(["d": found])
    #expect(json.count < 1500)
    #expect(try JSONDecoder().decode([String: SparseDistribution].self, from: json)["d"] == found)
    #expect(throws: (any Error).self) { try JSONDecoder().decode([String: SparseDistribution].self, from: Data(#"{"d": "AAAA"}"#.utf8)) }
  }
}
