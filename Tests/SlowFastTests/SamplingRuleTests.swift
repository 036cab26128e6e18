import Foundation
import Lab
import Runtime
import TestSupport
import Testing
import Video

/// Sampled clips on their way through the tower.
@Suite struct SamplingRuleTests {
  private let model: VideoLanguageModel
  /// 40 frames, 25 a second.
  private let clip: ClipSource

  init() throws {
    model = try VideoLanguageModel(path: Golden.path("clip"))
    let root = URL(fileURLWithPath: Golden.directory).deletingLastPathComponent()
    clip = try ClipSource(path: root.appending(path: "VideoTests/Data/b_frames.mp4").path)
  }

  private func watch(_ clips: [ClipSource], _ request: SamplingRequest, cache: String? = nil) throws -> Session {
    var options = SessionOptions()
    options.clipCache = cache.map { ClipCacheOptions(directory: $0) }
    let session = try Session(model, options: options)
    try session.watch(clips, sampling: request)
    return session
  }

  private func images(_ indices: [Int]) throws -> [RGBImage] {
    guard case .visual(let source) = clip else { return [] }
    var all: [RGBImage] = []
    _ = try source.sample(SamplingRequest(frames: 40)) { if case .frame(let frame) = $0 { all.append(frame.image) } }
    return indices.map { all[$0] }
  }

  /// What the model makes of fewer frames than were asked for is what it makes of just these.
  @Test func fewerFramesThanAskedFor() throws {
    let session = try watch([clip], SamplingRequest(frames: 64, rule: .rate(2)))
    #expect(session.statistics.frames == 4 && session.statistics.encodedFrames == 4)
    let same = try watch([.frames(try images([0, 12, 24, 36]))], SamplingRequest(frames: 4))
    #expect(session.statistics.slowTokens == same.statistics.slowTokens && session.statistics.fastTokens == same.statistics.fastTokens)
    #expect(try session.ask("What happens?", options: greedy(6)) == same.ask("What happens?", options: greedy(6)))
  }

  @Test func twoClipsOfDifferentLength() throws {
    let still = ClipSource.frames(try images([3, 4, 5]))
    let session = try watch([clip, still, clip], SamplingRequest(frames: 64, rule: .rate(4)))
    #expect(session.statistics.frames == 7 + 3 + 7 && session.samplingReports.map(\.frames.count) == [7, 3, 7])
  }

  /// A frame that stands at several positions goes through the tower once.
  @Test func repeatedFramesAreEncodedOnce() throws {
    let session = try watch([clip], SamplingRequest(frames: 100))
    #expect(session.statistics.frames == 100 && session.statistics.encodedFrames == 40 && session.statistics.reusedFrames == 0)
    let indices = SamplingRequest(frames: 100).indices(of: 40)
    let each = try watch([.frames(try images(indices))], SamplingRequest(frames: 100))
    #expect(each.statistics.encodedFrames == 40 && each.statistics.reusedFrames == 60)
    #expect(try session.ask("What happens?", options: greedy(6)) == each.ask("What happens?", options: greedy(6)))
  }

  /// Another rule or rate is another entry, although the frames asked for are as many.
  @Test func theCacheTellsRulesApart() throws {
    let directory = try TemporaryDirectory()
    let cache = directory.file("cache")
    let requests = [
      SamplingRequest(frames: 8), SamplingRequest(frames: 8, rule: .rate(2)), SamplingRequest(frames: 8, rule: .rate(4)),
      SamplingRequest(frames: 4, rule: .rate(4)),
    ]
    // Single frames serve again; the clip is decoded.
    for request in requests { #expect(try watch([clip], request, cache: cache).statistics.times.decode > 0) }
    for (request, frames) in zip(requests, [8, 4, 7, 4]) {
      let again = try watch([clip], request, cache: cache)
      #expect(again.statistics.cachedFrames == frames && again.statistics.encodedFrames == 0 && again.statistics.frames == frames)
    }
  }

  @Test func comparisonsRefuseNoRate() {
    var options = ComparisonOptions()
    options.sampling = .rate(0)
    guard failure({ try options.validate() })?.isA(.invalidOption, "sampling") == true else {
      Issue.record("expected badOption")
      return
    }
  }
}
