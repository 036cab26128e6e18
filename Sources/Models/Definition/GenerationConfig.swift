import Support

/// What counts of a checkpoint's `generation_config.json`. The published demo sets temperature and top-p itself, so those that the file names do not.
package struct GenerationConfig: Sendable, Equatable {
  /// nil: it does not say.
  package var samples: Bool?
  package var topK: Int?
  package var repetitionPenalty: Float?
  /// Ids of tokens that end an answer.
  package var endTokens: [Int32]

  package init(json: [UInt8]) throws(ArchitectureError) {
    let fields = try ConfigFields(json: json, file: "generation_config.json")
    samples = try fields.optionalBool("do_sample")
    topK = try fields.optionalInteger("top_k", in: 0...(Limits.tokens))
    repetitionPenalty = try fields.optionalNumber("repetition_penalty", in: 1e-3...1e3).map(Float.init)
    endTokens = try fields.ids("eos_token_id")
  }
}
