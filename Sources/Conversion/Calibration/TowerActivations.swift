import Compute
import Models
import Runtime
import Support
import Video

/// Some views of the calibration's clips and pictures on their way through the tower and the projector.
final class TowerActivations {
  /// `[tokens, width]` of each view.
  private var maps: [Matrix] = []
  private let tower: any VisionTower
  private let workspace: TowerWorkspace

  /// Decodes the clips and runs the stem.
  init(_ calibrator: Calibrator) throws(SlowFastError) {
    let source = calibrator.model.source
    tower = try source.schema.tower.loaded(LayerBuilder(.tower, from: source))
    workspace = try tower.makeWorkspace()
    let sources = try calibrator.clipSources().compactMap { $0 }
    let picks = Self.picks(sources.map { calibrator.layout(of: $0).views }, limit: Self.limit(tower))
    for (source, chosen) in zip(sources, picks) where !chosen.isEmpty {
      maps += try decode(source, chosen, calibrator)
    }
  }

  /// Views whose maps fit.
  private static func limit(_ tower: any VisionTower) -> Int {
    max(1, min(CalibrationOptions.towerFrameLimit, CalibrationOptions.towerMapBytes / max(1, tower.mapFloats * 4)))
  }

  /// At most `limit` views, evenly spread over all: for each clip the indices of its own.
  static func picks(_ counts: [Int], limit: Int) -> [Set<Int>] {
    let total = counts.reduce(0, +)
    let wanted = min(limit, total)
    var all = (0..<wanted).map { $0 * total / wanted }[...]
    var start = 0
    return counts.map { count in
      let own = all.prefix { $0 < start + count }
      all = all.dropFirst(own.count)
      defer { start += count }
      return Set(own.map { $0 - start })
    }
  }

  private func decode(_ source: ClipSource, _ chosen: Set<Int>, _ calibrator: Calibrator) throws(SlowFastError) -> [Matrix] {
    let preprocessing = try Preprocessing(calibrator.model.config.pixels)
    let feed = calibrator.views(of: source, preprocessing)
    let pixels = try classified { () throws(ComputeError) in try Matrix(rows: preprocessing.size * preprocessing.size, columns: 3) }
    var times = StageTimes()
    var maps: [Matrix] = []
    var index = 0
    _ = try feed.forEach(times: &times, isCancelled: calibrator.isCancelled) { (event, _) throws(SlowFastError) in
      switch event {
      case .view(let image):
        if chosen.contains(index) {
          preprocessing.normalize(image, into: pixels.buffer)
          let map = try classified { () throws(ComputeError) in
            try self.tower.embed(pixels, in: self.workspace, on: calibrator.engine).copied()
          }
          maps.append(map)
        }
        index += 1
      case .repeated: index += 1
      case .begin, .restart:
        index = 0
        maps = []
      }
    }
    return maps
  }

  /// Runs all maps through one unit of `source`; they become its outputs if it `keepsOutput`.
  func run(
    _ unit: ModelUnit, _ source: any WeightSource, keepsOutput: Bool, seeing prepared: PreparedUnit?, _ calibrator: Calibrator
  ) throws(SlowFastError) {
    let engine = calibrator.engine
    let builder = LayerBuilder(unit.component, from: source, unit: unit.index)
    if unit.component == .tower {
      let part = try tower.loaded(builder).units[unit.index]
      prepared?.see(try calibrator.slots(unit, builder), on: engine)
      try forEach(calibrator, keepsOutput) { x throws(ComputeError) in try part.run(x, in: self.workspace, on: engine) }
    } else {
      let projector = try source.schema.projector.loaded(builder)
      prepared?.see(try calibrator.slots(unit, builder), on: engine)
      try forEach(calibrator, keepsOutput) { x throws(ComputeError) in try projector.project(x, on: engine) }
    }
  }

  /// `step` gets each map in the workspace's memory and may leave its output there.
  private func forEach(
    _ calibrator: Calibrator, _ keepsOutput: Bool, _ step: (Matrix) throws(ComputeError) -> Matrix
  ) throws(SlowFastError) {
    for index in maps.indices {
      try calibrator.checkCancelled()
      let map = maps[index]
      try classified { () throws(ComputeError) in
        let x = workspace.map.reshaped(rows: map.rows, columns: map.columns)
        x.copy(from: map)
        let output = try step(x)
        if keepsOutput { maps[index] = try output.copied() }
      }
    }
  }
}
