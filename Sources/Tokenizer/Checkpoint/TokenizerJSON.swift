/// The parts of HuggingFace's `tokenizer.json` that say how text is encoded.
struct TokenizerJSON: Decodable {
  var addedTokens: [AddedTokenJSON]?
  var normalizer: Normalizer?
  var preTokenizer: PreTokenizerStep?
  var postProcessor: PostProcessor?
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

  /// What is put around a text's tokens.
  struct PostProcessor: Decodable {
    var type: String
    // Sequence
    var processors: [PostProcessor]?
    // TemplateProcessing, for a text alone
    var single: [Piece]?

    struct Piece: Decodable {
      struct Place: Decodable { var id: String }
      /// The text; nil for a token that the template adds.
      var text: Place?
      enum CodingKeys: String, CodingKey { case text = "Sequence" }
    }

    /// Whether a text's tokens stay what they are.
    var addsNothing: Bool {
      switch type {
      case "ByteLevel": true
      case "Sequence": (processors ?? []).allSatisfy(\.addsNothing)
      case "TemplateProcessing": single?.map { $0.text?.id } == ["A"]
      default: false
      }
    }
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

/// An added token in `tokenizer.json`, without its id in `tokenizer_config.json`, and of a role there and in `special_tokens_map.json`.
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
  /// By id.
  var addedTokens: [String: AddedTokenJSON]?

  enum CodingKeys: String, CodingKey {
    case tokenizerClass = "tokenizer_class"
    case addPrefixSpace = "add_prefix_space"
    case splitSpecialTokens = "split_special_tokens"
    case addedTokens = "added_tokens_decoder"
  }
}
