import Foundation
import Models
import Parallel
import Runtime
import Testing
import Video

/// Clips that are kept in memory: the same as on disk, and within the limit.
@Suite struct ClipMemoryTests {
  private let pool = ThreadPool(threadCount: 1)

  private func key(_ number: Int) -> CacheKey { .prefix(text: [Int32(number)], clips: [], cacheType: .float16) }

  /// Of the one row "values": bytes that all have that value.
  private func store(_ store: MemoryClipStore, _ number: Int, _ value: UInt8, count: Int) -> String? {
    [UInt8](repeating: value, count: count).withUnsafeBytes { all in
      let half = all.count / 2
      let part = ClipEntry.Part(
        name: "values", type: .float16,
        pieces: [UnsafeRawBufferPointer(rebasing: all[..<half]), UnsafeRawBufferPointer(rebasing: all[half...])])
      return store.store(key(number), info: [value], [part], pool: pool)
    }
  }

  private func found(_ store: MemoryClipStore, _ number: Int) -> [UInt8]? {
    guard case .found(let entry) = store.lookup(key(number), pool: pool) else { return nil }
    return entry.info + (entry.tensors["values"]?.withBytes { Array($0) } ?? [])
  }

  /// The bytes are copies, of all pieces in their order.
  @Test func entriesOutliveWhatTheyWereMadeOf() {
    let kept = MemoryClipStore(limit: 1 << 20)
    #expect(found(kept, 1) == nil)
    #expect(store(kept, 1, 7, count: 1000) == nil && store(kept, 2, 9, count: 10) == nil)
    #expect(found(kept, 1) == [UInt8](repeating: 7, count: 1001) && found(kept, 2) == [UInt8](repeating: 9, count: 11))
    // In place of what was there.
    #expect(store(kept, 1, 8, count: 4) == nil)
    #expect(found(kept, 1) == [UInt8](repeating: 8, count: 5))
  }

  @Test func theOldestGoesFirst() {
    let kept = MemoryClipStore(limit: 3600)
    for number in 1...3 { #expect(store(kept, number, 1, count: 1000) == nil) }
    #expect(found(kept, 1) != nil)
    #expect(store(kept, 4, 1, count: 1000) == nil)
    #expect(found(kept, 1) != nil && found(kept, 2) == nil && found(kept, 3) != nil && found(kept, 4) != nil)
    #expect(kept.byteCount <= 3600 && kept.byteCount > 3000)
    // What does not fit pushes nothing out, and is told.
    #expect(store(kept, 5, 1, count: 4000)?.contains("not kept") == true)
    #expect(found(kept, 1) != nil && found(kept, 4) != nil && found(kept, 5) == nil)
    #expect(store(kept, 6, 1, count: 3500) == nil)
    #expect(found(kept, 1) == nil && found(kept, 6) != nil && kept.byteCount <= 3600)
  }

  /// A session that keeps clips in memory answers as one that keeps none, and encodes a clip once.
  @Test(arguments: ["clip", "image"], SlowAttention.allCases)
  func aClipAgain(name: String, attention: SlowAttention) throws {
    var options = SessionOptions()
    options.slowAttention = attention
    let model = try VideoLanguageModel(path: Golden.path(name))
    let plain = try Session(model, options: options)
    options.clipMemory = 64 << 20
    let keeping = try Session(model, options: options)
    let clips = [ClipSource.frames(try (0..<3).map { try picture($0) }), .frames(try (3..<6).map { try picture($0) })]
    for (round, clip) in [clips[0], clips[1], clips[0]].enumerated() {
      for session in [plain, keeping] { try session.watch([clip], sampling: SamplingRequest(frames: 3)) }
      #expect(keeping.statistics.encodedFrames == (round < 2 ? 3 : 0) && keeping.statistics.cachedFrames == (round < 2 ? 0 : 3))
      for question in ["What happens?", "And then?"] {
        #expect(try keeping.ask(question, options: greedy(6)) == plain.ask(question, options: greedy(6)))
      }
      for session in [plain, keeping] { session.startOver() }
      #expect(try keeping.ask("What else?", options: greedy(6)) == plain.ask("What else?", options: greedy(6)))
      #expect(keeping.statistics.warnings.isEmpty)
    }
  }

  @Test func noRoom() throws {
    var options = SessionOptions()
    let model = try VideoLanguageModel(path: Golden.path("clip"))
    options.clipMemory = 1000
    let session = try Session(model, options: options)
    try session.watch([.frames([try picture(1)])], sampling: SamplingRequest(frames: 1))
    #expect(session.statistics.warnings.contains { $0.contains("not kept") })
    #expect(try session.ask("What?", options: greedy(3)).tokens.count == 3)
    options.clipMemory = 0
    #expect(failure { _ = try Session(model, options: options) }?.isA(.invalidOption, "memory") == true)
  }
}
