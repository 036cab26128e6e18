import Foundation
import Models
import Runtime
import Synchronization
import TestSupport
import Testing
import Video

/// Answers about sources that go on.
@Suite struct LiveWatchTests {
  private static let clip =
    URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().path + "/Clips/levels.ts"

  private func watch(_ runner: ModelRunner, every: Double = 0.5, window: Int = 4, ahead: Bool = false) throws -> LiveWatch {
    var options = LiveOptions()
    (options.every, options.window, options.readsAhead) = (every, window, ahead)
    return try runner.watch(try LiveSource(Self.clip), options: options)
  }

  /// The window once all frames of the clip came, 24 of them with one each half second.
  private func lastWindow(_ watch: LiveWatch, frames: Int = 24, of size: Int = 4) async throws -> LiveWindow {
    for await window in watch.windows() where window.number == frames {
      // What waits fills the gaps.
      for _ in 0..<1000 {
        if let window = watch.window, window.number == frames, window.frames.count == size, isWhole(window) { return window }
        try await Task.sleep(for: .milliseconds(10))
      }
    }
    throw CancellationError()
  }

  private func isWhole(_ window: LiveWindow) -> Bool {
    let levels = window.frames.map { Int($0.image.pixels[0]) }
    return zip(levels, levels.dropFirst()).allSatisfy { 4...8 ~= $1 - $0 }
  }

  private func ask(_ conversation: ClipConversation, _ question: String = "What happens?") async throws -> (Answer, RunStatistics) {
    for try await event in conversation.answer(question, options: greedy(6)) {
      if case .finished(let answer, let statistics) = event { return (answer, statistics) }
    }
    throw CancellationError()
  }

  /// As by a runner that never saw a stream: tokens and all.
  @Test(arguments: ["clip", "slowfast-siglip", "onevision-hf", "llava-next-onevision", "smolvlm"])
  func answersAreThoseAboutTheFrames(_ name: String) async throws {
    let runner = try ModelRunner(try VideoLanguageModel(path: Golden.path(name)))
    let watch = try watch(runner)
    let window = try await lastWindow(watch)
    // What is kept for it goes with it.
    defer { watch.stop() }
    let (answer, statistics) = try await ask(runner.conversation(about: [.live(window)]))
    // Each went through the tower when it came.
    #expect(statistics.encodedFrames == 0 && statistics.cachedFrames == 4)
    let fresh = try ModelRunner(try VideoLanguageModel(path: Golden.path(name)))
    let (other, plain) = try await ask(fresh.conversation(about: [.frames(window.frames.map(\.image))]))
    #expect(plain.encodedFrames == 4 && answer.tokens == other.tokens && answer.text == other.text)
  }

  /// The prompt is read when nobody asks, and then the first question finds it read.
  @Test(arguments: [true, false]) func promptsAreReadAhead(_ onDisk: Bool) async throws {
    let directory = try TemporaryDirectory()
    var options = SessionOptions()
    if onDisk { options.clipCache = ClipCacheOptions(directory: directory.file("cache"), limit: 64 << 20) }
    let runner = try ModelRunner(try VideoLanguageModel(path: Golden.path("clip")), options: options)
    let watch = try watch(runner, ahead: true)
    _ = try await lastWindow(watch)
    var found = RunStatistics()
    for _ in 0..<15_000 where found.cachedPromptTokens == 0 {
      try await Task.sleep(for: .milliseconds(20))
      let window = try #require(watch.window)
      found = try await ask(runner.conversation(about: [.live(window)])).1
    }
    #expect(found.cachedPromptTokens > 0 && found.encodedFrames == 0)
    // A stream is not written to a disk.
    #expect((try? FileManager.default.contentsOfDirectory(atPath: directory.file("cache")))?.filter { $0.hasSuffix(".clip") } ?? [] == [])
  }

  /// Frames, and no prompts, on a disk: no more than windows need, and none when nothing is watched.
  @Test(arguments: ["clip", "onevision-hf"]) func framesOnADisk(_ name: String) async throws {
    let directory = try TemporaryDirectory()
    let cache = directory.file("streams")
    var options = SessionOptions()
    options.streamCache = cache
    let model = try VideoLanguageModel(path: Golden.path(name))
    let runner = try ModelRunner(model, options: options)
    func files() throws -> [URL] {
      try FileManager.default.contentsOfDirectory(at: URL(fileURLWithPath: cache), includingPropertiesForKeys: [.fileSizeKey])
        .filter { $0.lastPathComponent != ".lock" }
    }
    var watch: LiveWatch? = try watch(runner, window: 2, ahead: true)
    let limit = try #require(runner.context.liveFrames?.limit)
    let window = try await lastWindow(#require(watch), of: 2)
    // Prompts are read ahead and kept, in memory.
    let (answer, statistics) = try await ask(runner.conversation(about: [.live(window)]))
    #expect(statistics.encodedFrames == 0)
    #expect(try files().allSatisfy { $0.pathExtension == "frames" } && (2..<24).contains(files().count))
    #expect(try files().reduce(0) { try $0 + ($1.resourceValues(forKeys: [.fileSizeKey]).fileSize ?? 0) } <= limit)
    let fresh = try await ask(try ModelRunner(model).conversation(about: [.frames(window.frames.map(\.image))]))
    #expect(fresh.1.encodedFrames == 2 && fresh.0.tokens == answer.tokens)
    var second: LiveWatch? = try self.watch(runner, window: 2)
    #expect(runner.context.liveFrames?.limit == 2 * limit)
    second?.stop()
    second = nil
    watch?.stop()
    watch = nil
    for _ in 0..<500 where runner.context.liveFrames?.limit != 0 { try await Task.sleep(for: .milliseconds(20)) }
    #expect(try runner.context.liveFrames?.limit == 0 && files().isEmpty)
    options.clipCache = ClipCacheOptions(directory: cache + "/../streams")
    #expect(failure { _ = try ModelRunner(model, options: options) }?.option == "streamCache")
  }

  @Test func fewerOfItsFrames() async throws {
    let runner = try ModelRunner(try VideoLanguageModel(path: Golden.path("clip")))
    let watch = try watch(runner)
    defer { watch.stop() }
    let window = try await lastWindow(watch).suffix(2)
    let (answer, statistics) = try await ask(runner.conversation(about: [.live(window)]))
    #expect(statistics.frames == 2 && statistics.encodedFrames == 0 && !answer.tokens.isEmpty)
    #expect(window.suffix(0).frames.count == 1)
  }

  /// The newest window stays good, and what was kept for the watch goes.
  @Test func stopping() async throws {
    let runner = try ModelRunner(try VideoLanguageModel(path: Golden.path("clip")))
    var watches = try (0..<5).map { _ in try watch(runner) }
    let window = try await lastWindow(watches[0])
    #expect(runner.context.liveStore.byteCount > 0)
    let followed = Task { [watch = watches[1]] in for await _ in watch.windows() {} }
    watches[1].stop()
    await followed.value
    watches = []
    #expect(runner.context.liveStore.limit == 0)
    let statistics = try await ask(runner.conversation(about: [.live(window)])).1
    #expect(statistics.frames == 4 && statistics.encodedFrames == 4 && runner.context.liveStore.byteCount == 0)
  }

  /// A recording that is taken away is told, and the next one of its name is watched.
  @Test func aFileThatIsReplaced() async throws {
    let directory = try TemporaryDirectory()
    let file = directory.file("recording.ts")
    try FileManager.default.copyItem(atPath: Self.clip, toPath: file)
    let runner = try ModelRunner(try VideoLanguageModel(path: Golden.path("clip")))
    var options = LiveOptions()
    (options.every, options.window, options.readsAhead) = (0.5, 4, false)
    let watch = try runner.watch(try LiveSource(file), options: options)
    defer { watch.stop() }
    func wait(_ condition: () -> Bool) async throws {
      for _ in 0..<3000 where !condition() { try await Task.sleep(for: .milliseconds(20)) }
      #expect(condition(), "\(watch.status)")
    }
    try await wait { watch.status.frames == 24 }
    try FileManager.default.removeItem(atPath: file)
    try await wait { watch.status.state == .waiting && watch.status.problem != nil }
    try FileManager.default.copyItem(atPath: Self.clip, toPath: file)
    try await wait { watch.status.frames == 48 }
    #expect(watch.status.connections == 2 && watch.status.problem == nil)
    // What will never be a video is told at once.
    let picture = directory.file("picture.ts")
    try Data([0xFF, 0xD8, 0xFF, 0xE0]).write(to: URL(fileURLWithPath: picture))
    #expect(failure { _ = try runner.watch(try LiveSource(picture)) }?.isA(.invalidClip, "a picture, expected a video") == true)
  }

  @Test func optionsOutOfRange() throws {
    let runner = try ModelRunner(try VideoLanguageModel(path: Golden.path("clip")))
    for every in [0, -1, .infinity, .nan, 3601] { #expect(failure { _ = try watch(runner, every: every) }?.option == "every") }
    for window in [0, -1, 1 << 20] { #expect(failure { _ = try watch(runner, window: window) }?.option == "window") }
    #expect(failure { _ = try watch(runner, window: 65_536) }.map { [.promptTooLong, .invalidOption].contains($0.kind) } == true)
  }

  /// A source that is not there is tried again, and what is wrong is known.
  @Test func nothingToSee() async throws {
    let runner = try ModelRunner(try VideoLanguageModel(path: Golden.path("clip")))
    let watch = try runner.watch(try LiveSource("rtsp://me:secret@127.0.0.1:1/none"))
    for _ in 0..<15_000 where watch.status.problem == nil { try await Task.sleep(for: .milliseconds(20)) }
    #expect(watch.status.problem == "cannot be read: Connection refused" && watch.status.state == .waiting)
    #expect(watch.window == nil && watch.status.age == nil && watch.status.connections == 0)
  }
}

/// What a model sees of its own pixels is what they are: frames of streams are kept as it sees them.
@Suite struct SeenPixelsTests {
  @Test(arguments: ["clip", "slowfast-siglip", "slowfast-clip", "onevision-hf", "llava-next-onevision", "smolvlm"])
  func pixelsOfPixels(_ name: String) throws {
    let preprocessing = try Preprocessing(try VideoLanguageModel(path: Golden.path(name)).config.pixels)
    for (width, height) in [(640, 360), (97, 301), (64, 64), (33, 1)] {
      let seen = preprocessing.pixels(try picture(7, width: width, height: height))
      #expect(seen.width == preprocessing.size && seen.height == preprocessing.size)
      #expect(preprocessing.pixels(seen).pixels == seen.pixels)
    }
  }
}
