import Compute
import Foundation
import ModelFile
import Models
import Parallel
import Support
import Tensors
import Video

/// A clip that questions are about.
package struct WatchedClip {
  /// What is told of it, also when it comes from a cache.
  package struct Info: Codable {
    package var report: SamplingReport
    package var frames: Int
    package var slowTokens: Int
    package var fastTokens: Int
    package var reusedFrames: Int
    /// Of the whole video; nil where it has no rate.
    package var framesPerSecond: Double?

    /// Whether sums of several can be taken: an entry may have been written by anyone.
    package var isPlausible: Bool {
      let limit = 0...GenerationOptions.tokenLimit
      return [frames, slowTokens, fastTokens, reusedFrames].allSatisfy(limit.contains) && (0...(1 << 40)).contains(report.decodedFrames)
        && framesPerSecond.map { $0.isFinite && $0 > 0 } ?? true
    }
  }

  package var info: Info
  /// nil once the decoder's cache has all that is made of them.
  package var tokens: VisualTokens?
}

/// What is kept of a whole clip: what is told of it, and the names of its frames, which are kept on their own.
package struct KeptClip: Codable {
  package var info: WatchedClip.Info
  /// One for each view of the layout.
  package var views: [String]

  package init(info: WatchedClip.Info, views: [String]) { (self.info, self.views) = (info, views) }

  /// nil where the entry is none of a clip of so many frames.
  package init?(_ entry: ClipEntry, frames: ClosedRange<Int>) {
    guard let kept = try? JSONReader.decode(KeptClip.self, entry.info), kept.info.isPlausible, frames.contains(kept.info.frames) else {
      return nil
    }
    self = kept
  }

  /// For another time. Returns what kept it from being stored.
  package func store(in store: any ClipStore, _ key: CacheKey, pool: ThreadPool) -> String? {
    guard let info = try? JSONEncoder().encode(self) else { return nil }
    return store.store(key, info: Array(info), [], pool: pool)
  }
}

/// Keys and values of a prompt up to its last clip, and of the clips' slow tokens, out of a clip store.
package struct CachedPrefix {
  private struct Info: Codable {
    var tokens: Int
    var slowTokens: Int
    var clips: [WatchedClip.Info]
  }

  package let tokens: Int
  package let clips: [WatchedClip.Info]
  private let slowTokens: Int
  private let tensors: [String: ClipEntry.Tensor]

  /// nil where the entry does not hold what a model of that config needs.
  package init?(_ entry: ClipEntry, config: ModelConfig, type: KeyValueType) {
    guard let info = try? JSONReader.decode(Info.self, entry.info), (1...config.maximumPositions).contains(info.tokens),
      (0...GenerationOptions.tokenLimit).contains(info.slowTokens), info.clips.allSatisfy(\.isPlausible)
    else { return nil }
    (tokens, slowTokens, clips) = (info.tokens, info.slowTokens, info.clips)
    tensors = entry.tensors
    func bytes(_ count: Int) -> Int {
      KeyValueCache.runBytes(heads: config.keyValueHeadCount, headDimension: config.headDimension, count: count, type: type)
    }
    let sizes =
      (0..<config.layerCount).map { (Self.own($0), bytes(info.tokens)) }
      + (info.slowTokens > 0 ? config.hybrid?.layers ?? [] : []).map { (Self.slow($0), bytes(info.slowTokens)) }
    for (name, size) in sizes {
      guard entry.tensors[name]?.byteCount == size else { return nil }
    }
  }

  private static func own(_ layer: Int) -> String { "own.\(layer)" }
  private static func slow(_ layer: Int) -> String { "slow.\(layer)" }

  /// Returns what kept it from being stored, if that is worth telling.
  package static func store(
    _ caches: DecoderCaches, clips: [WatchedClip.Info], in store: any ClipStore, _ key: CacheKey, pool: ThreadPool
  ) -> String? {
    let slowTokens = caches.slow?.count ?? 0
    guard let info = try? JSONEncoder().encode(Info(tokens: caches.count, slowTokens: slowTokens, clips: clips)) else { return nil }
    let own = caches.own.enumerated().map { (Self.own($0), $1) }
    let slow = (caches.slow?.layers ?? []).enumerated().compactMap { layer, cache in cache.map { (Self.slow(layer), $0) } }
    return withExtendedLifetime(caches) {
      let parts = (own + slow).filter { $0.1.count > 0 }.map { name, cache in
        ClipEntry.Part(name: name, type: cache.type.stored, pieces: cache.runs(cache.count).map { UnsafeRawBufferPointer($0) })
      }
      return store.store(key, info: Array(info), parts, pool: pool)
    }
  }

  /// Fills the caches of a conversation that has read nothing.
  package func restore(_ caches: DecoderCaches) {
    for (layer, cache) in caches.own.enumerated() {
      tensors[Self.own(layer)]?.withBytes { cache.restore(tokens, from: $0) }
    }
  }

  /// nil where there were no slow tokens.
  package func slowCaches(config: ModelConfig, type: KeyValueType) throws(ComputeError) -> SlowCaches? {
    guard slowTokens > 0 else { return nil }
    var layers: [KeyValueCache?] = Array(repeating: nil, count: config.layerCount)
    for layer in config.hybrid?.layers ?? [] {
      let cache = try KeyValueCache(
        heads: config.keyValueHeadCount, headDimension: config.headDimension, capacity: slowTokens, type: type)
      tensors[Self.slow(layer)]?.withBytes { cache.restore(slowTokens, from: $0) }
      layers[layer] = cache
    }
    return SlowCaches(layers: layers)
  }
}

extension KeyValueType {
  /// What entries call it: codes and their scales are bytes, of which two are counted as one value.
  var stored: ScalarType { self == .float32 ? .float32 : .float16 }
}
