import Compute
import Foundation
import Models
import Parallel
import Runtime
import TestSupport
import Testing
import Video

/// Frames that change in part, and frames that are decoded while others are encoded.
@Suite struct ReuseTests {
  private let model: VideoLanguageModel

  init() throws { model = try VideoLanguageModel(path: Golden.path("vanilla")) }

  private func watch(_ source: ClipSource, frames: Int, reuse: Double = 0) throws -> Session {
    var options = SessionOptions()
    options.reuse = reuse
    let session = try Session(model, options: options)
    try session.watch([source], sampling: SamplingRequest(frames: frames))
    return session
  }

  /// A picture whose bytes are all so much brighter.
  private func brighter(_ image: RGBImage, by difference: UInt8) throws -> RGBImage {
    try RGBImage(width: image.width, height: image.height, pixels: image.pixels.map { $0 &+ difference })
  }

  private func dark() throws -> RGBImage { try RGBImage(width: 128, height: 128, pixels: (0..<128 * 128 * 3).map { UInt8($0 % 100) }) }

  @Test func sharesOfPixels() throws {
    let image = try dark()
    #expect(image.share(equalTo: image) == 1)
    #expect(try image.share(equalTo: brighter(image, by: 7)) == 0)
    #expect(try image.share(equalTo: changed(image, rows: 0..<32)) == 0.75)
    #expect(try image.share(equalTo: RGBImage(width: 1, height: 1, pixels: [0, 0, 0])) == 0)
  }

  /// Some rows of a picture with other pixels.
  private func changed(_ image: RGBImage, rows: Range<Int>, by difference: UInt8 = 90) throws -> RGBImage {
    var pixels = image.pixels
    for index in rows.lowerBound * image.width * 3..<rows.upperBound * image.width * 3 { pixels[index] &+= difference }
    return try RGBImage(width: image.width, height: image.height, pixels: pixels)
  }

  @Test func aStaticClip() throws {
    let image = try dark()
    let session = try watch(.frames(Array(repeating: image, count: 6)), frames: 6, reuse: 0)
    #expect(session.statistics.encodedFrames == 1 && session.statistics.reusedFrames == 5 && session.statistics.frames == 6)
    // One pixel is a change.
    var pixels = image.pixels
    pixels[5] &+= 1
    let other = try RGBImage(width: 128, height: 128, pixels: pixels)
    #expect(try watch(.frames([image, other, image, image]), frames: 4, reuse: 0).statistics.encodedFrames == 3)
  }

  /// The tokens of frames, and of how many frames each stage was computed.
  private func encode(
    _ images: [RGBImage], _ vision: VisionModel, _ reuse: FrameReuse?
  ) throws -> (slow: [Float], computed: [Double]) {
    let engine = try Engine(pool: ThreadPool(threadCount: 3), kernels: KernelChoice.kernels(named: nil))
    let preprocessing = try Preprocessing(model.config.pixels)
    let layout = model.config.layout(.clip(frames: images.count), towerSide: vision.tower.outputSide)
    let encoder = try ClipEncoder(layout, hidden: model.config.hiddenSize, preprocessing: preprocessing, reuse: reuse, engine: engine)
    encoder.vision = vision
    var times = StageTimes()
    for image in images where !encoder.takeKnown(image) { try encoder.encode(image, times: &times, isCancelled: { false }) }
    return (Array(try encoder.finish().slow.floats.buffer), encoder.computedFrames)
  }

  private func reuse(_ threshold: Float, goesOn: Bool = false) -> FrameReuse {
    FrameReuse(threshold: threshold, remembersEqual: true, goesOn: goesOn)
  }

  private func textured() throws -> RGBImage {
    try RGBImage(width: 128, height: 128, pixels: (0..<128 * 128 * 3).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) })
  }

  /// Without a threshold much is computed less, and no bit changes; after a clip of other frames neither.
  @Test func equalRowsAreTakenAgain() throws {
    let vision = try VisionModel(model.source)
    let image = try textured()
    let images = try [image] + (1...4).map { try changed(image, rows: 120..<128, by: UInt8(20 * $0)) }
    let plain = try encode(images, VisionModel(model.source), nil)
    let less = try encode(images, vision, reuse(0))
    #expect(less.slow == plain.slow)
    #expect(plain.computed.allSatisfy { $0 == 5 } && less.computed[0] < 3.5 && less.computed[0] > 2)
    let others = try (0..<3).map { try changed(image, rows: 0..<60, by: UInt8(30 * $0)) }
    #expect(try encode(others, vision, reuse(0)).slow == encode(others, VisionModel(model.source), nil).slow)
    #expect(try encode(images, vision, reuse(0)).slow == plain.slow)
  }

  /// With one, small changes cost nothing and move little; a clip becomes the same whatever was encoded before.
  @Test func hardlyChangedRowsAreTakenAgain() throws {
    let vision = try VisionModel(model.source)
    let image = try textured()
    let images = try [image, changed(image, rows: 40..<60, by: 1), image, changed(image, rows: 100..<128)]
    let plain = try encode(images, VisionModel(model.source), nil).slow
    let less = try encode(images, vision, reuse(0.1))
    #expect(less.computed[0] < 3 && less.computed.allSatisfy { $0 >= 1 && $0 < 4 })
    let squares = { (values: [Float]) in values.reduce(0) { $0 + Double($1) * Double($1) } }
    let share = (squares(zip(less.slow, plain).map { $0 - $1 }) / squares(plain)).squareRoot()
    #expect(share > 0 && share < 0.05, "\(share)")
    #expect(try encode([changed(image, rows: 0..<128)], vision, reuse(0.1)).computed.allSatisfy { $0 == 1 })
    #expect(try encode(images, vision, reuse(0.1)).slow == less.slow)
    // A stream goes on from what was there.
    #expect(try encode([changed(image, rows: 100..<128)], vision, reuse(0.1, goesOn: true)).computed.allSatisfy { $0 == 0 })
  }

  /// What is kept of such a clip is what it became, also where a picture comes twice and becomes two things.
  @Test func keptWithAThreshold() throws {
    let image = try textured()
    let other = try changed(image, rows: 30..<90)
    let clip = ClipSource.frames([image, other, image, try changed(other, rows: 100..<128), image])
    var options = SessionOptions()
    (options.reuse, options.clipMemory) = (0.3, 64 << 20)
    let fresh = try watch(clip, frames: 5, reuse: 0.3).ask("What?", options: greedy(6))
    let session = try Session(model, options: options)
    for round in 0..<2 {
      try session.watch([clip], sampling: SamplingRequest(frames: 5))
      #expect(session.statistics.encodedFrames == (round == 0 ? 5 : 0))
      #expect(try session.ask("What?", options: greedy(6)) == fresh)
      // Another question needs the tokens themselves.
      session.startOver()
    }
    try session.watch([clip, clip], sampling: SamplingRequest(frames: 5))
    #expect(session.statistics.encodedFrames == 0 && session.statistics.frames == 10)
  }

  @Test(arguments: [-0.1, 1.5, .nan]) func thresholdsOutOfRange(threshold: Double) {
    var options = SessionOptions()
    options.reuse = threshold
    guard failure({ try options.validate() })?.isA(.invalidOption, "reuse") == true else {
      Issue.record("expected badOption")
      return
    }
  }

  @Test func otherTowersRefuse() throws {
    var options = SessionOptions()
    options.reuse = 0.1
    let siglip = try VideoLanguageModel(path: Golden.path("slowfast-siglip"))
    #expect(failure({ _ = try Session(siglip, options: options) })?.isA(.invalidOption, "ConvNeXt") == true)
  }

  /// It is in the plan.
  @Test func memoryIsPlanned() throws {
    func planned(_ reuse: Double) throws -> MemoryPlan {
      var options = SessionOptions()
      options.reuse = reuse
      return try Session(model, options: options).plan(
        [ClipSource(path: Golden.clip)], sampling: SamplingRequest(frames: 4), question: "What?", maximumTokens: 4)
    }
    let tower = try VisionModel(model.source).tower
    let bytes = 3 * tower.branchValues + 4 * tower.mapFloats
    #expect(try planned(0.1).visionBufferBytes == planned(0).visionBufferBytes + bytes && tower.branchValues > 0)
  }

  /// A film that is decoded beside the tower gives what its frames give when they are there already.
  @Test func overlapChangesNothing() throws {
    let source = try MediaInput(opening: Golden.clip)
    var images: [RGBImage] = []
    let request = SamplingRequest(frames: 9)
    let report = try source.sample(request) { if case .frame(let frame) = $0 { images.append(frame.image) } }
    let film = try watch(.visual(source), frames: 9)
    let still = try watch(.frames(images), frames: 9)
    #expect(film.statistics.encodedFrames == 9 && film.statistics.decodedFrames == report.decodedFrames)
    #expect(film.samplingReports[0].frames == report.frames)
    #expect(film.statistics.times.decode > 0 && film.statistics.times.resize > 0 && film.statistics.times.frameWait > 0)
    #expect(try film.ask("What?", options: greedy(6)) == still.ask("What?", options: greedy(6)))
  }

  /// Ended from outside while the decoder is ahead: its thread ends too, and the session can be used again.
  @Test func cancelledWhileDecoding() throws {
    let session = try Session(model)
    let source = try ClipSource(path: Golden.clip)
    for asked in [0, 1, 20] {
      let count = Counter()
      let error = failure({
        try session.watch([source], sampling: SamplingRequest(frames: 12), isCancelled: { count.next() > asked })
      })
      guard error?.isA(.cancelled) == true else {
        Issue.record("expected cancelled")
        return
      }
    }
    try session.watch([source], sampling: SamplingRequest(frames: 3))
    #expect(session.statistics.frames == 3)
  }

  @Test func errorsOfTheDecodingThread() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("letter.mp4")
    try Data(repeating: 7, count: 5000).write(to: URL(fileURLWithPath: path))
    let source = ClipSource.visual(try MediaInput(path: path))
    guard failure({ try Session(model).watch([source], sampling: SamplingRequest(frames: 2)) })?.isA(.invalidClip) == true else {
      Issue.record("expected a video error")
      return
    }
  }
}
