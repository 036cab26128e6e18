import Compute

/// What a clip becomes: thousands of slow tokens and a few fast ones.
package struct SlowFastTokens: Sendable {
  /// `[frames · side², hidden]`, frame by frame, row by row.
  package let slow: Matrix
  /// `[fast frames · fast side², hidden]`.
  package let fast: Matrix
  package let frames: Int

  package init(slow: Matrix, fast: Matrix, frames: Int) {
    self.slow = slow
    self.fast = fast
    self.frames = frames
  }
}

/// The pooling between the projector and the decoder, as arithmetic on counts: also what the memory plan goes by.
package struct SlowFastLayout: Sendable, Equatable {
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
    if count / fast.temporalStride >= fast.minimumFrames {
      fastGroups = (0..<count / fast.temporalStride).map { $0 * fast.temporalStride..<($0 + 1) * fast.temporalStride }
    } else {
      let bins = min(count, fast.minimumFrames)
      fastGroups = (0..<bins).map { $0 * count / bins..<(($0 + 1) * count + bins - 1) / bins }
    }
  }

  /// `projected` `[towerSide², hidden]` of one frame → its `slowSide²` rows of `slow`.
  package func pool(_ projected: Matrix, frame: Int, into slow: Matrix) {
    let target = slow[rows: frame * slowSide * slowSide..<(frame + 1) * slowSide * slowSide]
    Self.averageSquares(projected, side: towerSide, stride: slowStride, to: target)
  }

  /// `slow` `[slowCount, hidden]` → `[fastCount, hidden]`.
  package func makeFastTokens(from slow: Matrix) throws(ComputeError) -> Matrix {
    let positions = slowSide * slowSide
    let fast = try Matrix(rows: fastCount, columns: slow.columns)
    let mean = try Matrix(rows: positions, columns: slow.columns)
    for (index, group) in fastGroups.enumerated() {
      let scale = 1 / Float(group.count)
      for position in 0..<positions {
        let sum = mean.row(position)
        sum.update(repeating: 0, count: mean.columns)
        for frame in sampled[group] {
          let row = slow.row(frame * positions + position)
          for column in 0..<mean.columns { sum[column] += row[column] }
        }
        for column in 0..<mean.columns { sum[column] *= scale }
      }
      let target = fast[rows: index * fastSide * fastSide..<(index + 1) * fastSide * fastSide]
      Self.averageSquares(mean, side: slowSide, stride: fastStride, to: target)
    }
    return fast
  }

  /// Average pooling of a square map by `stride`, without padding: rows and columns beyond a whole square are left out.
  private static func averageSquares(_ map: Matrix, side: Int, stride: Int, to output: Matrix) {
    let count = side / stride
    let scale = 1 / Float(stride * stride)
    for y in 0..<count {
      for x in 0..<count {
        let sum = output.row(y * count + x)
        sum.update(repeating: 0, count: map.columns)
        for dy in 0..<stride {
          for dx in 0..<stride {
            let row = map.row((y * stride + dy) * side + x * stride + dx)
            for column in 0..<map.columns { sum[column] += row[column] }
          }
        }
        for column in 0..<map.columns { sum[column] *= scale }
      }
    }
  }
}
