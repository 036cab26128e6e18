/// The parts of HuggingFace's `tokenizer.json` that say how text is encoded.
struct TokenizerJSON: Decodable {
  var addedTokens: [AddedTokenJSON]?
  var normalizer: Normalizer?
  var preTokenizer: PreTokenizerStep?
  var postProcessor: Named?
  var decoder: Named?
  var model: Model

  enum CodingKeys: String, CodingKey {
    case addedTokens = "added_tokens"
    case normalizer, decoder, model
    case preTokenizer = "pre_tokenizer"
    case postProcessor = "post_processor"
  }

  /// A part of which only the kind matters.
  struct Named: Decodable {
    var type: String
  }

  struct Normalizer: Decodable {
    var type: String
    var normalizers: [Normalizer]?
  }

  struct PreTokenizerStep: Decodable {
    var type: String
    // Sequence
    var pretokenizers: [PreTokenizerStep]?
    // Split
    var pattern: [String: String]?
    var behavior: String?
    var invert: Bool?
    // ByteLevel
    var addPrefixSpace: Bool?
    var useRegex: Bool?

    enum CodingKeys: String, CodingKey {
      case type, pretokenizers, pattern, behavior, invert
      case addPrefixSpace = "add_prefix_space"
      case useRegex = "use_regex"
    }
  }

  struct Model: Decodable {
    var type: String?
    var vocabulary: [String: Int]
    var merges: Merges
    var dropout: Double?
    var unknownToken: String?
    var prefix: String?
    var suffix: String?
    var byteFallback: Bool?
    var ignoreMerges: Bool?

    enum CodingKeys: String, CodingKey {
      case type, merges, dropout
      case vocabulary = "vocab"
      case unknownToken = "unk_token"
      case prefix = "continuing_subword_prefix"
      case suffix = "end_of_word_suffix"
      case byteFallback = "byte_fallback"
      case ignoreMerges = "ignore_merges"
    }
  }

  /// Merges as "a b", as files of before 2024 have them, or as ["a", "b"].
  enum Merges: Decodable {
    case joined([String])
    case pairs([[String]])

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if let joined = try? container.decode([String].self) {
        self = .joined(joined)
      } else {
        self = .pairs(try container.decode([[String]].self))
      }
    }
  }
}

/// An added token in `tokenizer.json`, and without its id in `tokenizer_config.json`.
struct AddedTokenJSON: Decodable {
  var id: Int?
  var content: String
  var special: Bool?
  var normalized: Bool?
  var lstrip: Bool?
  var rstrip: Bool?
  var singleWord: Bool?

  enum CodingKeys: String, CodingKey {
    case id, content, special, normalized, lstrip, rstrip
    case singleWord = "single_word"
  }

  func token(id: Int32) -> AddedToken {
    var token = AddedToken(id: id, text: content, isSpecial: special ?? false)
    token.isNormalized = normalized ?? !token.isSpecial
    token.stripsLeft = lstrip ?? false
    token.stripsRight = rstrip ?? false
    token.isSingleWord = singleWord ?? false
    return token
  }
}

/// The parts of `tokenizer_config.json` that add to the above.
struct TokenizerConfigJSON: Decodable {
  var tokenizerClass: String?
  var addPrefixSpace: Bool?
  var splitSpecialTokens: Bool?
  var endToken: Name?
  /// By id.
  var addedTokens: [String: AddedTokenJSON]?

  enum CodingKeys: String, CodingKey {
    case tokenizerClass = "tokenizer_class"
    case addPrefixSpace = "add_prefix_space"
    case splitSpecialTokens = "split_special_tokens"
    case endToken = "eos_token"
    case addedTokens = "added_tokens_decoder"
  }

  /// A token's text, or an object that has it.
  struct Name: Decodable {
    var text: String

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      text = if let text = try? container.decode(String.self) { text } else { try container.decode(AddedTokenJSON.self).content }
    }
  }
}
