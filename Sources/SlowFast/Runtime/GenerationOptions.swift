import Foundation

/// How an answer's tokens are chosen. The defaults are a model's own, from its `generation_config.json`.
public struct GenerationOptions: Sendable, Equatable {
  /// The most tokens of an answer.
  public var maximumTokens = 256
  /// 0 is greedy: always the likeliest token.
  public var temperature: Float = 0
  /// Among the likeliest tokens that together have this probability; 1 is all.
  public var topP: Float = 1
  /// Among this many likeliest tokens; 0 is all.
  public var topK = 0
  /// Divides (or multiplies, below zero) the logits of tokens that the answer has already; 1 is none. Tokens of the prompt do not count,
  /// as in the published inference code, which generates from embeddings.
  public var repetitionPenalty: Float = 1
  public var seed: UInt64 = 0
  /// Tokens that end an answer.
  public var stopTokens: Set<Int32> = []

  public init() {}

  /// More than any model's positions, and few enough that sums with it cannot overflow.
  static let tokenLimit = 1 << 24

  /// Always the likeliest token, no penalty: what golden outputs are made with.
  public mutating func makeGreedy() {
    temperature = 0
    topP = 1
    topK = 0
    repetitionPenalty = 1
  }

  /// Throws `badOption` for a value out of range.
  public func validate() throws(SlowFastError) {
    func check(_ ok: Bool, _ name: String, _ found: Any, _ expected: String) throws(SlowFastError) {
      if !ok { throw .badOption(name: name, found: "\(found)", expected: expected) }
    }
    try check((1...Self.tokenLimit).contains(maximumTokens), "--max-tokens", maximumTokens, "1 to \(Self.tokenLimit)")
    try check(temperature >= 0 && temperature.isFinite, "--temperature", temperature, "0 or more")
    try check(topP > 0 && topP <= 1, "--top-p", topP, "more than 0 and at most 1")
    try check(topK >= 0, "--top-k", topK, "0 or more")
    try check(repetitionPenalty > 0 && repetitionPenalty.isFinite, "--repetition-penalty", repetitionPenalty, "more than 0")
  }
}

extension GenerationOptions {
  /// From a `generation_config.json`; a missing or odd field leaves the default. `do_sample: false` is greedy.
  init(generationConfig json: [UInt8]) {
    struct Fields: Decodable {
      enum Ids: Decodable {
        case one(Int32)
        case many([Int32])
        init(from decoder: any Decoder) throws {
          let container = try decoder.singleValueContainer()
          if let id = try? container.decode(Int32.self) { self = .one(id) } else { self = .many(try container.decode([Int32].self)) }
        }
      }
      var do_sample: Bool?
      var temperature: Float?
      var top_p: Float?
      var top_k: Int?
      var repetition_penalty: Float?
      var eos_token_id: Ids?
    }
    self.init()
    guard let fields = try? JSONDecoder().decode(Fields.self, from: Data(json)) else { return }
    switch fields.eos_token_id {
    case .one(let id): stopTokens = [id]
    case .many(let ids): stopTokens = Set(ids)
    case nil: break
    }
    guard fields.do_sample == true else { return }
    var sampled = self
    sampled.temperature = fields.temperature ?? 1
    sampled.topP = fields.top_p ?? 1
    sampled.topK = fields.top_k ?? 50
    sampled.repetitionPenalty = fields.repetition_penalty ?? 1
    if (try? sampled.validate()) != nil { self = sampled }
  }
}
