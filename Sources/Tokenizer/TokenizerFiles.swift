import Foundation
import Support

/// A file of a checkpoint's directory.
struct CheckpointFile {
  let path: String

  /// Larger than any tokenizer's file; read whole, so bounded.
  private static let maximumLength = 1 << 29

  init(_ directory: String, _ name: String) {
    path = directory.hasSuffix("/") ? directory + name : directory + "/" + name
  }

  /// A link that leads nowhere counts: reading it says so.
  var exists: Bool { FileKind.isThere(path) }

  func read() throws(TokenizerError) -> [UInt8] {
    if let instead = FileKind(path: path).instead { throw .unreadable(file: path, reason: instead) }
    let bytes: [UInt8]?
    do throws(SystemError) { bytes = try SystemCalls.contents(of: path, limit: Self.maximumLength) } catch {
      throw .unreadable(file: path, reason: error.message)
    }
    guard let bytes else { throw .unreadable(file: path, reason: "not a file of at most \(Self.maximumLength) bytes") }
    return bytes
  }

  func decode<T: Decodable>(_ type: T.Type) throws(TokenizerError) -> T {
    let bytes = try read()
    do {
      return try JSONReader.decode(type, bytes)
    } catch let error as JSONError {
      throw .malformed(file: path, reason: error.description)
    } catch let error as DecodingError {
      throw .malformed(file: path, reason: Self.describe(error))
    } catch {
      throw .malformed(file: path, reason: error.localizedDescription)
    }
  }

  private static func describe(_ error: DecodingError) -> String {
    func place(_ context: DecodingError.Context) -> String {
      let path = context.codingPath.map { key in key.intValue.map { "[\($0)]" } ?? "." + key.stringValue }.joined()
      return path.isEmpty ? "the file" : String(path.drop { $0 == "." })
    }
    switch error {
    case .typeMismatch(let type, let context): return "\(place(context)) is not of the type \(type)"
    case .valueNotFound(_, let context): return "\(place(context)) is null"
    case .keyNotFound(let key, let context): return "\(place(context)) has no \"\(key.stringValue)\""
    // It is JSON; Foundation does not say where.
    case .dataCorrupted(let context): return "a number in \(place(context)) is not a whole one"
    @unknown default: return "\(error)"
    }
  }
}

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
    // Digits
    var individualDigits: Bool?
    // ByteLevel
    var addPrefixSpace: Bool?
    var useRegex: Bool?

    enum CodingKeys: String, CodingKey {
      case type, pretokenizers, pattern, behavior, invert
      case individualDigits = "individual_digits"
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
