import Foundation

/// How a model answers unless the user says otherwise: a model file's `generation` section.
public struct GenerationRecord: Sendable, Codable, Equatable {
  /// 0 is greedy.
  public var temperature: Float
  /// The share of the likeliest tokens that are drawn from; 1 is all of them.
  public var topP: Float
  /// 0 is all.
  public var topK: Int
  /// What logits of tokens that are there already are divided by; 1 changes nothing.
  public var repetitionPenalty: Float
  /// The most tokens of an answer.
  public var maximumTokens: Int
  /// Which tokens read the slow tokens, unless a session says otherwise.
  public var slowAttention: SlowAttention

  enum CodingKeys: String, CodingKey {
    case temperature
    case topP = "top_p"
    case topK = "top_k"
    case repetitionPenalty = "repetition_penalty"
    case maximumTokens = "max_new_tokens"
    case slowAttention = "slow_attention"
  }

  /// As the published demo answers: temperature 0.2, top-p 1 and 1024 tokens, the rest from the generation config, whose own default is a top-k of 50.
  /// A checkpoint whose generation config says that it does not sample is greedy; a penalty counts there too.
  package init(_ generation: GenerationConfig?, slowAttention: SlowAttention) {
    temperature = generation?.samples == false ? 0 : 0.2
    topP = 1
    topK = generation?.topK ?? 50
    repetitionPenalty = generation?.repetitionPenalty ?? 1
    maximumTokens = 1024
    self.slowAttention = slowAttention
  }

  package init(json: [UInt8]) throws(ArchitectureError) {
    do { self = try JSONDecoder().decode(Self.self, from: Data(json)) } catch {
      throw .configUnreadable(file: "generation", reason: "the section is not as specified")
    }
    func check(_ holds: Bool, _ field: CodingKeys, _ found: Any, _ expected: String) throws(ArchitectureError) {
      if !holds { throw .configValue(file: "generation", field: field.rawValue, found: "\(found)", expected: expected) }
    }
    try check(temperature >= 0 && temperature.isFinite, .temperature, temperature, "0 or more")
    try check(topP > 0 && topP <= 1, .topP, topP, "more than 0 and at most 1")
    try check((0...(1 << 24)).contains(topK), .topK, topK, "0 to \(1 << 24)")
    try check(repetitionPenalty > 0 && repetitionPenalty.isFinite, .repetitionPenalty, repetitionPenalty, "more than 0")
    try check((1...(1 << 24)).contains(maximumTokens), .maximumTokens, maximumTokens, "1 to \(1 << 24)")
  }

  package func json() throws(ArchitectureError) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    do { return Array(try encoder.encode(self)) } catch { throw .configUnreadable(file: "generation", reason: "\(error)") }
  }
}
