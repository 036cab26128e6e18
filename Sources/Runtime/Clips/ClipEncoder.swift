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
  private var branches: TowerBranches?

  package init(_ weights: VisionWeights) throws(SlowFastError) {
    self.weights = weights
    (tower, projector, config) = (weights.tower, weights.projector, weights.config)
    workspace = try tower.makeWorkspace()
  }

  package convenience init(_ source: any WeightSource) throws(SlowFastError) { try self.init(VisionWeights(source)) }

  /// What the tower's branches made of earlier frames, kept for as long as this is: the same for all with one threshold.
  package func branches(threshold: Float) throws(SlowFastError) -> TowerBranches {
    if let branches, branches.threshold == threshold { return branches }
    branches = nil
    let made = try TowerBranches(tower, threshold: threshold)
    branches = made
    return made
  }
}

/// What of a frame need not be computed, because of an earlier one.
package struct FrameReuse: Sendable {
  /// See `SessionOptions.reuse`.
  package var threshold: Float
  /// Where there is no threshold, whether there is memory to remember branches of frames that have much in common.
  package var remembersEqual: Bool
  /// Frames follow what was encoded before, as those of a stream do; else a clip begins anew, and becomes the same whatever was before.
  package var goesOn: Bool

  package init(threshold: Float, remembersEqual: Bool, goesOn: Bool) {
    (self.threshold, self.remembersEqual, self.goesOn) = (threshold, remembersEqual, goesOn)
  }
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
  /// Of `takenViews`, those that took over the features of the one before, whose picture they have.
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
  /// nil: nothing.
  private let reuse: FrameReuse?
  /// Of `encodedFrames`, as many as were computed, by stage of the tower.
  package private(set) var computedFrames: [Double] = []
  /// `[imageSize², 3]`, normalised; nil until a frame goes through the tower.
  private var pixels: Matrix?
  /// The frame that went through the tower last.
  private var lastImage: RGBImage?

  package var observer: (any ClipObserver)?

  /// `slowTokens`: what they are kept as. `keeper` makes one for rows that are kept as its argument says.
  package init(
    _ layout: any VisualLayout, hidden: Int, preprocessing: Preprocessing, reuse: FrameReuse? = nil,
    slowTokens: KeyValueType = .float32, engine: Engine, keeper: (KeyValueType) -> FrameKeeper? = { _ in nil }
  ) throws(SlowFastError) {
    self.engine = engine
    self.preprocessing = preprocessing
    self.reuse = reuse
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

  /// The next frame, where nothing has to be computed for it: it shows what the one before or an earlier one showed.
  package func takeKnown(_ image: RGBImage) -> Bool {
    if reuse != nil, let lastImage, image == lastImage {
      repeatFrame()
      reusedFrames += 1
      return true
    }
    guard let keeper else { return false }
    // Where frames take over what those before them left they are those of one clip, and it becomes the same whichever are kept.
    let isOwn = reuse.map { $0.threshold > 0 && !$0.goesOn } ?? false
    let name = FrameKeeper.name(of: image, view: isOwn ? takenViews : nil)
    guard !isOwn, takeKnown(name, from: keeper) else {
      self.name = name
      return false
    }
    if reuse != nil { lastImage = image }
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
    var workspace = vision.workspace
    workspace.branches = try branches(of: vision, for: image)
    let features = try times.measure(\.tower) { () throws(SlowFastError) in
      try classified { () throws(ComputeError) in
        try vision.tower.encode(pixels, in: workspace, on: engine, isCancelled: isCancelled)
      }
    }
    guard let features else { throw .cancelled }
    count(workspace.branches, stages: vision.tower.stages.count)
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
    if reuse != nil { lastImage = image }
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

extension ClipEncoder {
  /// A frame has much in common with the one before where so much of it is the same to the bit.
  private static let leastInCommon = 0.25

  /// What the next frame's branches are compared with; nil: all is computed.
  private func branches(of vision: VisionModel, for image: RGBImage) throws(SlowFastError) -> TowerBranches? {
    guard let reuse, vision.tower.branchValues > 0 else { return nil }
    if reuse.threshold == 0 {
      // What is remembered is what would be computed, so it does not matter of which clip it is; but remembering takes time.
      guard reuse.remembersEqual, let lastImage, image.share(equalTo: lastImage) >= Self.leastInCommon else { return nil }
    }
    let branches = try vision.branches(threshold: reuse.threshold)
    if reuse.threshold > 0, encodedFrames == 0, !reuse.goesOn { branches.forget() }
    branches.startCounting()
    return branches
  }

  private func count(_ branches: TowerBranches?, stages: Int) {
    if computedFrames.isEmpty { computedFrames = Array(repeating: 0, count: stages) }
    for stage in 0..<stages {
      let products = branches.flatMap { stage < $0.products.count ? ($0.computedProducts[stage], $0.products[stage]) : nil }
      computedFrames[stage] += products.map { $0.1 > 0 ? $0.0 / $0.1 : 1 } ?? 1
    }
  }
}

extension RGBImage {
  /// Of all pixels, those that are the same in the other; 0 where the sizes differ.
  package func share(equalTo other: RGBImage) -> Double {
    guard width == other.width, height == other.height, !pixels.isEmpty else { return 0 }
    return pixels.withUnsafeBufferPointer { a in
      other.pixels.withUnsafeBufferPointer { b in
        var equal = 0
        for pixel in 0..<width * height {
          let place = 3 * pixel
          if a[place] == b[place], a[place + 1] == b[place + 1], a[place + 2] == b[place + 2] { equal += 1 }
        }
        return Double(equal) / Double(width * height)
      }
    }
  }
}
