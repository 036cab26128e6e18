/// The special tokens that a file gives a role: a part of `tokenizer_config.json`, and all of `special_tokens_map.json`.
struct SpecialTokensJSON: Decodable {
  /// Roles of one token each, in the order in which HuggingFace registers their tokens.
  static let roles = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"]
  static let endRole = "eos_token"

  /// By role; what the file says is null is here, too.
  private(set) var named: [String: AddedTokenJSON?]
  /// Of no role: `additional_special_tokens`, and `extra_special_tokens` as transformers 5 writes it.
  private(set) var additional: [AddedTokenJSON]

  private struct Key: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init(_ name: String) { stringValue = name }
    init?(stringValue: String) { self.init(stringValue) }
    init?(intValue: Int) { nil }
  }

  /// A token's text, or an object that has it.
  private struct Token: Decodable {
    var token: AddedTokenJSON

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      token =
        if let text = try? container.decode(String.self) { AddedTokenJSON(content: text) } else {
          try container.decode(AddedTokenJSON.self)
        }
    }
  }

  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Key.self)
    named = [:]
    for role in Self.roles where container.contains(Key(role)) {
      named[role] = .some(try container.decodeIfPresent(Token.self, forKey: Key(role))?.token)
    }
    additional = []
    for key in [Key("additional_special_tokens"), Key("extra_special_tokens")] where container.contains(key) {
      if let tokens = try? container.decode([String: Token].self, forKey: key) {
        additional += tokens.sorted { $0.key < $1.key }.map(\.value.token)
      } else {
        additional += (try container.decodeIfPresent([Token].self, forKey: key) ?? []).map(\.token)
      }
    }
  }

  /// What a tokenizer's class names where no file does.
  init(defaultsOf tokenizerClass: String?) {
    let roles: [String] =
      switch tokenizerClass {
      case "Qwen2Tokenizer", "Qwen2TokenizerFast": ["eos_token", "unk_token", "pad_token"]
      case "GPT2Tokenizer", "GPT2TokenizerFast": ["bos_token", "eos_token", "unk_token"]
      default: []
      }
    named = Dictionary(uniqueKeysWithValues: roles.map { ($0, AddedTokenJSON(content: "<|endoftext|>")) })
    additional = []
  }

  /// What `other` says counts before what is here; tokens of no role are those of both.
  mutating func override(with other: SpecialTokensJSON) {
    named.merge(other.named) { _, new in new }
    additional += other.additional
  }

  subscript(role: String) -> AddedTokenJSON? { named[role] ?? nil }

  /// In the order in which HuggingFace registers them.
  var all: [AddedTokenJSON] { Self.roles.compactMap { self[$0] } + additional }
}
