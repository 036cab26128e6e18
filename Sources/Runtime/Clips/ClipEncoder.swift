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
  /// Of `takenViews`, those whose rows were known.
  package private(set) var knownViews = 0
  /// What frames go through; to be there when one does.
  package var vision: VisionModel?
  /// Where rows of frames are looked for and kept; nil: nowhere.
  package let keeper: FrameKeeper?
  /// The next view's, as `takeKnown` has found it out.
  private var name: String?
  private let engine: Engine
  private let preprocessing: Preprocessing
  /// Mean difference of two frames' bytes below which they count as the same; nil: never.
  private let reuseThreshold: Double?
  /// `[imageSize², 3]`, normalised; nil until a frame goes through the tower.
  private var pixels: Matrix?
  /// The frame that went through the tower last.
  private var lastImage: RGBImage?

  package var observer: (any ClipObserver)?

  /// `slowTokens`: what they are kept as. `keeper` makes one for rows that are kept as its argument says.
  package init(
    _ layout: any VisualLayout, hidden: Int, preprocessing: Preprocessing, reuseThreshold: Double? = nil,
    slowTokens: KeyValueType = .float32, engine: Engine, keeper: (KeyValueType) -> FrameKeeper? = { _ in nil }
  ) throws(SlowFastError) {
    self.engine = engine
    self.preprocessing = preprocessing
    self.reuseThreshold = reuseThreshold
    self.layout = layout
    let type = layout.slowCount > 0 ? slowTokens : .float32
    (kept, rows) = try classified { () throws(ComputeError) in
      (
        try StoredRows(rows: layout.views * layout.rowsOfView, columns: hidden, type: type, on: engine),
        try Matrix(rows: layout.rowsOfView, columns: hidden)
      )
    }
    self.keeper = keeper(type)
    if let keeper = self.keeper, kept.bytes.count > keeper.limit {
      keeper.giveUp(ClipEntry.tooLarge(kept.bytes.count, limit: keeper.limit))
    }
  }

  package convenience init(
    _ vision: VisionModel, _ layout: any VisualLayout, preprocessing: Preprocessing, slowTokens: KeyValueType = .float32, engine: Engine
  ) throws(SlowFastError) {
    try self.init(layout, hidden: vision.config.hiddenSize, preprocessing: preprocessing, slowTokens: slowTokens, engine: engine)
    self.vision = vision
  }

  /// The next frame, where nothing has to be computed for it: it hardly differs from the one before, or what it shows was encoded before.
  package func takeKnown(_ image: RGBImage) -> Bool {
    if let reuseThreshold, let lastImage, image.meanDifference(from: lastImage) < reuseThreshold {
      repeatFrame()
      reusedFrames += 1
      return true
    }
    guard let keeper else { return false }
    let name = FrameKeeper.name(of: image)
    guard takeKnown(name, from: keeper) else {
      self.name = name
      return false
    }
    if reuseThreshold != nil { lastImage = image }
    return true
  }

  /// The next frame by its name; false where it is not known.
  package func takeKnown(_ name: String, from keeper: FrameKeeper) -> Bool {
    guard takenViews < layout.views, keeper.take(name, to: kept, rows: layout.rowsOfView) else { return false }
    takenViews += 1
    knownViews += 1
    return true
  }

  /// The next frame, through the tower: `image` has the model's size. `isCancelled` is asked between the tower's blocks.
  package func encode(_ image: RGBImage, times: inout StageTimes, isCancelled: () -> Bool) throws(SlowFastError) {
    guard let vision else { preconditionFailure("no tower") }
    let pixels = try classified { () throws(ComputeError) in
      if let pixels = self.pixels { return pixels }
      return try Matrix(rows: preprocessing.size * preprocessing.size, columns: 3)
    }
    self.pixels = pixels
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
    if let name { keeper?.add(name) }
    name = nil
    if reuseThreshold != nil { lastImage = image }
  }

  /// The last frame again: a clip with fewer frames than were asked for repeats some.
  package func repeatFrame() {
    observer?.see(.repeated)
    let first = takenViews * layout.rowsOfView
    for row in first..<first + layout.rowsOfView { kept.copyRow(row - layout.rowsOfView, to: row) }
    takenViews += 1
    keeper?.repeat()
  }

  /// Stores the frames that are new. The model's file must not have changed.
  package func save() { keeper?.save(from: kept, rows: layout.rowsOfView) }

  /// When all frames are in. `newline` where the tower is not there.
  package func finish(newline: Matrix? = nil) throws(SlowFastError) -> VisualTokens {
    try classified { () throws(ComputeError) in
      try layout.finish(kept, newline: vision?.projector.newline ?? newline, on: engine)
    }
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
