import Models
import Runtime
import Safetensors
import Tokenizer

/// What a model file holds beside its tensors.
struct Sections {
  /// Names and contents, in the order in which they are written.
  private(set) var entries: [(name: String, bytes: [UInt8])] = []

  var lengths: [(name: String, byteCount: Int)] { entries.map { ($0.name, $0.bytes.count) } }

  /// All but the provenance, which depends on the plan.
  init(_ checkpoint: Checkpoint, slowAttention: SlowAttention?) throws(ConversionError) {
    let config = try Planner.config(checkpoint)
    entries.append(("config.json", checkpoint.config))
    if let generation = checkpoint.generationConfig { entries.append(("generation_config.json", generation)) }
    let tokenizer: Tokenizer
    do throws(TokenizerError) {
      tokenizer = try Tokenizer(checkpoint: checkpoint.directory)
      try tokenizer.checkFits(rows: config.vocabularySize, config.promptTemplate, checkpoint.directory)
    } catch { throw .tokenizer(error) }
    entries.append(("tokenizer", tokenizer.serialized()))
    do throws(ArchitectureError) {
      entries.append(("preprocessing", try PreprocessingRecord(config: config, checkpointName: checkpoint.name).json()))
      if let vision = config.vision { entries.append(("vision", try vision.json())) }
      let generation = try checkpoint.generationConfig.map { json throws(ArchitectureError) in try GenerationConfig(json: json) }
      entries.append(("generation", try GenerationRecord(generation, slowAttention: slowAttention ?? config.slowAttention).json()))
    } catch { throw .architecture(error) }
  }

  mutating func add(_ provenance: Provenance) throws(ConversionError) { entries.append(("provenance", try provenance.json())) }
}
