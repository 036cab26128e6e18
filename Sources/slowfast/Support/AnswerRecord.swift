import SlowFast

/// What `--json` and `--jsonl` print of an answer.
struct AnswerRecord: Encodable {
  var clip: ClipNames
  var question: String
  var answer: String
  var tokens: [Int32]
  var endReason: String
  /// nil where nothing was drawn.
  var seed: UInt64?
  var plan: MemoryPlan?
  var statistics: RunStatistics
  var peakResidentBytes: Int?

  init(
    _ answer: Answer, to question: String, about clips: [String], options: GenerationOptions, plan: MemoryPlan? = nil,
    statistics: RunStatistics
  ) {
    clip = ClipNames(names: clips)
    self.question = question
    self.answer = answer.text
    tokens = answer.tokens
    endReason = answer.endReason.words
    seed = options.isDrawn ? options.seed : nil
    self.plan = plan
    self.statistics = statistics
    peakResidentBytes = RunStatistics.peakResidentBytes
  }
}

/// Clips as they were named: null for none, a string for one, an array for several.
struct ClipNames: Encodable {
  var names: [String]

  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch names.count {
    case 0: try container.encodeNil()
    case 1: try container.encode(names[0])
    default: try container.encode(names)
    }
  }
}
