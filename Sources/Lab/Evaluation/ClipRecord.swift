import Foundation
import Runtime

/// What was measured of one clip with one model. Kept on the disk, so that a run that was cut off goes on after it.
struct ClipRecord: Codable {
  /// Its place in the evaluation set.
  var clip: Int
  /// Why it could not be measured; then there is nothing else.
  var failure: String?
  var questions: [QuestionRecord] = []
  /// Of the baseline, for the first clips.
  var features: FeatureSample?
  /// Of other models, where the baseline's features are there.
  var featureErrors: [FeatureError]?
  var times = StageTimes()
  /// The most memory in use while the clip was encoded, and while its first question was answered; nil where other clips were measured at
  /// the same time.
  var peakEncodingBytes: Int?
  var peakAnsweringBytes: Int?
  /// Of the first clips, where no others were measured at the same time.
  var tokensPerSecond: Double?
}

struct QuestionRecord: Codable {
  var isRight: Bool
  /// ln p of each of the answer's tokens, the end of the turn included.
  var logProbabilities: PackedFloats
  /// Of the baseline.
  var distributions: [SparseDistribution]?
  /// Of other models: the divergence from the baseline at each token, in nats.
  var divergences: PackedFloats?
  /// Tokens at which the likeliest one is the baseline's.
  var agreements: Int?
}

extension ClipRecord {
  /// What a tally takes of it: all but distributions and features, which are most of it.
  var forTally: ClipRecord {
    var copy = self
    copy.features = nil
    for index in copy.questions.indices { copy.questions[index].distributions = nil }
    return copy
  }

  /// Whether sums over records like this one can be taken: the file may have been edited.
  var isPlausible: Bool {
    questions.allSatisfy { question in
      (0...question.logProbabilities.values.count).contains(question.agreements ?? 0)
        && (question.distributions ?? []).allSatisfy { $0.tokens.allSatisfy { $0 >= 0 } }
    }
  }
}

/// A distribution over the vocabulary: its likeliest tokens, and what the others have together.
package struct SparseDistribution: Equatable {
  /// The likeliest first; ties go to the lower token.
  package var tokens: [Int32]
  /// Natural logarithms, as many as `tokens`.
  package var logProbabilities: [Float]
  /// The probability of all other tokens together.
  package var tail: Float

  /// Tokens that are kept: about 1 KiB.
  package static let kept = 128

  package init(_ logits: UnsafeBufferPointer<Float>, keeping count: Int = kept) { self.init(logits, LogSum(logits), keeping: count) }

  /// `total`: of these logits.
  init(_ logits: UnsafeBufferPointer<Float>, _ total: LogSum, keeping count: Int = kept) {
    tokens = Self.likeliest(logits, count)
    logProbabilities = tokens.map { Float(Double(logits[Int($0)]) - total.value) }
    tail = Float(total.probability(of: logits, without: tokens))
  }

  /// Kullback–Leibler divergence in nats of what `logits` stand for from this distribution: Σ p · ln(p / q) over the tokens that are kept
  /// and the others as one. That is never more than the divergence over all tokens, and hardly less where the tail is small.
  package func divergence(of logits: UnsafeBufferPointer<Float>) -> Double { divergence(of: logits, LogSum(logits)) }

  /// `total`: of these logits.
  func divergence(of logits: UnsafeBufferPointer<Float>, _ total: LogSum) -> Double {
    var sum = 0.0
    for (token, logProbability) in zip(tokens, logProbabilities) where logits.indices.contains(Int(token)) {
      let p = exp(Double(logProbability))
      if p > 0 { sum += p * (Double(logProbability) - (Double(logits[Int(token)]) - total.value)) }
    }
    if tail > 0, tokens.count < logits.count {
      let rest = max(total.probability(of: logits, without: tokens), Double.leastNormalMagnitude)
      sum += Double(tail) * (log(Double(tail)) - log(rest))
    }
    // Below 0 only by rounding.
    return sum.isNaN ? .infinity : max(0, sum)
  }

  /// The highest logits' tokens, in order.
  private static func likeliest(_ logits: UnsafeBufferPointer<Float>, _ count: Int) -> [Int32] {
    func isBefore(_ a: Int32, _ b: Int32) -> Bool {
      let (x, y) = (logits[Int(a)], logits[Int(b)])
      return x != y ? x > y : a < b
    }
    // A heap whose root is the worst that is kept.
    var heap: [Int32] = []
    func sink(_ start: Int) {
      var parent = start
      while true {
        var child = 2 * parent + 1
        guard child < heap.count else { return }
        if child + 1 < heap.count, isBefore(heap[child], heap[child + 1]) { child += 1 }
        guard isBefore(heap[parent], heap[child]) else { return }
        heap.swapAt(parent, child)
        parent = child
      }
    }
    for token in 0..<Int32(logits.count) where !logits[Int(token)].isNaN {
      if heap.count < count {
        heap.append(token)
        if heap.count == count { for index in stride(from: count / 2 - 1, through: 0, by: -1) { sink(index) } }
      } else if isBefore(token, heap[0]) {
        heap[0] = token
        sink(0)
      }
    }
    return heap.sorted(by: isBefore)
  }
}

/// The logarithm of the sum of exponentials, by the greatest, in doubles.
struct LogSum {
  let greatest: Double
  let value: Double

  init(_ logits: UnsafeBufferPointer<Float>) {
    let greatest = logits.reduce(-Double.infinity) { max($0, Double($1)) }
    self.greatest = greatest
    value = greatest + log(logits.reduce(0) { $0 + exp(Double($1) - greatest) })
  }

  /// What all tokens but `tokens` have together, summed up by itself: a small rest of a large sum would be rounding alone.
  func probability(of logits: UnsafeBufferPointer<Float>, without tokens: [Int32]) -> Double {
    var isLeftOut = [Bool](repeating: false, count: logits.count)
    for token in tokens where isLeftOut.indices.contains(Int(token)) { isLeftOut[Int(token)] = true }
    var sum = 0.0
    for (index, logit) in logits.enumerated() where !isLeftOut[index] { sum += exp(Double(logit) - value) }
    return sum
  }
}

/// One base64 text: tokens, logarithms, tail.
extension SparseDistribution: Codable {
  package func encode(to encoder: any Encoder) throws {
    var values = tokens.map { UInt32(bitPattern: $0).littleEndian }
    values += (logProbabilities + [tail]).map(\.bitPattern.littleEndian)
    var container = encoder.singleValueContainer()
    try container.encode(values.withUnsafeBytes { Data($0) })
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let words = PackedFloats.words(try container.decode(Data.self))
    guard words.count % 2 == 1 else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "an odd number of words expected")
    }
    tokens = words.prefix(words.count / 2).map { Int32(bitPattern: $0) }
    let floats = words.dropFirst(words.count / 2).map { Float(bitPattern: $0) }
    logProbabilities = Array(floats.dropLast())
    tail = floats[floats.count - 1]
  }
}

/// Floats as one base64 text.
struct PackedFloats: Codable, Equatable {
  var values: [Float]

  init(_ values: [Float]) { self.values = values }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(values.map(\.bitPattern.littleEndian).withUnsafeBytes { Data($0) })
  }

  init(from decoder: any Decoder) throws {
    values = Self.words(try decoder.singleValueContainer().decode(Data.self)).map { Float(bitPattern: $0) }
  }

  /// Little-endian words; bytes beyond the last whole one are left out.
  static func words(_ data: Data) -> [UInt32] {
    data.withUnsafeBytes { bytes in
      (0..<bytes.count / 4).map { UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self)) }
    }
  }
}
