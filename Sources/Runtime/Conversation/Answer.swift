import Foundation
import Tokenizer

/// What the model said.
public struct Answer: Sendable, Equatable {
  /// Why an answer ends.
  public enum EndReason: String, Sendable, Codable {
    /// The model ended it, or its form let nothing follow.
    case stopToken
    /// One of `GenerationOptions.stopTexts` came.
    case stopText
    /// It may not be longer.
    case maximumTokens
    /// `onText` said so.
    case stoppedByCaller

    /// In words, for people and for output that programs read.
    public var words: String {
      switch self {
      case .stopToken: "stop token"
      case .stopText: "stop text"
      case .maximumTokens: "token limit"
      case .stoppedByCaller: "stopped"
      }
    }
  }
  /// Without white space at its ends, as the published code prints it, and without the text that it stopped at.
  public var text = ""
  /// Without the stop token, and without tokens of the text that it stopped at.
  public var tokens: [Int32] = []
  /// Why it ends.
  public var endReason = EndReason.maximumTokens
  /// How likely each of `tokens` was; empty where `GenerationOptions.topLogProbabilities` did not ask.
  public var probabilities: [TokenProbability] = []
  /// How likely each of the texts is that there were to choose from, in their order; empty where there were none.
  public var choices: [ChoiceProbability] = []
}

/// How likely a token of an answer was, and what else could have stood in its place.
public struct TokenProbability: Sendable, Equatable {
  /// A token that could stand there.
  public struct Candidate: Sendable, Equatable {
    /// Its id.
    public var token: Int32
    /// The natural logarithm of the softmax of the model's logits, before penalties, temperature and the answer's form.
    public var logProbability: Double
  }
  /// The one that was chosen.
  public var chosen: Candidate
  /// The likeliest, whichever was chosen: the likeliest first, as many as were asked for.
  public var likeliest: [Candidate]
}

extension TokenProbability {
  /// Of one token beside all others that may be chosen. NaN logits count as impossible.
  package init(_ token: Int32, in logits: UnsafeBufferPointer<Float>, top count: Int) {
    // Sorted by logit, ties by token.
    var top: [(token: Int32, logit: Float)] = []
    var highest = -Float.infinity
    for (index, logit) in logits.enumerated() where !logit.isNaN {
      highest = max(highest, logit)
      guard top.count < count || (top.last.map { logit > $0.logit } ?? false) else { continue }
      if top.count == count { top.removeLast() }
      let place = top.firstIndex { logit > $0.logit } ?? top.count
      top.insert((Int32(index), logit), at: place)
    }
    var sum = 0.0
    for logit in logits where !logit.isNaN { sum += logit == highest ? 1 : Double(exp(logit - highest)) }
    let logOfSum = log(sum)
    func candidate(_ token: Int32, _ logit: Float) -> Candidate {
      let difference = logit == highest ? 0 : Double(logit) - Double(highest)
      return Candidate(token: token, logProbability: logit.isNaN ? -.infinity : difference - logOfSum)
    }
    let logit = logits.indices.contains(Int(token)) ? logits[Int(token)] : .nan
    self.init(chosen: candidate(token, logit), likeliest: top.map { candidate($0.token, $0.logit) })
  }
}

/// An answer's text as its tokens come: in whole characters, before the first stop text, without white space at its ends.
package struct AnswerText {
  private var decoder: StreamDecoder
  private var stops: StopTexts
  private var trimmer = StreamTrimmer()
  /// Where each token begins, in bytes of the text; a token within a character counts as the character's.
  private var starts: [Int] = []
  private var decoded = 0
  /// Bytes of the text that no stop text takes back.
  private var released = 0
  /// A stop text has come: nothing follows.
  package private(set) var isStopped = false

  package init(_ tokenizer: Tokenizer, stops: [String]) {
    decoder = StreamDecoder(tokenizer, skipSpecial: true)
    self.stops = StopTexts(stops)
  }

  /// The text that the token lets out, which may be empty.
  package mutating func append(_ token: Int32) -> String {
    starts.append(decoded)
    return release(decoder.append(token))
  }

  /// What is left when no more tokens come.
  package mutating func finish() -> String {
    if isStopped { return "" }
    let last = release(decoder.finish())
    if isStopped { return last }
    let held = stops.finish()
    isStopped = stops.isFound
    released += held.utf8.count
    return last + trimmer.append(held)
  }

  /// How many tokens the text needs that no stop text takes back.
  package var settledTokens: Int { starts.lastIndex { $0 < released }.map { $0 + 1 } ?? 0 }

  private mutating func release(_ piece: String) -> String {
    decoded += piece.utf8.count
    let text = stops.append(piece)
    isStopped = stops.isFound
    released += text.utf8.count
    return trimmer.append(text)
  }
}

/// Ends a text that comes in pieces before the first of some texts. What may be such a text's beginning is held back.
package struct StopTexts {
  private let stops: [[UInt8]]
  private var heldBack: [UInt8] = []
  /// One of them has come.
  package private(set) var isFound = false

  package init(_ stops: [String]) { self.stops = stops.map { Array($0.utf8) }.filter { !$0.isEmpty } }

  /// The part of the text that is known to stay.
  package mutating func append(_ piece: String) -> String {
    if stops.isEmpty { return piece }
    if isFound { return "" }
    heldBack += piece.utf8
    // The first place where one stands whole, or may yet stand: one that could be longer does not hide a shorter that is there.
    for start in heldBack.indices {
      let rest = heldBack[start...]
      if stops.contains(where: { rest.starts(with: $0) }) {
        isFound = true
        defer { heldBack = [] }
        return String(decoding: heldBack[..<start], as: UTF8.self)
      }
      if stops.contains(where: { $0.starts(with: rest) }) {
        defer { heldBack.removeFirst(start) }
        return String(decoding: heldBack[..<start], as: UTF8.self)
      }
    }
    defer { heldBack = [] }
    return String(decoding: heldBack, as: UTF8.self)
  }

  /// What was held back, when nothing more comes.
  package mutating func finish() -> String {
    defer { heldBack = [] }
    let first = heldBack.indices.first { start in stops.contains { heldBack[start...].starts(with: $0) } }
    isFound = isFound || first != nil
    return String(decoding: heldBack[..<(first ?? heldBack.count)], as: UTF8.self)
  }
}

/// Takes white space off both ends of a text that comes in pieces, as Python's `strip` does: what may turn out to be its end is held back.
package struct StreamTrimmer {
  private var hasBegun = false
  private var heldBack = ""

  package init() {}

  /// The part of the text that is known to stay.
  package mutating func append(_ piece: String) -> String {
    var scalars = (heldBack + piece).unicodeScalars[...]
    if !hasBegun { scalars = scalars.drop(while: Self.isSpace) }
    guard let last = scalars.lastIndex(where: { !Self.isSpace($0) }) else {
      heldBack = String(scalars)
      return ""
    }
    hasBegun = true
    let end = scalars.index(after: last)
    heldBack = String(scalars[end...])
    return String(scalars[..<end])
  }

  /// Unicode's White_Space and the four separators of ASCII, which Python counts as well.
  private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
    scalar.properties.isWhitespace || (0x1C...0x1F).contains(scalar.value)
  }
}
