import Compute
import Foundation
import ModelFile
import Models
import Parallel
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

    /// Whether sums of several can be taken: an entry may have been written by anyone.
    package var isPlausible: Bool {
      let limit = 0...GenerationOptions.tokenLimit
      return [frames, slowTokens, fastTokens, reusedFrames].allSatisfy(limit.contains) && (0...(1 << 40)).contains(report.decodedFrames)
    }
  }

  package var info: Info
  /// nil once the decoder's cache has all that is made of them.
  package var tokens: SlowFastTokens?
}

extension WatchedClip {
  /// From a clip cache; nil where the entry's tensors have not the shapes that the model's have.
  package init?(_ entry: ClipCache.Entry, frames: ClosedRange<Int>, layout: (Int) -> SlowFastLayout, hidden: Int) {
    guard let info = try? JSONDecoder().decode(Info.self, from: Data(entry.info)), info.isPlausible, frames.contains(info.frames) else {
      return nil
    }
    let layout = layout(info.frames)
    guard
      let slow = Self.matrix(entry.tensors["slow"], rows: layout.slowCount, columns: hidden),
      let fast = Self.matrix(entry.tensors["fast"], rows: layout.fastCount, columns: hidden)
    else { return nil }
    self.init(info: info, tokens: SlowFastTokens(slow: slow, fast: fast, frames: layout.frames))
  }

  private static func matrix(_ tensor: LoadedTensor?, rows: Int, columns: Int) -> Matrix? {
    guard let bytes = tensor?[.values]?.bytes, bytes.count == rows * columns * MemoryLayout<Float>.stride,
      let matrix = try? Matrix(rows: rows, columns: columns)
    else { return nil }
    UnsafeMutableRawBufferPointer(matrix.buffer).copyMemory(from: bytes)
    return matrix
  }

  /// For a clip cache.
  package func store(in cache: ClipCache, _ key: CacheKey, pool: ThreadPool) -> String? {
    guard let tokens, let info = try? JSONEncoder().encode(info) else { return nil }
    return withExtendedLifetime(tokens) {
      let parts = [("slow", tokens.slow), ("fast", tokens.fast)].map {
        ClipCache.Part(name: $0.0, type: .float32, pieces: [UnsafeRawBufferPointer($0.1.buffer)])
      }
      return cache.store(key, info: Array(info), parts, pool: pool)
    }
  }
}
