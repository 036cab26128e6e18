extension Tokenizer {
  /// The tokenizer of a HuggingFace checkpoint: `tokenizer.json`, or `vocab.json` and `merges.txt`, and what `tokenizer_config.json` adds.
  /// Where that has no `added_tokens_decoder`, as before transformers 4.34, `added_tokens.json` and `special_tokens_map.json` are read as
  /// well.
  ///
  /// A token that has a role, or is named as special without one, is special; if it is in no vocabulary, it gets the next id.
  ///
  /// An added token keeps the id that its file gives it, also where HuggingFace would number it anew.
  package init(checkpoint directory: String) throws(TokenizerError) {
    let json = CheckpointFile(directory, "tokenizer.json")
    let vocabulary = CheckpointFile(directory, "vocab.json")
    let merges = CheckpointFile(directory, "merges.txt")
    let configFile = CheckpointFile(directory, "tokenizer_config.json")
    let config = configFile.exists ? try configFile.decode(TokenizerConfigJSON.self) : nil

    var builder: TokenizerBuilder
    var roles = SpecialTokensJSON(defaultsOf: config?.tokenizerClass ?? (json.exists ? nil : "Qwen2Tokenizer"))
    if configFile.exists { roles.override(with: try configFile.decode(SpecialTokensJSON.self)) }
    if json.exists {
      builder = try TokenizerBuilder(json: json)
    } else if vocabulary.exists && merges.exists {
      let kind = try PreTokenizer.ofClass(config?.tokenizerClass ?? "Qwen2Tokenizer", configFile.path)
      builder = try TokenizerBuilder(vocabulary: vocabulary, merges: merges, kind)
    } else {
      throw .noTokenizer(directory: directory)
    }
    var file = configFile.path
    if let config { try builder.add(config, file) }
    if config?.addedTokens == nil {
      let map = CheckpointFile(directory, "special_tokens_map.json")
      if map.exists {
        file = map.path
        roles.override(with: try map.decode(SpecialTokensJSON.self))
      }
      let added = CheckpointFile(directory, "added_tokens.json")
      if added.exists { try builder.add(try added.decode([String: Int].self), special: Set(roles.all.map(\.content)), added.path) }
    }
    try builder.add(roles, file)
    self = try builder.tokenizer()
  }
}

extension TokenizerBuilder {
  /// From `tokenizer.json`.
  fileprivate init(json file: CheckpointFile) throws(TokenizerError) {
    let json = try file.decode(TokenizerJSON.self)
    let model = json.model
    let normalizers = json.normalizer.map { $0.type == "Sequence" ? $0.normalizers ?? [] : [$0] } ?? []
    try json.checkSupported(normalizers: normalizers, file.path)
    try self.init(
      file: file.path, preTokenizer: try json.preTokenizer(file.path), usesNFC: !normalizers.isEmpty, vocabulary: model.vocabulary)
    if model.byteFallback == true { try requireAllBytes("model.byte_fallback") }
    if model.unknownToken != nil { try requireAllBytes("model.unk_token") }

    let path = file.path
    switch model.merges {
    case .joined(let merges):
      try setMerges(merges.count, path) { index throws(TokenizerError) in
        try TokenizerBuilder.pair(of: merges[index], file: path, index: index)
      }
    case .pairs(let merges):
      try setMerges(merges.count, path) { index throws(TokenizerError) in
        guard merges[index].count == 2 else {
          throw .malformedMerge(file: path, index: index, found: merges[index].joined(separator: " "))
        }
        return (merges[index][0], merges[index][1])
      }
    }
    for token in json.addedTokens ?? [] {
      guard let id = token.id else { throw .malformed(file: path, reason: "added_tokens: a token has no \"id\"") }
      try add(token, id: id, path)
    }
  }

  /// From `vocab.json` and `merges.txt`, which hold no settings.
  fileprivate init(vocabulary: CheckpointFile, merges: CheckpointFile, _ preTokenizer: PreTokenizer) throws(TokenizerError) {
    let ids = try vocabulary.decode([String: Int].self)
    try self.init(file: vocabulary.path, preTokenizer: preTokenizer, usesNFC: preTokenizer == .qwen2, vocabulary: ids)
    let path = merges.path
    let lines = try merges.read().split(separator: UInt8(ascii: "\n")).map { line in
      String(decoding: line.last == UInt8(ascii: "\r") ? line.dropLast() : line, as: UTF8.self)
    }.filter { !$0.hasPrefix("#version") && !$0.isEmpty }
    try setMerges(lines.count, path) { index throws(TokenizerError) in
      try TokenizerBuilder.pair(of: lines[index], file: path, index: index)
    }
  }

  private static func pair(of merge: String, file: String, index: Int) throws(TokenizerError) -> (String, String) {
    let parts = merge.utf8.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
    guard parts.count == 2, let left = String(parts[0]), let right = String(parts[1]), !left.isEmpty, !right.isEmpty else {
      throw .malformedMerge(file: file, index: index, found: merge)
    }
    return (left, right)
  }
}

extension PreTokenizer {
  /// What the tokenizer class that `tokenizer_config.json` names cuts text by.
  fileprivate static func ofClass(_ name: String, _ file: String) throws(TokenizerError) -> PreTokenizer {
    switch name {
    case "Qwen2Tokenizer", "Qwen2TokenizerFast": return .qwen2
    case "GPT2Tokenizer", "GPT2TokenizerFast": return .gpt2
    default:
      throw .unsupported(
        file: file, setting: "tokenizer_class", found: "\"\(name)\"", supported: "\"Qwen2Tokenizer\" or \"GPT2Tokenizer\"")
    }
  }
}

extension TokenizerJSON {
  fileprivate func checkSupported(normalizers: [Normalizer], _ file: String) throws(TokenizerError) {
    func require(_ holds: Bool, _ setting: String, _ found: String?, _ supported: String) throws(TokenizerError) {
      if !holds { throw .unsupported(file: file, setting: setting, found: found.map { "\"\($0)\"" } ?? "null", supported: supported) }
    }
    try require(model.type ?? "BPE" == "BPE", "model.type", model.type, "\"BPE\"")
    try require(model.dropout ?? 0 == 0, "model.dropout", model.dropout.map { "\($0)" }, "none")
    try require(model.prefix ?? "" == "", "model.continuing_subword_prefix", model.prefix, "none")
    try require(model.suffix ?? "" == "", "model.end_of_word_suffix", model.suffix, "none")
    try require(model.ignoreMerges != true, "model.ignore_merges", "true", "false")
    for normalizer in normalizers { try require(normalizer.type == "NFC", "normalizer", normalizer.type, "null or \"NFC\"") }
    try require(decoder?.type == "ByteLevel", "decoder", decoder?.type, "\"ByteLevel\"")
    try require(
      postProcessor?.addsNothing ?? true, "post_processor", postProcessor?.type, "null, \"ByteLevel\", or a template that adds no token")
  }

  /// The pattern: of a Split before a ByteLevel, or the one that ByteLevel has of its own, with or without Digits before it.
  fileprivate func preTokenizer(_ file: String) throws(TokenizerError) -> PreTokenizer {
    var steps = preTokenizer.map { $0.type == "Sequence" ? $0.pretokenizers ?? [] : [$0] } ?? []
    func unsupported(_ setting: String, _ found: String, _ supported: String) -> TokenizerError {
      .unsupported(file: file, setting: "pre_tokenizer" + setting, found: found, supported: supported)
    }
    guard let bytes = steps.popLast(), bytes.type == "ByteLevel", steps.count <= 1,
      steps.allSatisfy({ ["Split", "Digits"].contains($0.type) })
    else {
      let found = preTokenizer.map { ([$0] + ($0.pretokenizers ?? [])).map(\.type).joined(separator: " ") } ?? "null"
      throw unsupported("", found, "a Sequence of Split or Digits and ByteLevel, or ByteLevel")
    }
    if bytes.addPrefixSpace ?? true { throw unsupported(".add_prefix_space", "true", "false") }
    guard let split = steps.first else {
      if bytes.useRegex ?? true { return .gpt2 }
      throw unsupported(".use_regex", "false", "true, or a Split before the ByteLevel")
    }
    if split.type == "Digits" {
      guard split.individualDigits == true else { throw unsupported(".individual_digits", "false", "true") }
      guard bytes.useRegex ?? true else { throw unsupported(".use_regex", "false", "true after Digits") }
      return .smolLM2
    }
    if bytes.useRegex ?? true { throw unsupported(".use_regex", "true", "false after a Split") }
    guard split.behavior == "Isolated", split.invert != true else {
      throw unsupported(".behavior", "\(split.behavior ?? "null")\(split.invert == true ? ", inverted" : "")", "\"Isolated\"")
    }
    guard let pattern = split.pattern?["Regex"], let known = PreTokenizer(pattern: pattern) else {
      let found = split.pattern?.map { "\($0): \($1)" }.sorted().joined(separator: " ") ?? "null"
      throw unsupported(".pattern", found, "the pattern of Qwen2 or of GPT-2")
    }
    return known
  }
}

/// Puts a tokenizer together from what a checkpoint's files say, and checks that it fits together.
struct TokenizerBuilder {
  private let file: String
  private let preTokenizer: PreTokenizer
  private let usesNFC: Bool

  private var tokens = TokenTable(bytes: [], lengths: [], literals: [])
  /// The vocabulary's ids by what the tokens stand for, and those of the literal tokens by their text's UTF-8.
  private var idOfBytes: [[UInt8]: UInt32] = [:]
  private var idOfLiteral: [[UInt8]: UInt32] = [:]
  private var merges: [MergeTable.Merge] = []
  private var added: [Int: AddedToken] = [:]
  private var idOfAdded: [[UInt8]: Int] = [:]
  private var endToken: Int32?

  /// `file` is what errors in the vocabulary name.
  init(file: String, preTokenizer: PreTokenizer, usesNFC: Bool, vocabulary: [String: Int]) throws(TokenizerError) {
    self.file = file
    self.preTokenizer = preTokenizer
    self.usesNFC = usesNFC
    try setVocabulary(vocabulary)
  }

  private mutating func setVocabulary(_ vocabulary: [String: Int]) throws(TokenizerError) {
    let limit = TokenTable.maximumCount
    for (text, id) in vocabulary where id < 0 || id >= limit {
      throw .idOutOfRange(file: file, token: text, id: id, limit: limit)
    }
    // Ids in no order, and not every one in use. A token without text is as good as none.
    var texts = [String](repeating: "", count: (vocabulary.values.max() ?? -1) + 1)
    for (text, id) in vocabulary where !text.isEmpty {
      guard texts[id].isEmpty else {
        throw .idOfTwoTokens(file: file, id: id, first: min(texts[id], text), second: max(texts[id], text))
      }
      texts[id] = text
    }
    var bytes: [UInt8] = []
    var lengths: [Int] = []
    var literals: [UInt32] = []
    idOfBytes.reserveCapacity(vocabulary.count)
    for (id, text) in texts.enumerated() {
      let mapped = ByteAlphabet.bytes(of: text)
      let token = mapped ?? Array(text.utf8)
      guard token.count <= TokenTable.maximumLength else {
        throw .tokenTooLong(file: file, id: id, bytes: token.count, limit: TokenTable.maximumLength)
      }
      if mapped == nil {
        literals.append(UInt32(id))
        idOfLiteral[token] = UInt32(id)
      } else if !token.isEmpty {
        idOfBytes[token] = UInt32(id)
      }
      bytes += token
      lengths.append(token.count)
    }
    tokens = TokenTable(bytes: bytes, lengths: lengths, literals: literals)
  }

  /// What to do with bytes that no token stands for is a setting; the only one supported is to leave them out.
  func requireAllBytes(_ setting: String) throws(TokenizerError) {
    if let byte = tokens.idOfByte.firstIndex(of: -1) {
      throw .unsupported(
        file: file, setting: setting, found: "set, and the vocabulary lacks the byte \(byte)", supported: "a token for every byte")
    }
  }

  /// Sets the merges, by rank: `pair` gives the two tokens of each as vocabularies write them.
  mutating func setMerges(
    _ count: Int, _ file: String, pair: (Int) throws(TokenizerError) -> (left: String, right: String)
  ) throws(TokenizerError) {
    guard count <= MergeTable.maximumCount else {
      throw .tooMany(file: file, what: "merges", count: count, limit: MergeTable.maximumCount)
    }
    merges.removeAll()
    merges.reserveCapacity(count)
    for index in 0..<count {
      let (left, right) = try pair(index)
      let (leftBytes, rightBytes) = (ByteAlphabet.bytes(of: left), ByteAlphabet.bytes(of: right))
      guard let leftBytes, let rightBytes else {
        // Tokens that no text is encoded to may merge as well: there is nothing to do for it.
        for token in [left, right, left + right] where vocabularyID(of: token) == nil {
          throw .unknownTokenInMerge(file: file, index: index, token: token)
        }
        continue
      }
      guard let leftID = idOfBytes[leftBytes] else { throw .unknownTokenInMerge(file: file, index: index, token: left) }
      guard let rightID = idOfBytes[rightBytes] else { throw .unknownTokenInMerge(file: file, index: index, token: right) }
      guard let result = idOfBytes[leftBytes + rightBytes] else {
        throw .unknownTokenInMerge(file: file, index: index, token: left + right)
      }
      merges.append(MergeTable.Merge(left: leftID, right: rightID, result: result))
    }
  }

  /// Adds a token; what is said last about a token holds, as with HuggingFace. One without text is passed over.
  mutating func add(_ token: AddedTokenJSON, id: Int, _ file: String) throws(TokenizerError) {
    if token.content.isEmpty { return }
    let limit = TokenTable.maximumCount
    guard id >= 0, id < limit else { throw .idOutOfRange(file: file, token: token.content, id: id, limit: limit) }
    let length = token.content.utf8.count
    guard length <= AddedTokens.maximumLength else {
      throw .tokenTooLong(file: file, id: id, bytes: length, limit: AddedTokens.maximumLength)
    }
    if let other = added[id]?.text ?? tokens.text(id), !other.utf8.elementsEqual(token.content.utf8) {
      throw .idOfTwoTokens(file: file, id: id, first: other, second: token.content)
    }
    if let other = self.id(of: token.content), other != id {
      throw .tokenWithTwoIDs(file: file, token: token.content, first: other, second: id)
    }
    let wasSpecial = added[id]?.isSpecial ?? false
    added[id] = token.token(id: Int32(id))
    // Once special, always special.
    if wasSpecial { added[id]?.isSpecial = true }
    idOfAdded[Array(token.content.utf8)] = id
    guard added.count <= AddedTokens.maximumCount else {
      throw .tooMany(file: file, what: "added tokens", count: added.count, limit: AddedTokens.maximumCount)
    }
  }

  private func id(of text: String) -> Int? { idOfAdded[Array(text.utf8)] ?? vocabularyID(of: text) }

  private func vocabularyID(of text: String) -> Int? {
    let id = if let bytes = ByteAlphabet.bytes(of: text) { idOfBytes[bytes] } else { idOfLiteral[Array(text.utf8)] }
    return id.map(Int.init)
  }

  /// What `tokenizer_config.json` adds.
  mutating func add(_ config: TokenizerConfigJSON, _ file: String) throws(TokenizerError) {
    if config.addPrefixSpace == true {
      throw .unsupported(file: file, setting: "add_prefix_space", found: "true", supported: "false")
    }
    if config.splitSpecialTokens == true {
      throw .unsupported(file: file, setting: "split_special_tokens", found: "true", supported: "false")
    }
    for (key, token) in (config.addedTokens ?? [:]).sorted(by: { $0.key < $1.key }) {
      guard let id = Int(key) else { throw .malformed(file: file, reason: "added_tokens_decoder: \"\(key)\" is no id") }
      try add(token, id: id, file)
    }
  }

  /// What `added_tokens.json` adds: ids of texts. Those that have a role are special, the others are looked for in normalized text.
  mutating func add(_ ids: [String: Int], special: Set<String>, _ file: String) throws(TokenizerError) {
    for (text, id) in ids.sorted(by: { ($0.value, $0.key) < ($1.value, $1.key) }) {
      var token = AddedTokenJSON(content: text)
      token.special = special.contains(text)
      try add(token, id: id, file)
    }
  }

  /// Makes special tokens of those that have a role. One that is an added token already keeps how it is looked for; others are looked for
  /// as written, unless the file says so.
  mutating func add(_ roles: SpecialTokensJSON, _ file: String) throws(TokenizerError) {
    for var token in roles.all where !token.content.isEmpty {
      if let id = idOfAdded[Array(token.content.utf8)] {
        added[id]?.isSpecial = true
        continue
      }
      token.special = true
      try add(token, id: vocabularyID(of: token.content) ?? max(tokens.count, (added.keys.max() ?? -1) + 1), file)
    }
    endToken = roles[SpecialTokensJSON.endRole].flatMap { id(of: $0.content) }.map(Int32.init)
  }

  func tokenizer() throws(TokenizerError) -> Tokenizer {
    // Of two merges of the same pair the later one holds, as with HuggingFace.
    var last: [UInt64: Int] = [:]
    last.reserveCapacity(merges.count)
    for (index, merge) in merges.enumerated() { last[UInt64(merge.left) << 32 | UInt64(merge.right)] = index }
    let kept = last.count == merges.count ? merges : last.values.sorted().map { merges[$0] }
    do {
      return Tokenizer(
        tokens: tokens, merges: try MergeTable(kept, tokens: tokens), added: Array(added.values), preTokenizer: preTokenizer,
        usesNFC: usesNFC, endToken: endToken)
    } catch {
      let merge = kept[error.rank]
      throw .malformedMerge(file: file, index: error.rank, found: "\(merge.left) \(merge.right), again")
    }
  }
}
