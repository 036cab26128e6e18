import Compute
import Foundation
import Kernels
import Models
import Support
import Tensors
import Video

/// What a run will need before it starts: tokens, and bytes by purpose. The tower's weights and buffers are given back before the
/// decoder's are taken, so the peak is the greater of the two phases.
public struct MemoryPlan: Sendable, Codable, Equatable {
  /// Of all clips.
  public var frames: Int
  /// Tokens of the clips that stand in the prompt.
  public var fastTokens: Int
  /// Tokens of the clips that are read through cross-attention.
  public var slowTokens: Int
  /// Text and fast tokens of the prompt.
  public var promptTokens: Int
  /// Bits of keys, values and slow tokens.
  public var cacheBits: Int
  /// Tokens that the answer may have.
  public var maximumAnswerTokens: Int

  // While the clip is encoded.
  /// Weights of tower and projector.
  public var visionWeightBytes: Int
  /// The tower's maps, the projector's output, quantized activations, `decodingBytes`, a picture's tiles, and what the projector made of
  /// all frames or tiles where it becomes tokens only when the last is there.
  public var visionBufferBytes: Int
  /// The decoder's pictures, of the clip where they are largest: at most so much.
  public var decodingBytes: Int
  /// Threads of the decoder: fewer than the session's where pictures are large.
  public var decodingThreads: Int
  // While the answer is made.
  /// Weights of the decoder.
  public var decoderWeightBytes: Int
  /// What is between and inside the decoder's layers.
  public var decoderBufferBytes: Int
  /// Keys and values of prompt and answer.
  public var cacheBytes: Int
  /// Keys and values of the slow tokens in the hybrid layers.
  public var slowCacheBytes: Int
  /// The clips' tokens themselves, of which those that are read through cross-attention are given back when they are keys and values.
  public var tokenBytes: Int
  /// Of `tokenBytes`, those.
  public var slowTokenBytes: Int
  /// What is between them and their keys and values.
  public var slowBufferBytes: Int
  /// The program, its tokenizer and tables.
  public var baseBytes: Int

  /// All that is there while the clip is encoded.
  public var visionPhaseBytes: Int { baseBytes + visionWeightBytes + visionBufferBytes + tokenBytes }
  /// The most that is there while the answer is made: when the last keys and values of slow tokens are, or at the end.
  public var decoderPhaseBytes: Int {
    baseBytes + decoderWeightBytes + slowCacheBytes + tokenBytes
      + max(slowBufferBytes, decoderBufferBytes + cacheBytes - slowTokenBytes)
  }
  /// Where the weights of both phases are in memory at a time, with what each works in.
  package var bytesOfBoth: Int { visionPhaseBytes + decoderPhaseBytes - baseBytes - tokenBytes }
  /// The greater of the two phases.
  public var peakBytes: Int { max(visionPhaseBytes, decoderPhaseBytes) }

  /// One line for error messages.
  public var summary: String {
    "clip \(formatBytes(visionPhaseBytes)): weights \(formatBytes(visionWeightBytes)), buffers \(formatBytes(visionBufferBytes)); "
      + "answer \(formatBytes(decoderPhaseBytes)): weights \(formatBytes(decoderWeightBytes)), caches "
      + "\(formatBytes(cacheBytes + slowCacheBytes)), buffers \(formatBytes(decoderBufferBytes))"
  }
}

extension MemoryPlan {
  /// What measured runs use beside the accounted parts: the program itself, libraries and a tokenizer of Qwen2's size.
  private static let programBytes = 52 << 20

  /// `clips` are the frames of each clip, `decoding` what their decoders take where it is known; `textTokens` are the prompt's without the
  /// visual ones.
  package init(
    source: any WeightSource, config: ModelConfig, clips: [Shown], decoding: [DecodingMemory], decodingLimit: Int?, textTokens: Int,
    maximumAnswerTokens: Int,
    cacheType: KeyValueType, reuse: Double, kernels: KernelTable, threads: Int
  ) {
    let schema = source.schema
    let (tower, decoder) = (schema.tower, schema.decoder)
    let side = tower.outputSide
    let layouts = clips.map { config.layout($0, towerSide: side) }
    let float = MemoryLayout<Float>.stride
    frames = clips.reduce(0) { sum, shown in if case .clip(let frames) = shown { sum + frames } else { sum + 1 } }
    fastTokens = layouts.reduce(0) { $0 + $1.fastCount }
    slowTokens = layouts.reduce(0) { $0 + $1.slowCount }
    promptTokens = textTokens + fastTokens
    cacheBits = cacheType.bits
    self.maximumAnswerTokens = maximumAnswerTokens

    let positions = side * side
    let scratch = { (measures: ScratchMeasures) in Engine.scratchBytes(measures, kernels: kernels, threads: threads) }
    let towerScratch = clips.isEmpty ? 0 : scratch(tower.scratch)
    visionWeightBytes = clips.isEmpty ? 0 : source.residentBytes(schema.visionNames)
    let decoders = decoding.map { memory in
      let count = decodingLimit.map { memory.threads(threads, within: $0) } ?? threads
      return (threads: count, bytes: memory.bytes(threads: count))
    }
    decodingBytes = decoders.map(\.bytes).max() ?? 0
    decodingThreads = decoders.map(\.threads).min() ?? threads
    // Where all tokens stand in the prompt, the views' rows are there until the last has been seen.
    let kept = config.sequence == nil ? 0 : layouts.map { $0.views * $0.rowsOfView + $0.finishingRows }.max() ?? 0
    // Of one view, and three times where frames become fast tokens.
    let rowsOfView = 3 * (layouts.map(\.rowsOfView).max() ?? 0)
    visionBufferBytes =
      clips.isEmpty
      ? 0
      : (tower.mapFloats + tower.scratchFloats + (2 * positions + kept + rowsOfView) * config.hiddenSize + 3 * config.imageSize
        * config.imageSize)
        * float
        + towerScratch + decodingBytes + (layouts.map(\.imageBytes).max() ?? 0)
        + (reuse > 0 ? TowerBranches.byteCount(tower, threshold: Float(reuse)) : 0)

    let chunk = min(DecoderPasses.chunk, promptTokens)
    decoderWeightBytes = source.residentBytes(schema.decoderNames) + source.embeddingBytes
    decoderBufferBytes =
      (DecoderWorkspace.floats(config: config, tokens: chunk + 1) + (chunk + 2) * config.hiddenSize + (2 + Drafts.most)
        * config.vocabularySize)
      * float
      // The engine's memory grows to its largest use, and stays.
      + max(scratch(decoder.scratch), towerScratch)
      + (promptTokens + maximumAnswerTokens) * 4 * config.headDimension
    cacheBytes = DecoderCaches.byteCount(
      config: config, layers: decoder.layers.count, tokens: promptTokens + maximumAnswerTokens, type: cacheType)
    slowCacheBytes = DecoderCaches.byteCount(
      config: config, layers: decoder.layers.count { $0.readsSlowTokens }, tokens: slowTokens, type: cacheType)
    slowTokenBytes = layouts.reduce(0) {
      $0 + StoredRows.byteCount(rows: $1.slowCount, columns: config.hiddenSize, type: cacheType)
    }
    tokenBytes = slowTokenBytes + fastTokens * config.hiddenSize * float
    slowBufferBytes = slowTokens == 0 ? 0 : CrossAttention.bufferFloats(config) * float + max(scratch(decoder.scratch), towerScratch)
    baseBytes = Self.programBytes + threads * (4 << 20)
  }

  /// Bytes that this process could still take without swapping: the system's, or its control group's if that is less.
  /// nil where the system does not say.
  public static func availableBytes() -> Int? { Resources.availableMemory() }
}
