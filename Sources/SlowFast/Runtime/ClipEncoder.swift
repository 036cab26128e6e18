import Architecture
import Compute

/// Tower and projector with the memory that they work in. Drop it when the clips are encoded and all of that is given back.
final class VisionModel {
  let tower: VisionTower
  let projector: Projector
  let workspace: VisionTower.Workspace
  let config: ModelConfig

  init(_ source: any WeightSource) throws(SlowFastError) {
    tower = try VisionTower(source)
    projector = try Projector(source)
    workspace = try tower.makeWorkspace()
    config = source.config
  }
}

/// Turns one clip's frames, one at a time, into its tokens.
final class ClipEncoder {
  let layout: SlowFastLayout
  /// `[frames · slowSide², hidden]`, filled frame by frame.
  let slow: Matrix
  private(set) var encodedFrames = 0
  private let vision: VisionModel
  private let engine: Engine

  /// What tracing wants to see of each frame: features `[n, C]` and projected `[n, hidden]`.
  var observer: ((_ features: Matrix, _ projected: Matrix) -> Void)?

  init(_ vision: VisionModel, frames: Int, engine: Engine) throws(SlowFastError) {
    self.vision = vision
    self.engine = engine
    layout = SlowFastLayout(config: vision.config, towerSide: vision.tower.outputSide, frames: frames)
    let (rows, columns) = (layout.slowCount, vision.config.hiddenSize)
    slow = try compute { () throws(ComputeError) in try Matrix(rows: rows, columns: columns) }
  }

  /// The next frame: `pixels` `[imageSize², 3]`, normalised. `isCancelled` is asked between the tower's blocks.
  func encode(_ pixels: Matrix, times: inout StageTimes, isCancelled: () -> Bool) throws(SlowFastError) {
    let features = try times.measure(\.tower) { () throws(SlowFastError) in
      try compute { () throws(ComputeError) in try vision.tower.encode(pixels, in: vision.workspace, on: engine, isCancelled: isCancelled) }
    }
    guard let features else { throw .cancelled }
    let projected = try times.measure(\.projector) { () throws(SlowFastError) in
      try compute { () throws(ComputeError) in try vision.projector.project(features, on: engine) }
    }
    observer?(features, projected)
    layout.pool(projected, frame: encodedFrames, into: slow)
    encodedFrames += 1
  }

  /// The last frame again: a clip with fewer frames than were asked for repeats some.
  func repeatFrame() {
    let size = layout.slowSide * layout.slowSide
    let from = slow[rows: (encodedFrames - 1) * size..<encodedFrames * size]
    slow[rows: encodedFrames * size..<(encodedFrames + 1) * size].copy(from: from)
    encodedFrames += 1
  }

  /// Forgets all frames so far.
  func restart() { encodedFrames = 0 }

  /// When all frames are in.
  func finish() throws(SlowFastError) -> SlowFastTokens {
    let fast = try compute { () throws(ComputeError) in try layout.makeFastTokens(from: slow) }
    return SlowFastTokens(slow: slow, fast: fast, frames: layout.frames)
  }
}
