import Compute
import Foundation
import ModelFile
import Models
import Parallel
import Tensors

/// Keys and values of a prompt up to its last clip, and of the clips' slow tokens, out of a clip cache.
package struct CachedPrefix {
  private struct Info: Codable {
    var tokens: Int
    var slowTokens: Int
    var clips: [WatchedClip.Info]
  }

  package let tokens: Int
  package let clips: [WatchedClip.Info]
  private let slowTokens: Int
  private let tensors: [String: LoadedTensor]

  /// nil where the entry does not hold what a model of that config needs.
  package init?(_ entry: ClipCache.Entry, config: ModelConfig, type: ScalarType) {
    guard let info = try? JSONDecoder().decode(Info.self, from: Data(entry.info)), (1...config.maximumPositions).contains(info.tokens),
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
      guard let plane = entry.tensors[name]?[.values], plane.byteCount == size else { return nil }
    }
  }

  private static func own(_ layer: Int) -> String { "own.\(layer)" }
  private static func slow(_ layer: Int) -> String { "slow.\(layer)" }

  /// Returns what kept it from being stored, if that is worth telling.
  package static func store(
    _ caches: DecoderCaches, clips: [WatchedClip.Info], in cache: ClipCache, _ key: CacheKey, pool: ThreadPool
  ) -> String? {
    let slowTokens = caches.slow.compactMap { $0?.count }.first ?? 0
    guard let info = try? JSONEncoder().encode(Info(tokens: caches.count, slowTokens: slowTokens, clips: clips)) else { return nil }
    let own = caches.own.enumerated().map { (Self.own($0), $1) }
    let slow = caches.slow.enumerated().compactMap { layer, cache in cache.map { (Self.slow(layer), $0) } }
    return withExtendedLifetime(caches) {
      let parts = (own + slow).filter { $0.1.count > 0 }.map { name, cache in
        ClipCache.Part(name: name, type: cache.type, pieces: cache.runs(cache.count).map { UnsafeRawBufferPointer($0) })
      }
      return cache.store(key, info: Array(info), parts, pool: pool)
    }
  }

  /// Fills the caches of a decoder that has read nothing.
  package func restore(_ caches: inout DecoderCaches, config: ModelConfig, type: ScalarType) throws(ComputeError) {
    for (layer, cache) in caches.own.enumerated() {
      if let bytes = tensors[Self.own(layer)]?[.values]?.bytes { cache.restore(tokens, from: bytes) }
    }
    guard slowTokens > 0 else { return }
    for layer in config.hybrid?.layers ?? [] {
      let cache = try KeyValueCache(
        heads: config.keyValueHeadCount, headDimension: config.headDimension, capacity: slowTokens, type: type)
      if let bytes = tensors[Self.slow(layer)]?[.values]?.bytes { cache.restore(slowTokens, from: bytes) }
      caches.slow[layer] = cache
    }
  }
}
