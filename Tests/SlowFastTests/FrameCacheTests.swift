import Foundation
import Models
import Runtime
import TestSupport
import Testing
import Video

/// Frames that are kept by what they show: whatever of them comes from a store, tokens and answers are those of a fresh run, to the bit.
@Suite struct FrameCacheTests {
  private let directory: TemporaryDirectory
  private let cache: String
  private static let names = [
    "clip", "strides", "vanilla", "slowfast-siglip", "onevision-hf", "llava-next-onevision", "smolvlm", "4 bits",
  ]

  init() throws {
    directory = try TemporaryDirectory()
    cache = directory.file("cache")
  }

  private func model(_ name: String) throws -> VideoLanguageModel {
    try VideoLanguageModel(path: name == "4 bits" ? convert("clip", bits: 4, to: directory) : Golden.path(name))
  }

  private func options(onDisk: Bool, limit: Int = 256 << 20, bits: Int? = nil) -> SessionOptions {
    var options = SessionOptions()
    if onDisk { options.clipCache = ClipCacheOptions(directory: cache, limit: limit) } else { options.clipMemory = limit }
    options.cacheBits = bits
    return options
  }

  /// The same without a store.
  private func fresh(_ options: SessionOptions) -> SessionOptions {
    var options = options
    (options.clipCache, options.clipMemory) = (nil, nil)
    return options
  }

  /// All bytes of the clips' tokens.
  private func tokens(_ session: Session) throws -> [[UInt8]] {
    try session.conversation.clips.flatMap { clip -> [[UInt8]] in
      let tokens = try #require(clip.tokens)
      return withExtendedLifetime(tokens) { [Array(tokens.slow.bytes), Array(UnsafeRawBufferPointer(tokens.fast.buffer))] }
    }
  }

  /// Watches with and without a store, and asks; all must be the same. Returns the statistics of the one with the store.
  private func compare(_ keeping: Session, _ source: ClipSource, _ request: SamplingRequest) throws -> RunStatistics {
    let plain = try Session(keeping.model, options: fresh(keeping.options))
    for session in [plain, keeping] { try session.watch([source], sampling: request) }
    // They are not needed where the prompt up to them is known.
    if keeping.statistics.cachedPromptTokens == 0, keeping.conversation.clips[0].tokens != nil {
      #expect(try tokens(keeping) == tokens(plain))
    }
    #expect(keeping.samplingReports[0].frames == plain.samplingReports[0].frames)
    let statistics = keeping.statistics
    #expect(statistics.frames == plain.statistics.frames && statistics.fastTokens == plain.statistics.fastTokens)
    for question in ["What happens?", "And then?"] {
      #expect(try keeping.ask(question, options: greedy(4)) == plain.ask(question, options: greedy(4)))
    }
    return statistics
  }

  private func packs() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: cache).filter { $0.hasSuffix(".frames") }.map { "\(cache)/\($0)" }.sorted()
  }

  /// Other numbers of frames, ranges and windows that overlap, each of the same film.
  @Test(arguments: names.map { ($0, false) } + [("clip", true), ("onevision-hf", true)])
  func otherRanges(name: String, onDisk: Bool) throws {
    let keeping = try Session(try model(name), options: options(onDisk: onDisk))
    let film = try ClipSource(path: Golden.clip)
    let rule = keeping.model.defaultSampling.rule
    var known: Set<Int> = []
    let windows: [(Int, Double?, Double?)] = [(6, nil, nil), (4, nil, nil), (4, 0.5, 2), (5, 1, 2.4), (6, nil, nil)]
    for (frames, start, end) in windows {
      let statistics = try compare(keeping, film, SamplingRequest(frames: frames, rule: rule, start: start, end: end))
      let indices = keeping.samplingReports[0].frames.map(\.index)
      let new = Set(indices).subtracting(known)
      known.formUnion(indices)
      // Frames of a film differ, but for what stands still.
      #expect(statistics.encodedFrames <= new.count && statistics.encodedFrames + statistics.cachedFrames <= statistics.frames)
      #expect(statistics.encodedFrames > 0 || statistics.times.loadVision == 0 && statistics.times.tower == 0)
      #expect(statistics.warnings.isEmpty)
    }
    #expect(keeping.statistics.encodedFrames == 0 && keeping.statistics.cachedFrames == 6)
  }

  /// What is kept is found by another session, for clips that begin alike, and in other bits not at all.
  @Test(arguments: [nil, 8, 16, 32]) func clipsThatBeginAlike(bits: Int?) throws {
    let images = try (0..<7).map { try picture($0) }
    let model = try model("4 bits")
    func statistics(_ shown: [RGBImage]) throws -> RunStatistics {
      try compare(Session(model, options: options(onDisk: true, bits: bits)), .frames(shown), SamplingRequest(frames: 8))
    }
    #expect(try statistics(Array(images[..<4])).encodedFrames == 4)
    let longer = try statistics(images)
    #expect(longer.encodedFrames == 3 && longer.cachedFrames == 4)
    // In any order.
    let turned = try statistics(images.reversed())
    #expect(turned.encodedFrames == 0 && turned.cachedFrames == 7 && turned.times.loadVision == 0)
    let other = try Session(model, options: options(onDisk: true, bits: bits == 8 ? 16 : 8))
    try other.watch([.frames(images)], sampling: SamplingRequest(frames: 8))
    #expect(other.statistics.encodedFrames == 7)
  }

  /// A picture that comes several times in one clip goes through the tower once, as far as frames are compared.
  @Test func framesThatComeAgain() throws {
    let images = try [1, 2, 1, 1, 3, 2].map { try picture($0) }
    let keeping = try Session(try model("vanilla"), options: options(onDisk: false))
    let first = try compare(keeping, .frames(images), SamplingRequest(frames: 6))
    // The fourth shows what the third did.
    #expect(first.encodedFrames == 3 && first.reusedFrames == 1 && first.cachedFrames == 2)
    let more = try compare(keeping, .frames(try images + [picture(3), picture(4)]), SamplingRequest(frames: 8))
    #expect(more.encodedFrames == 1 && more.reusedFrames == first.reusedFrames)
  }

  /// More frames than are kept together, of which a clip that was left off has some.
  @Test(arguments: [false, true]) func whatWasLeftOffGoesOn(onDisk: Bool) throws {
    let images = try (0..<70).map { try picture($0) }
    let keeping = try Session(try model("vanilla"), options: options(onDisk: onDisk))
    let asked = Counter()
    // Asked before each block of the tower too.
    let error = failure {
      try keeping.watch([.frames(images)], sampling: SamplingRequest(frames: 70), isCancelled: { asked.next() > 40 })
    }
    #expect(error?.isA(.cancelled) == true)
    let rest = try compare(keeping, .frames(images), SamplingRequest(frames: 70))
    #expect(rest.encodedFrames < 70 && rest.cachedFrames > 0 && rest.encodedFrames + rest.cachedFrames == 70)
    if onDisk { #expect(try packs().count == (rest.encodedFrames > 64 ? 3 : 2)) }
    #expect(try compare(keeping, .frames(images), SamplingRequest(frames: 70)).encodedFrames == 0)
  }

  /// A pack that is damaged, wherever, is told once and made anew; one that is gone, only made anew.
  @Test(arguments: [3, 4200, -200, 0]) func damagedPacks(place: Int) throws {
    let images = try (0..<4).map { try picture($0) }
    let model = try model("clip")
    func statistics(_ count: Int) throws -> RunStatistics {
      try compare(Session(model, options: options(onDisk: true)), .frames(Array(images[..<count])), SamplingRequest(frames: 4))
    }
    #expect(try statistics(4).encodedFrames == 4)
    let path = try #require(try packs().first)
    if place == 0 {
      try FileManager.default.removeItem(atPath: path)
    } else {
      var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
      bytes[place < 0 ? bytes.count + place : place] ^= 4
      try bytes.write(to: URL(fileURLWithPath: path))
    }
    // Neither the clip nor the prompt up to it is known.
    let again = try statistics(3)
    #expect(again.warnings.count == (place == 0 ? 0 : 1) && again.warnings.allSatisfy { $0.contains("damaged") && $0.contains(path) })
    #expect(again.encodedFrames > 0 && again.encodedFrames + again.cachedFrames == 3)
    #expect(try statistics(3).warnings.isEmpty && statistics(2).encodedFrames == 0)
  }

  /// A clip of frames that are gone is decoded again, and those that are left serve it.
  @Test func theLimitTakesTheOldest() throws {
    let images = try (0..<12).map { try picture($0) }
    let model = try model("clip")
    let keeping = try Session(model, options: options(onDisk: false))
    try keeping.watch([.frames(Array(images[..<4]))], sampling: SamplingRequest(frames: 4))
    let one = try #require(keeping.context.store as? MemoryClipStore).byteCount
    let small = try Session(model, options: options(onDisk: false, limit: 2 * one))
    let request = SamplingRequest(frames: 4)
    for first in [0, 4, 8] { try small.watch([.frames(Array(images[first..<first + 4]))], sampling: request) }
    #expect(try #require(small.context.store as? MemoryClipStore).byteCount <= 2 * one)
    try small.watch([.frames(Array(images[6..<10]))], sampling: request)
    #expect(small.statistics.cachedFrames >= 2 && small.statistics.encodedFrames <= 2)
    try small.watch([.frames(Array(images[..<4]))], sampling: request)
    #expect(small.statistics.encodedFrames == 4 && small.statistics.warnings.isEmpty)
  }
}
