extension Tokenizer {
  /// The tokenizer of a HuggingFace checkpoint: `tokenizer.json`, or `vocab.json` and `merges.txt`, and what `tokenizer_config.json` adds. Where that
  /// has no `added_tokens_decoder`, as before transformers 4.34, `added_tokens.json` and `special_tokens_map.json` are read as well.
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

  /// The pattern: of a Split before a ByteLevel, or the one that ByteLevel has of its own.
  fileprivate func preTokenizer(_ file: String) throws(TokenizerError) -> PreTokenizer {
    var steps = preTokenizer.map { $0.type == "Sequence" ? $0.pretokenizers ?? [] : [$0] } ?? []
    func unsupported(_ setting: String, _ found: String, _ supported: String) -> TokenizerError {
      .unsupported(file: file, setting: "pre_tokenizer" + setting, found: found, supported: supported)
    }
    guard let bytes = steps.popLast(), bytes.type == "ByteLevel", steps.count <= 1, steps.allSatisfy({ $0.type == "Split" }) else {
      let found = preTokenizer.map { ([$0] + ($0.pretokenizers ?? [])).map(\.type).joined(separator: " ") } ?? "null"
      throw unsupported("", found, "a Sequence of Split and ByteLevel, or ByteLevel")
    }
    if bytes.addPrefixSpace ?? true { throw unsupported(".add_prefix_space", "true", "false") }
    guard let split = steps.first else {
      if bytes.useRegex ?? true { return .gpt2 }
      throw unsupported(".use_regex", "false", "true, or a Split before the ByteLevel")
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
