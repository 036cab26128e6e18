import Compute

/// The pooling between the projector and the decoder that makes a few fast tokens of thousands of slow ones.
package struct SlowFastLayout: VisualLayout, Equatable {
  /// Side of a frame's map after the tower.
  package let towerSide: Int
  /// Side after `mm_video_pooling_stride`.
  package let slowSide: Int
  package let fastSide: Int
  package let frames: Int
  /// Frames of the fast pathway before temporal pooling, by index.
  package let sampled: [Int]
  /// Ranges of `sampled` that are averaged, one a fast frame.
  package let fastGroups: [Range<Int>]
  package let slowStride: Int
  package let fastStride: Int

  package var slowCount: Int { frames * slowSide * slowSide }
  package var fastCount: Int { fastGroups.count * fastSide * fastSide }

  package init(config: ModelConfig, towerSide: Int, frames: Int) {
    self.towerSide = towerSide
    self.frames = frames
    let isImage = frames == 1
    slowStride = isImage ? 1 : config.poolingStride
    fastStride = config.fastTokens.spatialStride
    slowSide = towerSide / slowStride
    fastSide = slowSide / fastStride
    let fast = config.fastTokens
    guard !isImage else {
      sampled = [0]
      fastGroups = [0..<1]
      return
    }
    if fast.samplingStride > 1, frames >= fast.minimumFrames {
      let count = max(frames / fast.samplingStride, fast.minimumFrames)
      sampled = (0..<count).map { min($0 * frames / count, frames - 1) }
    } else {
      sampled = Array(0..<frames)
    }
    let count = sampled.count
    let stride = max(fast.temporalStride, fast.frameLimit.map { (count + $0 - 1) / $0 } ?? 1)
    if count / stride >= min(fast.minimumFrames, fast.frameLimit ?? .max) {
      fastGroups = (0..<count / stride).map { $0 * stride..<($0 + 1) * stride }
    } else {
      let bins = min(count, fast.minimumFrames, fast.frameLimit ?? .max)
      fastGroups = (0..<bins).map { $0 * count / bins..<(($0 + 1) * count + bins - 1) / bins }
    }
  }

  package var views: Int { frames }
  package var rowsOfView: Int { slowSide * slowSide }

  package func take(_ projected: Matrix, to rows: Matrix) {
    MapResize.squares(projected, side: towerSide, stride: slowStride, to: rows)
  }

  package func finish(_ kept: StoredRows, newline: Matrix?, on engine: Engine) throws(ComputeError) -> VisualTokens {
    VisualTokens(slow: kept, fast: try makeFastTokens(from: kept))
  }

  /// `slow` `[slowCount, hidden]` → `[fastCount, hidden]`.
  package func makeFastTokens(from slow: StoredRows) throws(ComputeError) -> Matrix {
    let positions = slowSide * slowSide
    let fast = try Matrix(rows: fastCount, columns: slow.columns)
    let mean = try Matrix(rows: positions, columns: slow.columns)
    let read = try Matrix(rows: slow.type == .float32 ? 0 : positions, columns: slow.columns)
    for (index, group) in fastGroups.enumerated() {
      let scale = 1 / Float(group.count)
      for position in 0..<positions { mean.row(position).update(repeating: 0, count: mean.columns) }
      for frame in sampled[group] {
        let rows = slow.load(frame * positions..<(frame + 1) * positions, in: read)
        for position in 0..<positions {
          let (sum, row) = (mean.row(position), rows.row(position))
          for column in 0..<mean.columns { sum[column] += row[column] }
        }
      }
      for position in 0..<positions {
        let sum = mean.row(position)
        for column in 0..<mean.columns { sum[column] *= scale }
      }
      let target = fast[rows: index * fastSide * fastSide..<(index + 1) * fastSide * fastSide]
      MapResize.squares(mean, side: slowSide, stride: fastStride, to: target)
    }
    return fast
  }
}
