import Foundation
import Grammar
import Support
import Synchronization
import Tokenizer

/// What an answer may be.
public enum AnswerForm: Sendable, Equatable {
  /// Whatever the model says.
  case text
  /// JSON that meets a schema. An answer that ends for another reason than its end need not be whole.
  case json(AnswerSchema)
  /// One of these texts: the one that the model is likeliest to say, whatever the options of drawing are.
  case choices([String])

  /// Of choices, and of the bytes of one.
  private static let (limit, length) = (256, 4096)

  func validate() throws(SlowFastError) {
    guard case .choices(let texts) = self else { return }
    func check(_ ok: Bool, _ found: String, _ expected: String) throws(SlowFastError) {
      if !ok { throw .badOption("choices", found: found, expected: .text(expected)) }
    }
    try check((1...Self.limit).contains(texts.count), counted(texts.count, "text"), "1 to \(Self.limit)")
    try check(!texts.contains { $0.isEmpty }, "empty", "at least one character")
    try check(Set(texts.map { Array($0.utf8) }).count == texts.count, "the same text twice", "different ones")
    let longest = texts.map(\.utf8.count).max() ?? 0
    try check(longest <= Self.length, counted(longest, "byte"), "at most \(Self.length) each")
  }
}

/// One of the texts that an answer could be.
public struct ChoiceProbability: Sendable, Equatable {
  /// The text, as it was given.
  public var text: String
  /// Beside the other texts: all of them together are 1.
  public var probability: Double
  /// The natural logarithm of the probability that the model says just this, up to the end of the answer.
  public var logProbability: Double
}

extension FormConstraint: AnswerConstraint {}

/// A tokenizer's vocabulary as answers of a form need it: made when the first comes, for all.
final class AnswerVocabulary: Sendable {
  private let trie = Mutex<TokenTrie?>(nil)

  /// What an answer of the form may be; nil: anything.
  func constraint(_ form: AnswerForm, _ tokenizer: Tokenizer) throws(SlowFastError) -> FormConstraint? {
    guard case .json(let schema) = form else { return nil }
    let vocabulary = trie.withLock { kept in
      if let kept { return kept }
      let made = TokenTrie(count: tokenizer.vocabularySize, tokenizer.textTokens)
      kept = made
      return made
    }
    if let byte = vocabulary.missingByte {
      throw SlowFastError(
        .invalidModel, "the tokenizer has no token of the byte 0x\(UInt64(byte).hexadecimal(digits: 2)) alone, which answers of a form need"
      )
    }
    return FormConstraint(schema, vocabulary) { tokenizer.encode($0, allowSpecial: false) }
  }
}

/// Answers to choose from, as tokens, and how likely each is.
struct ChoiceReader {
  private let tokens: [[Int32]]
  private let stopTokens: Set<Int32>
  /// Of `TokenProbability`; nil: none are wanted.
  private let top: Int?
  private var logProbabilities: [Double]
  private var tokenProbabilities: [[TokenProbability]]

  init(_ texts: [String], _ tokenizer: Tokenizer, _ options: GenerationOptions) {
    tokens = texts.map { tokenizer.encode($0, allowSpecial: false) }
    stopTokens = options.stopTokens
    top = options.topLogProbabilities
    logProbabilities = [Double](repeating: 0, count: texts.count)
    tokenProbabilities = [[TokenProbability]](repeating: [], count: texts.count)
  }

  var longest: Int { tokens.map(\.count).max() ?? 0 }

  /// The likeliest of them, with the probability of each. What several begin with is read once; the cache is left as it was.
  mutating func answer(
    _ texts: [String], after first: UnsafeBufferPointer<Float>, on generator: Generator
  ) throws(SlowFastError) -> Answer {
    let start = generator.position
    defer { generator.truncate(to: start) }
    try visit(Array(tokens.indices), 0, first, generator)
    let highest = logProbabilities.max() ?? 0
    let weights = logProbabilities.map { $0 == highest ? 1 : exp($0 - highest) }
    let total = weights.reduce(0, +)
    let chosen = logProbabilities.firstIndex(of: highest) ?? 0
    var answer = Answer()
    (answer.text, answer.tokens, answer.endReason) = (texts[chosen], tokens[chosen], .stopToken)
    answer.probabilities = tokenProbabilities[chosen]
    answer.choices = texts.indices.map {
      ChoiceProbability(text: texts[$0], probability: weights[$0] / total, logProbability: logProbabilities[$0])
    }
    return answer
  }

  /// Reads on those that agree in their first `depth` tokens, which the logits are of.
  private mutating func visit(
    _ members: [Int], _ depth: Int, _ logits: UnsafeBufferPointer<Float>, _ generator: Generator
  ) throws(SlowFastError) {
    add(members, depth, logits)
    var groups: [(token: Int32, members: [Int])] = []
    for member in members where depth < tokens[member].count {
      let token = tokens[member][depth]
      if let group = groups.firstIndex(where: { $0.token == token }) {
        groups[group].members.append(member)
      } else {
        groups.append((token, [member]))
      }
    }
    let position = generator.position
    for (token, members) in groups {
      if members.count == 1 {
        // The rest of one alone is one pass.
        var next = depth
        var found = self
        try generator.force(Array(tokens[members[0]][depth...])) { logits in
          next += 1
          found.add(members, next, logits)
        }
        self = found
      } else {
        try visit(members, depth + 1, generator.step([token]), generator)
      }
      generator.truncate(to: position)
    }
  }

  /// Adds the probability of each one's next token, or of its end, which any of the stop tokens is.
  private mutating func add(_ members: [Int], _ depth: Int, _ logits: UnsafeBufferPointer<Float>) {
    let highest = logits.reduce(-Float.infinity) { $1 > $0 ? $1 : $0 }
    func sum(_ part: some Sequence<Float>) -> Double {
      log(part.reduce(0.0) { $1.isNaN ? $0 : $0 + ($1 == highest ? 1 : exp(Double($1) - Double(highest))) })
    }
    let all = sum(logits)
    var ends: Double?
    for member in members {
      if depth < tokens[member].count {
        let token = tokens[member][depth]
        logProbabilities[member] += sum(CollectionOfOne(logits[Int(token)])) - all
        if let top { tokenProbabilities[member].append(TokenProbability(token, in: logits, top: top)) }
      } else {
        let end = ends ?? sum(stopTokens.filter { logits.indices.contains(Int($0)) }.map { logits[Int($0)] }) - all
        ends = end
        logProbabilities[member] += end
      }
    }
  }
}
