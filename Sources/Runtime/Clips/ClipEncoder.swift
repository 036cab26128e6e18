import Compute
import Models
import Support
import Video

/// Tower and projector with the memory that they work in, for one clip at a time. Drop it when the clips are encoded and all of that is
/// given back.
package final class VisionModel {
  package let tower: any VisionTower
  package let projector: any Projector
  package let workspace: TowerWorkspace
  package let config: ModelConfig
  private let weights: VisionWeights

  package init(_ weights: VisionWeights) throws(SlowFastError) {
    self.weights = weights
    (tower, projector, config) = (weights.tower, weights.projector, weights.config)
    workspace = try tower.makeWorkspace()
  }

  package convenience init(_ source: any WeightSource) throws(SlowFastError) { try self.init(VisionWeights(source)) }
}

/// Turns one clip's frames, one at a time, into its tokens.
package final class ClipEncoder {
  package let layout: any VisualLayout
  /// `[views · rowsOfView, hidden]`, filled view by view.
  private let kept: StoredRows
  /// What is kept of one view, `[rowsOfView, hidden]`.
  private let rows: Matrix
  /// Views that are in `kept`.
  package private(set) var takenViews = 0
  /// Of those, the ones that went through the tower.
  package private(set) var encodedFrames = 0
  /// Of `takenViews`, those that took over the features of an earlier one because they hardly differ from it.
  package private(set) var reusedFrames = 0
  private let vision: VisionModel
  private let engine: Engine
  private let preprocessing: Preprocessing
  /// Mean difference of two frames' bytes below which they count as the same; nil: never.
  private let reuseThreshold: Double?
  /// `[imageSize², 3]`, normalised.
  private let pixels: Matrix
  /// The frame that went through the tower last.
  private var lastImage: RGBImage?

  package var observer: (any ClipObserver)?

  /// `slowTokens`: what they are kept as.
  package init(
    _ vision: VisionModel, _ layout: any VisualLayout, preprocessing: Preprocessing, reuseThreshold: Double? = nil,
    slowTokens: KeyValueType = .float32, engine: Engine
  ) throws(SlowFastError) {
    self.vision = vision
    self.engine = engine
    self.preprocessing = preprocessing
    self.reuseThreshold = reuseThreshold
    self.layout = layout
    let (columns, size) = (vision.config.hiddenSize, preprocessing.size)
    let type = layout.slowCount > 0 ? slowTokens : .float32
    (kept, rows, pixels) = try classified { () throws(ComputeError) in
      (
        try StoredRows(rows: layout.views * layout.rowsOfView, columns: columns, type: type, on: engine),
        try Matrix(rows: layout.rowsOfView, columns: columns), try Matrix(rows: size * size, columns: 3)
      )
    }
  }

  /// The next frame: `image` has the model's size. `isCancelled` is asked between the tower's blocks.
  package func encode(_ image: RGBImage, times: inout StageTimes, isCancelled: () -> Bool) throws(SlowFastError) {
    if let reuseThreshold, let lastImage, image.meanDifference(from: lastImage) < reuseThreshold {
      repeatFrame()
      reusedFrames += 1
      return
    }
    times.measure(\.resize) { preprocessing.normalize(image, into: pixels.buffer) }
    let features = try times.measure(\.tower) { () throws(SlowFastError) in
      try classified { () throws(ComputeError) in
        try vision.tower.encode(pixels, in: vision.workspace, on: engine, isCancelled: isCancelled)
      }
    }
    guard let features else { throw .cancelled }
    let projected = try times.measure(\.projector) { () throws(SlowFastError) in
      try classified { () throws(ComputeError) in try vision.projector.project(features, on: engine) }
    }
    observer?.see(.frame(EncodedFrame(pixels: pixels, features: features, projected: projected)))
    layout.take(projected, to: rows)
    kept.store(rows, at: takenViews * layout.rowsOfView)
    takenViews += 1
    encodedFrames += 1
    if reuseThreshold != nil { lastImage = image }
  }

  /// The last frame again: a clip with fewer frames than were asked for repeats some.
  package func repeatFrame() {
    observer?.see(.repeated)
    let first = takenViews * layout.rowsOfView
    for row in first..<first + layout.rowsOfView { kept.copyRow(row - layout.rowsOfView, to: row) }
    takenViews += 1
  }

  /// When all frames are in.
  package func finish() throws(SlowFastError) -> VisualTokens {
    try classified { () throws(ComputeError) in try layout.finish(kept, newline: vision.projector.newline, on: engine) }
  }
}

extension RGBImage {
  /// The mean of the absolute differences of all bytes, 0 to 255; infinite where the sizes differ.
  package func meanDifference(from other: RGBImage) -> Double {
    guard width == other.width, height == other.height else { return .infinity }
    return pixels.withUnsafeBufferPointer { a in
      other.pixels.withUnsafeBufferPointer { b in
        var sum = 0
        // Rows keep the inner sums within 32 bits: a row has at most 3 · 8192 bytes.
        for row in 0..<height {
          var part: Int32 = 0
          for index in row * width * 3..<(row + 1) * width * 3 { part &+= abs(Int32(a[index]) &- Int32(b[index])) }
          sum += Int(part)
        }
        return Double(sum) / Double(pixels.count)
      }
    }
  }
}
