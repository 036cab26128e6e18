import Compute
import Foundation
import ModelFile
import Models
import Safetensors
import Support
import Tensors
import Tokenizer
import Video

/// A slow-fast video language model: an `.sfq` file, or a checkpoint directory whose weights are used as they are.
/// Opening one reads its tables and its tokenizer; weights are read when a session needs them. Sessions may share a model.
public final class VideoLanguageModel: Sendable {
  /// As it was given.
  public let path: String
  /// The checkpoint's configuration.
  public let config: ModelConfig
  /// Text to token ids and back.
  public let tokenizer: Tokenizer
  /// How it answers unless the user says otherwise, and which tokens read the slow ones.
  public let generation: GenerationRecord
  /// The same as options, with the tokens that end an answer.
  public let generationDefaults: GenerationOptions
  /// Tokens that an answer may have: the published loader cuts the head's later rows off.
  package var answerVocabulary: Int { tokenizer.vocabularySize }
  /// Frames of a clip unless the user says otherwise.
  public var defaultFrameCount: Int { config.defaultFrameCount }
  /// Which frames of a clip are taken unless the user says otherwise.
  public var defaultSampling: SamplingRequest {
    SamplingRequest(frames: defaultFrameCount, rule: config.frameRate.map(SamplingRule.spread) ?? .uniform)
  }
  /// Tokens of a clip of so many frames: those that stand in the prompt, and those that are read through cross-attention.
  public func tokenCounts(frames: Int) -> (fast: Int, slow: Int) {
    let layout = config.layout(.clip(frames: frames), towerSide: source.schema.tower.outputSide)
    return (layout.fastCount, layout.slowCount)
  }
  /// Whether several pictures in one prompt are something other than the frames of a clip.
  public var knowsPictures: Bool { config.sequence != nil }

  /// Throws `modelChanged` where its files were written to, or cut, since they were opened. Answers ask before each token; files that are
  /// replaced by renaming, or removed, are there as long as the model is.
  public func checkUnchanged() throws(SlowFastError) { try source.checkUnchanged() }

  /// Changes whenever a weight or a setting does.
  package let identity: String
  package let source: any WeightSource
  /// What of it is in memory.
  package let residency: WeightResidency
  /// What keys, values and slow tokens are kept as unless the user says otherwise: float16 beside quantized weights; float32 where nothing
  /// else is rounded either.
  package let cacheType: KeyValueType
  let vocabulary = AnswerVocabulary()

  /// Opens a model file or a checkpoint directory; weights are read when they are needed.
  ///
  /// - Parameter tower: The directory of a checkpoint's vision transformer, where it is not inside the checkpoint under the name that
  ///   the configuration gives.
  public convenience init(path: String, tower: String? = nil) throws(SlowFastError) {
    guard let kind = FileStatus(path: path)?.kind else {
      throw .badModel(path: path, reason: FileKind(path: path).insteadOfModel(path) ?? "no such file or directory")
    }
    let opened: Opened
    do {
      opened =
        kind == .directory ? try Self.opened(Checkpoint(model: path, tower: tower)) : try Self.opened(ModelFileReader(path: path))
    } catch { throw SlowFastError(error, path: path) }
    try self.init(opened, path: path)
  }

  /// The model of a checkpoint that is open.
  package convenience init(_ checkpoint: Checkpoint) throws(SlowFastError) {
    try self.init(try Self.opened(checkpoint), path: checkpoint.directory)
  }

  /// The model of a file that is open.
  package convenience init(_ file: ModelFileReader) throws(SlowFastError) { try self.init(try Self.opened(file), path: file.path) }

  private init(_ opened: Opened, path: String) throws(SlowFastError) {
    self.path = path
    source = opened.source
    residency = WeightResidency(opened.source)
    config = opened.source.config
    tokenizer = opened.tokenizer
    identity = opened.identity
    cacheType = opened.source.isQuantized ? .float16 : .float32
    do throws(TokenizerError) {
      try tokenizer.checkFits(rows: config.vocabularySize, config.promptTemplate, path)
    } catch { throw SlowFastError(error) }
    generation =
      opened.record
      ?? GenerationRecord(opened.generationConfig, slowAttention: config.slowAttention, isGreedy: config.answersGreedily)
    let ends = config.promptTemplate.ends(tokenizer) + (opened.generationConfig?.endTokens ?? config.endTokens)
    generationDefaults = GenerationOptions(generation, stopTokens: Set(ends))
  }

  /// The same model with other weights: for measuring.
  package init(_ model: VideoLanguageModel, source: any WeightSource, cacheType: KeyValueType) {
    path = model.path
    config = model.config
    tokenizer = model.tokenizer
    generation = model.generation
    generationDefaults = model.generationDefaults
    identity = model.identity
    self.source = source
    residency = WeightResidency(source)
    self.cacheType = cacheType
  }

  private struct Opened {
    var source: any WeightSource
    var tokenizer: Tokenizer
    /// As a model file says it; nil: the configuration files say it.
    var record: GenerationRecord?
    var generationConfig: GenerationConfig?
    var identity: String
  }

  private static func opened(_ checkpoint: Checkpoint) throws(SlowFastError) -> Opened {
    do {
      let source = try CheckpointSource(checkpoint)
      return Opened(
        source: source, tokenizer: try Tokenizer(checkpoint: checkpoint.directory),
        generationConfig: try checkpoint.generationConfig.map { try GenerationConfig(json: $0) },
        identity: identity(of: checkpoint))
    } catch { throw SlowFastError(error, path: checkpoint.directory) }
  }

  /// Weights are too many to be read for this: their files' lengths and times stand for them.
  private static func identity(of checkpoint: Checkpoint) -> String {
    let shards = checkpoint.shards.map { "\($0.file.path) \($0.file.byteCount) \($0.file.modified)" }
    return (["checkpoint \(checkpoint.directory)", "config \(checkpoint.configurationIdentity)"] + shards).joined(separator: ", ")
  }

  private static func opened(_ file: ModelFileReader) throws(SlowFastError) -> Opened {
    do {
      let source = try ModelFileSource(file)
      return Opened(
        source: source, tokenizer: try Tokenizer(serialized: try file.section("tokenizer")),
        record: file.hasSection("generation") ? try GenerationRecord(json: try file.section("generation")) : nil,
        generationConfig: file.hasSection("generation_config.json")
          ? try GenerationConfig(json: try file.section("generation_config.json")) : nil,
        identity: "model file \(file.byteCount) bytes, table \(file.tableChecksum)")
    } catch { throw SlowFastError(error, path: file.path) }
  }
}
