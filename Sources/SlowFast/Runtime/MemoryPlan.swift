import Architecture
import Compute
import Foundation
import Kernels

/// What a run will need before it starts: tokens, and bytes by purpose. The tower's weights and buffers are given back before the
/// decoder's are taken, so the peak is the greater of the two phases.
public struct MemoryPlan: Sendable, Codable, Equatable {
  public var frames: Int
  public var fastTokens: Int
  public var slowTokens: Int
  /// Text and fast tokens of the prompt.
  public var promptTokens: Int
  public var maximumAnswerTokens: Int

  // While the clip is encoded.
  public var visionWeightBytes: Int
  /// The tower's maps, the projector's output, quantized activations, decoded frames.
  public var visionBufferBytes: Int
  // While the answer is made.
  public var decoderWeightBytes: Int
  public var decoderBufferBytes: Int
  /// Keys and values of prompt and answer.
  public var cacheBytes: Int
  /// Keys and values of the slow tokens in the hybrid layers.
  public var slowCacheBytes: Int
  /// The clip's tokens themselves: there in both phases.
  public var tokenBytes: Int
  /// The program, its tokenizer and tables.
  public var baseBytes: Int

  public var visionPhaseBytes: Int { baseBytes + visionWeightBytes + visionBufferBytes + tokenBytes }
  public var decoderPhaseBytes: Int {
    baseBytes + decoderWeightBytes + decoderBufferBytes + cacheBytes + slowCacheBytes + tokenBytes
  }
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
  private static let programBytes = 48 << 20
  /// libav's decoded frames and references of a 1080p clip, before resizing.
  private static let videoBytes = 64 << 20

  /// `clips` are the frames of each clip; `textTokens` are the prompt's without the visual ones.
  init(
    source: any WeightSource, clips: [Int], textTokens: Int, maximumAnswerTokens: Int, cacheType: FloatType, threads: Int
  ) {
    let config = source.config
    let schema = source.schema
    let side = VisionTower.outputSide(imageSize: config.imageSize, shape: schema.tower)
    let layouts = clips.map { SlowFastLayout(config: config, towerSide: side, frames: $0) }
    let float = MemoryLayout<Float>.stride
    frames = clips.reduce(0, +)
    fastTokens = layouts.reduce(0) { $0 + $1.fastCount }
    slowTokens = layouts.reduce(0) { $0 + $1.slowCount }
    promptTokens = textTokens + fastTokens
    self.maximumAnswerTokens = maximumAnswerTokens

    let floats = VisionTower.workspaceFloats(imageSize: config.imageSize, shape: schema.tower)
    let positions = side * side
    let isQuantized = source.isQuantized
    visionWeightBytes = clips.isEmpty ? 0 : source.residentBytes(schema.visionNames)
    visionBufferBytes =
      clips.isEmpty
      ? 0
      : (2 * floats.map + floats.hidden + 2 * positions * config.hiddenSize + 3 * config.imageSize * config.imageSize) * float
        + (isQuantized ? max(floats.hidden, floats.map) : 0) + Self.videoBytes

    let chunk = min(Generator.chunk, promptTokens + maximumAnswerTokens)
    decoderWeightBytes = source.residentBytes(schema.decoderNames) + source.embeddingBytes
    decoderBufferBytes =
      (HybridDecoder.Workspace.floats(config: config, tokens: chunk) + chunk * config.hiddenSize + config.vocabularySize) * float
      + (isQuantized ? chunk * config.intermediateSize : 0)
    cacheBytes =
      config.layerCount
      * KeyValueCache.byteCount(
        heads: config.keyValueHeadCount, headDimension: config.headDimension, capacity: promptTokens + maximumAnswerTokens,
        type: cacheType)
    slowCacheBytes =
      (config.hybrid?.layers.count ?? 0)
      * KeyValueCache.byteCount(
        heads: config.keyValueHeadCount, headDimension: config.headDimension, capacity: slowTokens, type: cacheType)
    tokenBytes = (slowTokens + fastTokens) * config.hiddenSize * float
    baseBytes = Self.programBytes + threads * (4 << 20)
  }

  /// Bytes that this process could still take without swapping: the system's, or its control group's if that is less.
  /// nil where the system does not say.
  public static func availableBytes() -> Int? {
    var result: Int?
    if let meminfo = try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8),
      let line = meminfo.split(separator: "\n").first(where: { $0.hasPrefix("MemAvailable:") }),
      let kibibytes = line.split(separator: " ").dropFirst().first.flatMap({ Int($0) })
    {
      result = kibibytes * 1024
    }
    if let group = controlGroupHeadroom() { result = min(result ?? group, group) }
    return result
  }

  private static func controlGroupHeadroom() -> Int? {
    guard let groups = try? String(contentsOfFile: "/proc/self/cgroup", encoding: .utf8),
      let own = groups.split(separator: "\n").first(where: { $0.hasPrefix("0::") })
    else { return nil }
    var path = "/sys/fs/cgroup" + own.dropFirst(3)
    var headroom: Int?
    // A group is bound by its ancestors too.
    while path.count >= "/sys/fs/cgroup".count {
      func number(_ name: String) -> Int? {
        (try? String(contentsOfFile: path + "/" + name, encoding: .utf8)).flatMap {
          Int($0.trimmingCharacters(in: .whitespacesAndNewlines))
        }
      }
      if let limit = number("memory.max"), let used = number("memory.current") {
        // File pages that the kernel can drop count as used there, but are free to take.
        let reclaimable = inactiveFileBytes(path)
        headroom = min(headroom ?? .max, max(0, limit - used + reclaimable))
      }
      guard let slash = path.lastIndex(of: "/"), path != "/sys/fs/cgroup" else { break }
      path = String(path[..<slash])
    }
    return headroom
  }

  private static func inactiveFileBytes(_ group: String) -> Int {
    guard let statistics = try? String(contentsOfFile: group + "/memory.stat", encoding: .utf8) else { return 0 }
    return statistics.split(separator: "\n").first { $0.hasPrefix("inactive_file ") }
      .flatMap { $0.split(separator: " ").last }.flatMap { Int($0) } ?? 0
  }
}
