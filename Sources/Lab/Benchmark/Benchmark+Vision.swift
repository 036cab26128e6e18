import Compute
import Models
import Runtime
import Support
import Video

extension Benchmark {
  /// Frames that are kept to be resized: as much as a few megabytes each.
  private static let keptFrames = 8

  /// Decoding and resizing.
  mutating func timeVideo() throws(SlowFastError) {
    var images: [RGBImage] = []
    if let clip = options.clip, wants(.decode, .resize) {
      var request = SamplingRequest(frames: frames)
      request.frames = clip.frameCount(request)
      let (threads, isCancelled) = (pool.threadCount, isCancelled)
      let kept = wants(.resize) ? Self.keptFrames : 0
      let runs = try measure("decode") { () throws(SlowFastError) in
        images = []
        do throws(VideoError) {
          _ = try clip.sample(request, threads: threads, cancelled: isCancelled) { event in
            switch event {
            case .frame(let frame): if images.count < kept { images.append(frame.image) }
            case .restart: images = []
            case .begin, .repeated: break
            }
          }
        } catch { throw SlowFastError(error, path: clip.path) }
      }
      if wants(.decode) { add("decode", runs, units: request.frames, unit: "frames") }
    } else if wants(.decode) {
      skip("decode", "no clip was given")
    }
    guard wants(.resize) else { return }
    if images.isEmpty { images = [try Self.picture(width: 1280, height: 720)] }
    let preprocessing = try preprocessing()
    let pixels = try pixels()
    let runs = try measure("resize") { () throws(SlowFastError) in
      for image in images { preprocessing.normalize(preprocessing.pixels(image), into: pixels.buffer) }
    }
    add("resize", runs, units: images.count, unit: "frames")
  }

  /// Tower, projector and decoder.
  mutating func timeModel() throws(SlowFastError) {
    // Tokens take memory: none where nothing reads them.
    if options.stages.isSubset(of: [.load, .decode, .resize]) { return try timeWholeLoads() }
    try timeDecoder(timeVision())
  }

  /// Returns a clip's tokens: its one frame again and again.
  private mutating func timeVision() throws(SlowFastError) -> SlowFastTokens {
    guard wants(.tower, .projector) else {
      if wants(.load) { _ = try loadVision() }
      let hidden = model.config.hiddenSize
      return SlowFastTokens(
        slow: try Self.madeUp(rows: layout.slowCount, columns: hidden, seed: 1),
        fast: try Self.madeUp(rows: layout.fastCount, columns: hidden, seed: 2))
    }
    let vision = try loadVision()
    let pixels = try pixels()
    let preprocessing = try preprocessing()
    let image = preprocessing.pixels(try Self.picture(width: 1280, height: 720))
    preprocessing.normalize(image, into: pixels.buffer)
    let features = try timeTower(vision, pixels)
    if wants(.projector) {
      let runs = try measure("projector") { () throws(SlowFastError) in
        try classified { () throws(ComputeError) in _ = try vision.projector.project(features, on: engine) }
      }
      add("projector", runs, units: 1, unit: "frames", products: vision.projector.products(positions: features.rows))
    }
    let encoder = try ClipEncoder(vision, layout, preprocessing: preprocessing, engine: engine)
    var times = StageTimes()
    try encoder.encode(image, times: &times, isCancelled: isCancelled)
    for _ in 1..<frames { encoder.repeatFrame() }
    report.tokensSawTower = true
    return try encoder.finish()
  }

  private mutating func timeTower(_ vision: VisionModel, _ pixels: Matrix) throws(SlowFastError) -> Matrix {
    let stages = vision.tower.stageProducts
    // By stage, a row for each run; the first warms up.
    var parts: [[StageRun]] = Array(repeating: [], count: stages.count)
    var features = pixels
    let runs = try measure("tower") { () throws(SlowFastError) in
      var last = StageRun(wall: monotonicSeconds(), processor: processorSeconds())
      let result = try classified { () throws(ComputeError) in
        try vision.tower.encode(pixels, in: vision.workspace, on: engine, isCancelled: isCancelled) { stage in
          let now = StageRun(wall: monotonicSeconds(), processor: processorSeconds())
          parts[stage].append(StageRun(wall: now.wall - last.wall, processor: now.processor - last.processor))
          last = now
        }
      }
      guard let result else { throw .cancelled }
      features = result
    }
    if wants(.tower) {
      for (stage, products) in stages.enumerated() {
        add("tower, stage \(stage + 1)", Array(parts[stage].dropFirst()), products: products)
      }
      add("tower", runs, units: 1, unit: "frames", products: stages.reduce(0, +))
    }
    return features
  }

  private func preprocessing() throws(SlowFastError) -> Preprocessing { try Preprocessing(model.preprocessing) }

  private func pixels() throws(SlowFastError) -> Matrix {
    let size = model.preprocessing.pixels.size
    return try classified { () throws(ComputeError) in try Matrix(rows: size * size, columns: 3) }
  }

  /// A picture that differs from place to place, the same each time.
  private static func picture(width: Int, height: Int) throws(SlowFastError) -> RGBImage {
    var generator = SplitMix64(state: 3)
    var bytes: [UInt8] = []
    for y in 0..<height {
      for x in 0..<width {
        let noise = generator.next()
        bytes.append(UInt8(truncatingIfNeeded: (x * 255 / width)) / 2 &+ UInt8(truncatingIfNeeded: noise & 63))
        bytes.append(UInt8(truncatingIfNeeded: (y * 255 / height)) / 2 &+ UInt8(truncatingIfNeeded: noise >> 8 & 63))
        bytes.append(UInt8(truncatingIfNeeded: ((x + y) / 8 % 2) * 127) &+ UInt8(truncatingIfNeeded: noise >> 16 & 63))
      }
    }
    return try classified { () throws(VideoError) in try RGBImage(width: width, height: height, pixels: bytes) }
  }
}
