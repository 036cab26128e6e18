/// An answer of a form, token by token: which tokens may come next, where it may end, and which tokens follow without alternative.
///
/// What may come next depends on few things, which are known again when they come again: simplified lists of the machine are states, bytes
/// lead from state to state, and each state's tokens are kept. The simplification lets pass a name that an object has already; so a token
/// is tried exactly before it is taken.
package struct FormConstraint {
  private let trie: TokenTrie
  /// The tokens of a text.
  private let encode: @Sendable (String) -> [Int32]
  private var machine: Machine
  /// Where the answer is, exactly.
  private var threads: [Machine.Thread]
  /// Tokens that follow without alternative.
  private var forced: ArraySlice<Int32> = []

  // States.
  private var states: [[Machine.Thread]: Int32] = [:]
  private var threadsOfState: [[Machine.Thread]] = []
  /// For each state and byte the next state.
  private var transitions: [Int32] = []
  /// For each state the bytes that lead on: how many, and the last of them.
  private var ways: [Int32: (count: Int, last: UInt8)] = [:]
  private var masks: [Int32: [UInt64]] = [:]
  private var path: [Int32]
  private var current: Int32 = 0
  private static let (unknown, nowhere): (Int32, Int32) = (-2, -1)
  /// A state takes a kilobyte, a mask a bit for each token.
  private static let (stateLimit, maskLimit) = (1 << 14, 512)
  /// Bytes without alternative that are looked at in one go.
  private static let forcedLimit = 4096

  package init(_ form: AnswerSchema, _ trie: TokenTrie, encode: @escaping @Sendable (String) -> [Int32]) {
    (self.trie, self.encode) = (trie, encode)
    machine = Machine(form.form)
    threads = []
    path = [Int32](repeating: 0, count: trie.longest + 1)
    threads = [machine.start()]
    arrive()
  }

  /// Where nothing may follow.
  package var isFinished: Bool { forced.isEmpty && (ways[current]?.count ?? 0) == 0 }

  package var mayEnd: Bool { forced.isEmpty && threads.contains { machine.mayEnd($0) } }

  /// Tokens that may come next, a bit each, the lowest bits first.
  package mutating func allowedTokens() -> [UInt64] {
    if let token = forced.first {
      var words = [UInt64](repeating: 0, count: (trie.count + 63) / 64)
      words[Int(token) / 64] |= 1 << (UInt64(token) % 64)
      return words
    }
    if let known = masks[current] { return known }
    let words = walk(from: current)
    if masks.count >= Self.maskLimit { masks = [:] }
    masks[current] = words
    return words
  }

  /// Takes a token, or says that it does not fit; then nothing has changed.
  package mutating func accept(_ token: Int32) -> Bool {
    if let next = forced.first, next != token { return false }
    guard let text = trie.text(token), let next = follow(text[...]) else { return false }
    threads = next
    if forced.isEmpty { arrive() } else { take() }
    return true
  }

  /// Takes the next tokens for as long as there is no choice, so many at most.
  package mutating func takeForced(atMost limit: Int) -> [Int32] {
    var taken: [Int32] = []
    while taken.count < limit, let token = forced.first, accept(token) { taken.append(token) }
    return taken
  }

  private mutating func take() {
    forced = forced.dropFirst()
    if forced.isEmpty { arrive() }
  }

  /// The exact lists after the bytes; nil where they do not fit.
  private mutating func follow(_ bytes: ArraySlice<UInt8>) -> [Machine.Thread]? {
    var now = threads
    for byte in bytes {
      var next: [Machine.Thread] = []
      for thread in now { machine.step(thread, byte, exactly: true, to: &next) }
      if next.isEmpty { return nil }
      now = next
    }
    return now
  }

  // MARK: States

  /// After a token: finds the state, and what follows it without alternative.
  private mutating func arrive() {
    if threadsOfState.count > Self.stateLimit {
      (states, threadsOfState, transitions, ways, masks) = ([:], [], [], [:], [:])
    }
    let reach = Int32(trie.longest)
    var simple: [Machine.Thread] = []
    for thread in threads {
      let found = machine.simplified(thread, reach: reach)
      if !simple.contains(found) { simple.append(found) }
    }
    current = state(simple)
    forced = forcedTokens()[...]
    _ = waysOn(current)
  }

  private mutating func state(_ threads: [Machine.Thread]) -> Int32 {
    if let known = states[threads] { return known }
    let state = Int32(threadsOfState.count)
    states[threads] = state
    threadsOfState.append(threads)
    transitions += repeatElement(Self.unknown, count: 256)
    return state
  }

  private mutating func next(_ state: Int32, _ byte: UInt8) -> Int32 {
    let place = Int(state) << 8 | Int(byte)
    if transitions[place] != Self.unknown { return transitions[place] }
    var next: [Machine.Thread] = []
    for thread in threadsOfState[Int(state)] { machine.step(thread, byte, exactly: false, to: &next) }
    let found = next.isEmpty ? Self.nowhere : self.state(next)
    transitions[place] = found
    return found
  }

  private mutating func waysOn(_ state: Int32) -> (count: Int, last: UInt8) {
    if let known = ways[state] { return known }
    var found: (count: Int, last: UInt8) = (0, 0)
    for byte in UInt8.min...UInt8.max where next(state, byte) >= 0 { found = (found.count + 1, byte) }
    ways[state] = found
    return found
  }

  /// The tokens of the text that must follow, as the tokenizer writes it. Its last token is left open, for it may have more of what comes
  /// then; where nothing comes, it is not.
  private mutating func forcedTokens() -> [Int32] {
    var text: [UInt8] = []
    var state = current
    var isEnd = false
    while text.count < Self.forcedLimit {
      let (count, byte) = waysOn(state)
      isEnd = count == 0
      if count != 1 || threadsOfState[Int(state)].contains(where: { machine.mayEnd($0) }) { break }
      text.append(byte)
      state = next(state, byte)
    }
    // Up to the last whole character, whose rest is of three bytes at most; what begins within one is left as it is.
    for _ in 0..<3 where String(validating: text, as: UTF8.self) == nil {
      text.removeLast()
      isEnd = false
    }
    guard let string = String(validating: text, as: UTF8.self), !string.isEmpty else { return [] }
    var tokens = encode(string)
    if !isEnd { tokens = Array(tokens.dropLast()) }
    // A tokenizer may write another text than it was given, in a normal form, or with tokens that are not these.
    var rest = text[...]
    for (index, token) in tokens.enumerated() {
      guard let bytes = trie.text(token), rest.starts(with: bytes) else { return Array(tokens[..<index]) }
      rest = rest.dropFirst(bytes.count)
    }
    return tokens
  }

  // MARK: Masks

  private mutating func walk(from start: Int32) -> [UInt64] {
    var words: [UInt64]
    if threadsOfState[Int(start)].count == 1, let room = machine.roomInString(threadsOfState[Int(start)][0]), !trie.plain.isEmpty {
      // Within a string most tokens only go on with it, whatever comes after.
      words = trie.plain[min(room, trie.plain.count - 1)]
      walk(trie.closing, from: start, to: &words)
    } else {
      words = [UInt64](repeating: 0, count: (trie.count + 63) / 64)
      walk(trie.nodes, from: start, to: &words)
    }
    for (first, others) in trie.twins where words[Int(first) / 64] >> (UInt64(first) % 64) & 1 == 1 {
      for token in others { words[Int(token) / 64] |= 1 << (UInt64(token) % 64) }
    }
    return words
  }

  private mutating func walk(_ nodes: TokenTrie.Nodes, from start: Int32, to words: inout [UInt64]) {
    path[0] = start
    var node = 0
    while node < nodes.bytes.count {
      let depth = Int(nodes.depths[node])
      let byte = nodes.bytes[node]
      var next = transitions[Int(path[depth]) << 8 | Int(byte)]
      if next == Self.unknown { next = self.next(path[depth], byte) }
      if next < 0 {
        node = Int(nodes.ends[node])
        continue
      }
      path[depth + 1] = next
      let token = nodes.tokens[node]
      if token >= 0 { words[Int(token) / 64] |= 1 << (UInt64(token) % 64) }
      node += 1
    }
  }
}

/// A vocabulary by its tokens' bytes, for the question which tokens may come next: all that begin alike are looked at together.
package struct TokenTrie: Sendable {
  /// One more than the highest id.
  package let count: Int
  /// Bytes of the longest token.
  let longest: Int

  /// Nodes without the root, each before its children.
  struct Nodes: Sendable {
    /// The byte that leads to the node.
    var bytes: [UInt8] = []
    /// Bytes before it.
    var depths: [UInt16] = []
    /// The node behind its last descendant.
    var ends: [Int32] = []
    /// The token that ends here, or -1.
    var tokens: [Int32] = []
    fileprivate var parents: [Int32] = []
  }
  let nodes: Nodes
  /// Those that end a string in which they begin.
  let closing: Nodes
  /// By a number of scalars: tokens that go on with a string by so many of them or fewer, and do not end it; a bit each.
  let plain: [[UInt64]]
  /// For each id its node, or -1 where it is none of these tokens.
  private let places: [Int32]
  /// Further ids of a token's bytes, by the first.
  let twins: [Int32: [Int32]]

  /// The first byte of what answers may be made of that is no token of its own; nil where there is none. Without it a text that was begun
  /// could not be ended.
  package let missingByte: UInt8?

  /// `tokens` are the ids below `count` that text is made of, with their bytes; empty ones are left out.
  package init(count: Int, _ vocabulary: [(id: Int32, bytes: [UInt8])]) {
    self.count = count
    let sorted = vocabulary.filter { !$0.bytes.isEmpty && $0.bytes.count <= Int(UInt16.max) && $0.id >= 0 && $0.id < count }
      .sorted { $0.bytes == $1.bytes ? $0.id < $1.id : $0.bytes.lexicographicallyPrecedes($1.bytes) }
    var places = [Int32](repeating: -1, count: count)
    var twins: [Int32: [Int32]] = [:]
    let nodes = Nodes(sorted) { id, node, first in
      places[Int(id)] = node
      if first != id { twins[first, default: []].append(id) }
    }
    var byLength: [[UInt64]] = []
    let closing = sorted.filter { id, bytes in
      guard let scalars = Self.scalars(bytes) else { return false }
      if scalars < 0 { return true }
      while byLength.count <= scalars { byLength.append([UInt64](repeating: 0, count: (count + 63) / 64)) }
      byLength[scalars][Int(id) / 64] |= 1 << (UInt64(id) % 64)
      return false
    }
    for length in byLength.indices.dropFirst() {
      for index in byLength[length].indices { byLength[length][index] |= byLength[length - 1][index] }
    }
    var isByte = [Bool](repeating: false, count: 256)
    for node in nodes.bytes.indices where nodes.depths[node] == 0 && nodes.tokens[node] >= 0 { isByte[Int(nodes.bytes[node])] = true }
    missingByte = ([0x20...0x7E, 0x80...0xBF, 0xC2...0xF4] as [ClosedRange<UInt8>]).joined().first { !isByte[Int($0)] }
    longest = (nodes.depths.max().map(Int.init) ?? 0) + 1
    (self.nodes, self.places, self.twins, plain) = (nodes, places, twins, byLength)
    self.closing = Nodes(closing) { _, _, _ in }
  }

  /// Scalars by which the bytes go on with a string; -1 where they end it, nil where they cannot stand in one.
  private static func scalars(_ bytes: [UInt8]) -> Int? {
    var place: Int32 = 0
    var count = 0
    for byte in bytes {
      let next = Machine.text(place, byte)
      if next == Machine.quote { return -1 }
      if next == Machine.dead { return nil }
      if place == 0 { count += 1 }
      place = next
    }
    return count
  }

  /// The token's bytes; nil where it is none of these tokens.
  func text(_ id: Int32) -> [UInt8]? {
    guard places.indices.contains(Int(id)), places[Int(id)] >= 0 else { return nil }
    var text: [UInt8] = []
    var node = places[Int(id)]
    while node >= 0 {
      text.append(nodes.bytes[Int(node)])
      node = nodes.parents[Int(node)]
    }
    return text.reversed()
  }
}

extension TokenTrie.Nodes {
  /// Of tokens sorted by their bytes; each is told with its node and the first token of the same bytes.
  fileprivate init(_ sorted: [(id: Int32, bytes: [UInt8])], _ place: (_ id: Int32, _ node: Int32, _ first: Int32) -> Void) {
    // The nodes of the last token.
    var path: [Int32] = []
    var last: [UInt8] = []
    for (id, text) in sorted {
      var shared = 0
      while shared < min(last.count, text.count), last[shared] == text[shared] { shared += 1 }
      path.removeLast(path.count - shared)
      for depth in shared..<text.count {
        parents.append(path.last ?? -1)
        path.append(Int32(bytes.count))
        bytes.append(text[depth])
        depths.append(UInt16(depth))
        tokens.append(-1)
      }
      let node = Int(path[text.count - 1])
      if tokens[node] < 0 { tokens[node] = id }
      place(id, Int32(node), tokens[node])
      last = text
    }
    ends = [Int32](repeating: 0, count: bytes.count)
    for node in bytes.indices.reversed() {
      let end = max(ends[node], Int32(node) + 1)
      ends[node] = end
      if parents[node] >= 0 { ends[Int(parents[node])] = max(ends[Int(parents[node])], end) }
    }
  }
}
