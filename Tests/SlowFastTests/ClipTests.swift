import Foundation
import Runtime
import TestSupport
import Testing
import Video

/// What may stand for a clip: images, directories of images, several of them in one prompt.
@Suite struct ClipTests {
  private let model: VideoLanguageModel
  private let directory: TemporaryDirectory

  init() throws {
    model = try VideoLanguageModel(path: Golden.path("vanilla"))
    directory = try TemporaryDirectory()
  }

  /// A directory with so many pictures.
  private func gallery(_ seeds: [Int]) throws -> String {
    let path = directory.file("gallery-\(seeds)")
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    for (index, seed) in seeds.enumerated() { try picture(seed).writePNG(to: "\(path)/\(index + 1).png") }
    return path
  }

  private func image(_ seed: Int) throws -> String {
    let path = directory.file("\(seed).png")
    try picture(seed).writePNG(to: path)
    return path
  }

  /// What the model says, and the session that it said it in.
  private func ask(_ sources: [ClipSource], frames: Int) throws -> (tokens: [Int32], session: Session) {
    let session = try Session(model)
    try session.watch(sources, sampling: SamplingRequest(frames: frames))
    return (try session.ask("What is it?", options: greedy(8)).tokens, session)
  }

  /// A clip that several models see is decoded once, as far as there is room; what they see is the same.
  @Test func framesAreKeptForOthers() throws {
    let frames = KeptFrames(limit: 1 << 24)
    func watch(_ kept: KeptFrames, _ number: Int, _ count: Int, _ name: String = "vanilla") throws -> (isDecoded: Bool, tokens: [Int32]) {
      let session = try Session(try VideoLanguageModel(path: Golden.path(name)))
      var clip = SampledClip(try ClipSource(path: Golden.clip), SamplingRequest(frames: count))
      clip.kept = (kept, number)
      try session.watch([clip], isCancelled: { false }, observer: nil)
      let isDecoded = session.statistics.times.decode > 0
      #expect(session.samplingReports.map(\.frames.count) == [count])
      return (isDecoded, try session.ask("What is it?", options: greedy(8)).tokens)
    }
    let first = try watch(frames, 0, 3)
    #expect(try first.isDecoded && first.tokens == ask([ClipSource(path: Golden.clip)], frames: 3).tokens)
    let bytes = frames.byteCount
    #expect(bytes > 0)
    let again = try watch(frames, 0, 3)
    #expect(!again.isDecoded && again.tokens == first.tokens && frames.byteCount == bytes)
    // Another clip, and other frames of this one.
    #expect(try watch(frames, 1, 3).isDecoded && watch(frames, 0, 4).isDecoded && !watch(frames, 0, 4).isDecoded)
    #expect(frames.byteCount == bytes / 3 * 10)
    // No room for all of them: none.
    let small = KeptFrames(limit: bytes - 1)
    #expect(try watch(small, 0, 3).tokens == first.tokens && watch(small, 0, 3).isDecoded && small.byteCount == 0)
  }

  @Test func anImageIsOneFrame() throws {
    let (tokens, session) = try ask([ClipSource(path: image(3))], frames: 16)
    #expect(try tokens == ask([.frames([picture(3)])], frames: 1).tokens)
    #expect(session.statistics.frames == 1 && session.samplingReports[0].decodedFrames == 1)
    // 128 pixels, reduced by 32: an image's 4×4 positions are not pooled.
    #expect(session.statistics.slowTokens == 16 && session.statistics.fastTokens == 16)
  }

  @Test func aDirectoryIsAClip() throws {
    let (tokens, session) = try ask([ClipSource(path: gallery([1, 2, 3, 4]))], frames: 4)
    #expect(try tokens == ask([.frames((1...4).map { try picture($0) })], frames: 4).tokens)
    #expect(session.statistics.frames == 4 && session.statistics.slowTokens == 16)
  }

  /// Indices repeat, as int(linspace(0, 1, 5)) has them: the last one only is the second picture.
  @Test func fewerFramesThanAskedFor() throws {
    let (tokens, session) = try ask([ClipSource(path: gallery([5, 6]))], frames: 5)
    #expect(session.samplingReports[0].frames.map(\.index) == [0, 0, 0, 0, 1])
    #expect(try tokens == ask([.frames([5, 5, 5, 5, 6].map { try picture($0) })], frames: 5).tokens)
    #expect(session.statistics.frames == 5 && session.statistics.slowTokens == 20)
  }

  @Test func twoInputsInOnePrompt() throws {
    let sources = try [ClipSource(path: image(7)), ClipSource(path: gallery([1, 2, 3]))]
    let (tokens, session) = try ask(sources, frames: 3)
    let plan = session.plan(sources, sampling: SamplingRequest(frames: 3), question: "What is it?", maximumTokens: 8)
    #expect(session.samplingReports.map(\.decodedFrames) == [1, 3])
    #expect(session.statistics.frames == 4)
    #expect(session.statistics.slowTokens == 16 + 12)
    // The image's 16, and min_fast_frames 2 of four tokens each.
    #expect(session.statistics.fastTokens == 16 + 8)
    #expect(session.statistics.promptTokens == plan.promptTokens)
    #expect(tokens.count == 8)
    // Both are seen.
    #expect(try tokens != ask([sources[0]], frames: 3).tokens)
    #expect(try tokens == ask([.frames([picture(7)]), .frames((1...3).map { try picture($0) })], frames: 3).tokens)
  }

  @Test func withoutAClip() throws {
    let (tokens, session) = try ask([], frames: 1)
    #expect(tokens.count == 8 && session.statistics.slowTokens == 0)
  }

  @Test func framesFilesOfAnotherShape() throws {
    let path = Golden.path("vanilla") + "/model.safetensors"
    guard failure({ _ = try ClipSource(framesFile: path) })?.isA(.invalidClip) == true else {
      Issue.record("a file without frames")
      return
    }
    #expect(failure { _ = try ClipSource(framesFile: directory.file("none.safetensors")) } != nil)
  }
}
