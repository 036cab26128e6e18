import Support

/// Guesses of the next tokens of an answer, from what was said before: where the last three tokens, or two, stood last, the same may
/// follow. A pass checks several at once and takes little longer than one token's, for as long as reading the weights is what it takes; the
/// tokens are those that would have been chosen without.
package struct Drafts {
  /// Of the prompts and the answers; what is no text is `gap`.
  private var tokens: [Int32] = []
  /// Where to read on after so many tokens.
  private var afterTwo: [Last: Int] = [:]
  private var afterThree: [Last: Int] = [:]
  /// Of the newest tokens, before they were added.
  private var found: Int?
  private var pace = Pace()
  /// Guesses that passes have checked, and those that were right.
  package private(set) var checked = (all: 0, right: 0)

  private struct Last: Hashable {
    var tokens: (Int32, Int32, Int32)

    static func == (a: Last, b: Last) -> Bool { a.tokens == b.tokens }
    func hash(into hasher: inout Hasher) {
      hasher.combine(tokens.0)
      hasher.combine(tokens.1)
      hasher.combine(tokens.2)
    }
  }

  private static let gap: Int32 = -1
  /// Guesses that a pass checks at most: with the token that is sure as many rows as are multiplied straight from packed codes.
  package static let most = 7
  /// Tokens that are remembered; of a longer conversation all are forgotten then.
  package static let room = 1 << 16

  package init() {}

  /// Takes in what was said, here or by the user.
  package mutating func add(_ token: Int32) {
    if tokens.count == Self.room {
      tokens = []
      (afterTwo, afterThree) = ([:], [:])
    }
    tokens.append(token)
    let count = tokens.count
    func last(_ back: Int) -> Int32 { back < count ? tokens[count - 1 - back] : Self.gap }
    let two = Last(tokens: (Self.gap, last(1), last(0)))
    let three = Last(tokens: (last(2), last(1), last(0)))
    let isText = token != Self.gap && last(1) != Self.gap
    found = isText ? (last(2) == Self.gap ? nil : afterThree[three]) ?? afterTwo[two] : nil
    afterTwo[two] = count
    afterThree[three] = count
  }

  /// Something that is no text.
  package mutating func addGap() { if tokens.last != Self.gap { add(Self.gap) } }

  /// What may follow the newest tokens, none where it is not worth a pass.
  package mutating func guess(atMost limit: Int) -> [Int32] {
    guard let found, limit > 0, pace.isTime else { return [] }
    return Array(tokens[found...].prefix { $0 != Self.gap }.prefix(min(limit, pace.length)))
  }

  /// A pass of one token took so long.
  package mutating func note(single seconds: Double) { pace.note(single: seconds) }

  /// A pass with `guessed` guesses took so long, and some of them were right.
  package mutating func note(guessed: Int, right: Int, seconds: Double) {
    checked = (checked.all + guessed, checked.right + right)
    pace.note(guessed: guessed, right: right, seconds: seconds)
  }
}

/// How many guesses are worth a pass, from what the last ones brought.
private struct Pace {
  /// Seconds of a pass of one token; nil before there was one.
  private var single: Double?
  private(set) var length = 3
  private var failures = 0
  /// Tokens that are made without a guess.
  private var pause = 0

  var isTime: Bool {
    mutating get {
      if pause > 0 {
        pause -= 1
        return false
      }
      return single != nil
    }
  }

  mutating func note(single seconds: Double) { single = single.map { $0 + (seconds - $0) / 4 } ?? seconds }

  mutating func note(guessed: Int, right: Int, seconds: Double) {
    guard let single else { return }
    let gain = Double(right + 1) * single - seconds
    length = right == guessed && gain > 0 ? Drafts.most : 3
    failures = gain > 0 ? 0 : min(6, failures + 1)
    // After a loss twice as many tokens as after the one before.
    if failures > 0 { pause = 1 << failures }
  }
}
