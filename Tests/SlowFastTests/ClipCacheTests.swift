import Compute
import Foundation
import Models
import Parallel
import Runtime
import Synchronization
import TestSupport
import Testing
import Video

/// Calls so far, from any thread.
final class Counter: Sendable {
  private let count = Atomic(0)
  func next() -> Int { count.wrappingAdd(1, ordering: .relaxed).newValue }
}

/// What a clip cache keeps, and what it must not.
@Suite struct ClipCacheTests {
  private let directory: TemporaryDirectory
  private let cache: String

  init() throws {
    directory = try TemporaryDirectory()
    cache = directory.file("cache")
  }

  private func session(
    _ name: String = "clip", limit: Int = ClipCacheOptions.defaultLimit, reuse: Double = 0, attention: SlowAttention = .prompt
  ) throws -> Session {
    var options = SessionOptions()
    options.clipCache = ClipCacheOptions(directory: cache, limit: limit)
    options.reuse = reuse
    options.slowAttention = attention
    return try Session(try VideoLanguageModel(path: name.contains("/") ? name : Golden.path(name)), options: options)
  }

  private func clip(_ seed: Int, frames: Int = 3) throws -> ClipSource { .frames(try (0..<frames).map { try picture(seed * 10 + $0) }) }

  private func watch(_ session: Session, _ sources: [ClipSource]) throws {
    try session.watch(sources, sampling: SamplingRequest(frames: 3))
  }

  private func entries() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: cache).filter { $0.hasSuffix(".clip") || $0.hasSuffix(".frames") }.sorted()
  }

  private func bytes() throws -> Int {
    try entries().reduce(0) { $0 + (try Data(contentsOf: URL(fileURLWithPath: "\(cache)/\($1)"))).count }
  }

  /// A conversation that is begun anew keeps the prompt up to the clip, which is in the decoder's cache only.
  @Test(arguments: SlowAttention.allCases)
  func startingOver(attention: SlowAttention) throws {
    for _ in 0..<2 {
      let session = try session("clip", attention: attention)
      try watch(session, [clip(1)])
      let first = try session.ask("What happens?", options: greedy(6))
      let second = try session.ask("And then?", options: greedy(6))
      session.startOver()
      #expect(try session.ask("What happens?", options: greedy(6)) == first)
      #expect(try session.ask("And then?", options: greedy(6)) == second)
      // The text after the clip alone.
      session.startOver()
      _ = try session.ask("What happens?", options: greedy(6))
      #expect(session.statistics.promptTokens < 40 && session.statistics.cachedPromptTokens == 0)
    }
  }

  /// A conversation that begins with what a cache has goes as the one that filled it, in every way of reading the slow tokens.
  @Test(arguments: ["clip", "vanilla", "strides", "image"], SlowAttention.allCases)
  func conversationsAreTheSame(name: String, attention: SlowAttention) throws {
    let questions = ["What happens?", "And then?"]
    let first = try session(name, attention: attention)
    try watch(first, [clip(1)])
    let answers = try questions.map { try first.ask($0, options: greedy(6)) }
    #expect(first.statistics.cachedFrames == 0)
    // Frames, the clip and the prompt up to it.
    #expect(try entries().count == 3)

    let second = try session(name, attention: attention)
    try watch(second, [clip(1)])
    #expect(second.statistics.cachedFrames == 3 && second.statistics.encodedFrames == 0 && second.statistics.times.tower == 0)
    #expect(
      second.statistics.slowTokens == first.statistics.slowTokens && second.samplingReports[0].frames == first.samplingReports[0].frames)
    let again = try second.ask(questions[0], options: greedy(6))
    #expect(second.statistics.cachedPromptTokens > second.statistics.fastTokens && second.statistics.promptTokens < 40)
    #expect(try [again, second.ask(questions[1], options: greedy(6))] == answers)
    // Another question about the same clip.
    let third = try session(name, attention: attention)
    try watch(third, [clip(1)])
    let fresh = try Session(
      first.model,
      options: {
        var options = SessionOptions()
        options.slowAttention = attention
        return options
      }())
    try watch(fresh, [clip(1)])
    #expect(try third.ask("Why so?", options: greedy(6)).tokens == fresh.ask("Why so?", options: greedy(6)).tokens)
  }

  /// The features of a clip that nothing was asked about are there: only the tower is spared.
  @Test func watchedAndNotAsked() throws {
    try watch(session(), [clip(1)])
    #expect(try entries().count == 2)
    let second = try session()
    try watch(second, [clip(1)])
    #expect(second.statistics.cachedFrames == 3 && second.statistics.encodedFrames == 0 && second.statistics.cachedPromptTokens == 0)
    let plain = try Session(second.model)
    try watch(plain, [clip(1)])
    #expect(try second.ask("What?", options: greedy(5)).tokens == plain.ask("What?", options: greedy(5)).tokens)
  }

  /// Of two clips one is known.
  @Test func severalClips() throws {
    try watch(session(), [clip(1)])
    let both = try session()
    try watch(both, [clip(1), clip(2)])
    #expect(both.statistics.cachedFrames == 3 && both.statistics.encodedFrames == 3)
    let answer = try both.ask("What?", options: greedy(5))
    let again = try session()
    try watch(again, [clip(1), clip(2)])
    #expect(again.statistics.cachedFrames == 6)
    #expect(try again.ask("What?", options: greedy(5)) == answer)
    // In the other order it is another prompt, of the same features.
    let turned = try session()
    try watch(turned, [clip(2), clip(1)])
    #expect(turned.statistics.cachedFrames == 6 && turned.statistics.encodedFrames == 0)
    #expect(try turned.ask("What?", options: greedy(5)).tokens.count == 5 && turned.statistics.cachedPromptTokens == 0)
  }

  /// Whatever changes what is computed makes another entry.
  @Test func keysTellApart() throws {
    func isKnown(_ session: Session, _ sources: [ClipSource], _ request: SamplingRequest) throws -> Bool {
      try session.watch(sources, sampling: request)
      #expect(session.statistics.times.decode > 0 || session.statistics.encodedFrames == 0)
      return session.statistics.times.decode == 0
    }
    let film = try ClipSource(path: Golden.clip)
    let request = SamplingRequest(frames: 3)
    #expect(try !isKnown(session(), [film], request))
    #expect(try isKnown(session(), [film], request))
    #expect(try !isKnown(session(), [film], SamplingRequest(frames: 4)))
    #expect(try !isKnown(session(), [film], SamplingRequest(frames: 3, start: 1)))
    #expect(try !isKnown(session(), [film], SamplingRequest(frames: 3, end: 2)))
    #expect(try !isKnown(session("vanilla"), [film], request))
    #expect(try !isKnown(session(reuse: 0.3), [film], request))
    #expect(try !isKnown(session(convert("clip", bits: 8, to: directory)), [film], request))
    // The name counts for nothing, the content for everything.
    let copy = directory.file("copy.mp4")
    try FileManager.default.copyItem(atPath: Golden.clip, toPath: copy)
    #expect(try isKnown(session(), [ClipSource(path: copy)], request))
    let handle = try #require(FileHandle(forWritingAtPath: copy))
    try handle.seekToEnd()
    try handle.write(contentsOf: Data([0]))
    try handle.close()
    #expect(try !isKnown(session(), [ClipSource(path: copy)], request))
  }

  /// A bit anywhere in an entry: it is told, and made anew.
  @Test(arguments: [3, 5000, -200]) func damagedEntries(place: Int) throws {
    let first = try session()
    try watch(first, [clip(1)])
    let answer = try first.ask("What?", options: greedy(5))
    for name in try entries() {
      var bytes = try Data(contentsOf: URL(fileURLWithPath: "\(cache)/\(name)"))
      bytes[place < 0 ? bytes.count + place : min(place, bytes.count / 3)] ^= 4
      try bytes.write(to: URL(fileURLWithPath: "\(cache)/\(name)"))
    }
    let second = try session()
    try watch(second, [clip(1)])
    let again = try second.ask("What?", options: greedy(5))
    #expect(again == answer)
    #expect(second.statistics.warnings.count == 3 && second.statistics.warnings.allSatisfy { $0.contains("damaged") && $0.contains(cache) })
    // Frames before the damage are sound.
    #expect((1...3).contains(second.statistics.encodedFrames) && second.statistics.encodedFrames + second.statistics.cachedFrames == 3)
    let third = try session()
    try watch(third, [clip(1)])
    #expect(third.statistics.cachedFrames == 3 && third.statistics.warnings.isEmpty)
  }

  /// An entry whose text is no strict JSON is none, though its checksums are right.
  @Test func entriesThatAreNoStrictJSON() throws {
    let good =
      #"{"views": ["a"], "info": {"report": {"decoded_frames": 3, "rotation": 0, "frames": [], "warnings": []}, "frames": 1, "#
      + #""slowTokens": 0, "fastTokens": 4, "reusedFrames": 0, "framesPerSecond": 29.97}}"#
    func isRead(_ text: String) -> Bool { KeptClip(ClipEntry(info: Array(text.utf8), tensors: [:]), frames: 1...8) != nil }
    #expect(isRead(good))
    let nested = String(repeating: "[", count: 200) + String(repeating: "]", count: 200)
    for (old, new) in [
      ("\"fastTokens\": 4", "\"fastTokens\": 4, \"fastTokens\": 4"), ("29.97", "NaN"), ("29.97", "-1"),
      ("\"frames\": 1", "\"frames\": \"1\""),
      ("\"rotation\": 0", "\"rotation\": 0, \"more\": \(nested)"), ("\"rotation\": 0,", ""), ("29.97}}", "29.97}}}"),
      ("{\"report\"", "[\"report\""), ("\"a\"", "1"),
    ] {
      #expect(good.contains(old) && !isRead(good.replacing(old, with: new)), "\(new.prefix(40))")
    }
  }

  @Test func cutEntries() throws {
    let first = try session()
    try watch(first, [clip(1)])
    let answer = try first.ask("What?", options: greedy(5))
    for name in try entries() {
      try Data(contentsOf: URL(fileURLWithPath: "\(cache)/\(name)")).prefix(700).write(to: URL(fileURLWithPath: "\(cache)/\(name)"))
    }
    let second = try session()
    try watch(second, [clip(1)])
    #expect(second.statistics.warnings.count == 3 && second.statistics.encodedFrames == 3)
    #expect(try second.ask("What?", options: greedy(5)) == answer)
  }

  /// The directory stays within its limit, and what was used last stays in it.
  @Test func theLimitHolds() throws {
    let first = try session()
    try watch(first, [clip(1)])
    let one = try bytes()
    // Room for three, and for what storing one reserves beside it.
    let limit = 3 * one + (28 << 10)
    for seed in 2...5 {
      // Times of files tell which was used last.
      usleep(20_000)
      try watch(session(limit: limit), [clip(1)])
      usleep(20_000)
      try watch(session(limit: limit), [clip(seed)])
      #expect(try bytes() <= limit)
    }
    let kept = try session(limit: limit)
    try watch(kept, [clip(1)])
    #expect(kept.statistics.cachedFrames == 3)
    let gone = try session(limit: limit)
    try watch(gone, [clip(2)])
    #expect(gone.statistics.cachedFrames == 0)

    let tiny = try session(limit: 1000)
    try watch(tiny, [clip(9)])
    #expect(tiny.statistics.warnings.contains { $0.contains("not kept") })
    #expect(try tiny.ask("What?", options: greedy(3)).tokens.count == 3)
  }

  /// What a process left that was killed goes when room is made; what another one is writing stays.
  @Test func abandonedFilesGo() throws {
    try watch(session(), [clip(1)])
    let name = { (digit: Character) in String(repeating: digit, count: 32) + ".clip.partial" }
    let abandoned = "\(cache)/\(name("0"))"
    let busy = "\(cache)/\(name("1"))"
    for path in [abandoned, abandoned + ".journal", busy] { try Data([1]).write(to: URL(fileURLWithPath: path)) }
    let descriptor = open(busy, O_RDWR)
    defer { close(descriptor) }
    #expect(flock(descriptor, LOCK_EX) == 0)
    try watch(session(), [clip(2)])
    let names = try FileManager.default.contentsOfDirectory(atPath: cache)
    #expect(!names.contains { $0.hasPrefix("00") } && names.contains(name("1")))
  }

  /// Whatever a user's own files are called.
  @Test func filesOfOthersStay() throws {
    try watch(session(), [clip(1)])
    let others = ["holiday.clip", "holiday.clip.partial", "old.frames"]
    for name in others { try Data(count: 5000).write(to: URL(fileURLWithPath: "\(cache)/\(name)")) }
    var names: [String] { (try? FileManager.default.contentsOfDirectory(atPath: cache)) ?? [] }
    #expect(names.count > others.count + 1)
    _ = try ClipCache(emptying: cache)
    #expect(Set(names) == Set(others + [".lock"]))
  }

  /// Keys and values of other weights would be found again as this model's.
  @Test func aModelThatChangesWhileThePromptIsRead() throws {
    let copy = directory.file("checkpoint")
    try FileManager.default.copyItem(atPath: Golden.path("clip"), toPath: copy)
    let session = try session(copy)
    try watch(session, [clip(1)])
    let before = try entries()
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: copy + "/model.safetensors"))
    let length = try file.seekToEnd()
    let error = failure {
      _ = try session.ask(
        "What?", options: greedy(5),
        isCancelled: {
          pwrite(file.fileDescriptor, [0], 1, off_t(length - 1))
          return false
        })
    }
    #expect(error?.isA(.modelChanged) == true, "\(error as Any)")
    #expect(try entries() == before)
  }

  /// What was found stays what it was, whatever becomes of its file.
  @Test func anEntryThatIsCut() throws {
    let store = try ClipCache(ClipCacheOptions(directory: cache))
    let pool = ThreadPool(threadCount: 2)
    let key = CacheKey.prefix(text: [1], clips: [], cacheType: .float16)
    let values = [UInt8](repeating: 7, count: 1 << 20)
    let problem = values.withUnsafeBytes {
      store.store(key, info: [1], [ClipEntry.Part(name: "a", type: .float16, pieces: [$0])], pool: pool)
    }
    #expect(problem == nil)
    guard case .found(let entry) = store.lookup(key, pool: pool), let tensor = entry.tensors["a"] else {
      Issue.record("not found")
      return
    }
    for name in try entries() { truncate("\(cache)/\(name)", 0) }
    #expect(tensor.withBytes { $0.elementsEqual(values) })
  }

  /// A question that was stopped while the prompt was read leaves nothing behind but the features.
  @Test func cancelledWhileReading() throws {
    let stopped = try session()
    try watch(stopped, [clip(1)])
    guard failure({ _ = try stopped.ask("What?", options: greedy(5), isCancelled: { true }) })?.isA(.cancelled) == true else {
      Issue.record("expected cancelled")
      return
    }
    #expect(try entries().count == 2)
    let plain = try Session(stopped.model)
    try watch(plain, [clip(1)])
    #expect(try stopped.ask("What?", options: greedy(5)).tokens == plain.ask("What?", options: greedy(5)).tokens)
    #expect(try entries().count == 3)
  }

  @Test func directoriesOfNoUse() throws {
    let path = directory.file("file")
    try Data([1]).write(to: URL(fileURLWithPath: path))
    var options = SessionOptions()
    options.clipCache = ClipCacheOptions(directory: path)
    let model = try VideoLanguageModel(path: Golden.path("vanilla"))
    guard failure({ _ = try Session(model, options: options) })?.isA(.invalidFile, path) == true else {
      Issue.record("expected cannotCache")
      return
    }
    options.clipCache = ClipCacheOptions(directory: cache, limit: 0)
    guard failure({ _ = try Session(model, options: options) })?.isA(.invalidOption, "clipCache.limit") == true else {
      Issue.record("expected badOption")
      return
    }
  }
}
