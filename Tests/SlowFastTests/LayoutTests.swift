import Compute
import Models
import Parallel
import Runtime
import Testing

/// The pooling between the projector and the decoder, in counts and in values.
@Suite struct LayoutTests {
  /// The clip fixture's config with other strides.
  private func config(sampling: Int, temporal: Int, spatial: Int = 1, minimum: Int = 16, pooling: Int = 2) throws -> ModelConfig {
    var config = try VideoLanguageModel(path: Golden.path("clip")).config
    config.poolingStride = pooling
    config.fastTokens.samplingStride = sampling
    config.fastTokens.temporalStride = temporal
    config.fastTokens.spatialStride = spatial
    config.fastTokens.minimumFrames = minimum
    // The golden checkpoint's own.
    config.frameCount = nil
    return config
  }

  /// 1536 frames of which no more than 16 may have fast tokens; a clip that has fewer is as it was.
  @Test(arguments: [(1536, 16, 16, 96), (1536, 10, 9, 154), (64, 16, 16, 4), (40, 16, 10, 4), (3, 2, 1, 3)])
  func fewFastFrames(_ frames: Int, _ limit: Int, _ groups: Int, _ length: Int) throws {
    var config = try config(sampling: 1, temporal: 4)
    config.fastTokens.minimumFrames = 1
    config.fastTokens.frameLimit = limit
    let layout = SlowFastLayout(config: config, towerSide: 18, frames: frames)
    #expect(layout.fastGroups.count <= limit && layout.fastGroups[0].count == length && layout.slowCount == frames * 81)
    #expect(layout.fastGroups.count == groups)
    config.fastTokens.minimumFrames = 16
    #expect(SlowFastLayout(config: config, towerSide: 18, frames: 12).fastGroups.count == min(12, limit))
  }

  /// The published checkpoints: an 18×18 map of each frame becomes 9×9.
  @Test(arguments: [(1, 4, 64, 5184), (1, 6, 96, 7776), (2, 4, 128, 10368)])
  func publishedCounts(sampling: Int, temporal: Int, frames: Int, slow: Int) throws {
    let config = try config(sampling: sampling, temporal: temporal)
    let layout = SlowFastLayout(config: config, towerSide: 18, frames: frames)
    #expect(layout.slowCount == slow)
    #expect(layout.fastCount == 1296)
    #expect(layout.fastGroups.count == 16 && layout.fastGroups.allSatisfy { $0.count == temporal })
    #expect(config.defaultFrameCount == frames)
  }

  @Test func samplingTakesEvenlySpacedFrames() throws {
    // m = max(50 / 2, 16) = 25 frames at int(i · 50 / 25).
    let layout = SlowFastLayout(config: try config(sampling: 2, temporal: 1), towerSide: 18, frames: 50)
    #expect(layout.sampled == (0..<25).map { 2 * $0 })
    // m = max(20 / 2, 16) = 16 frames at int(i · 20 / 16).
    let few = SlowFastLayout(config: try config(sampling: 2, temporal: 1), towerSide: 18, frames: 20)
    #expect(few.sampled == [0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13, 15, 16, 17, 18])
  }

  /// Too few frames for the temporal stride: bin i covers floor(i·F/M) ..< ceil((i+1)·F/M).
  @Test func adaptivePooling() throws {
    let layout = SlowFastLayout(config: try config(sampling: 1, temporal: 4), towerSide: 18, frames: 40)
    #expect(layout.fastGroups.count == 16)
    #expect(Array(layout.fastGroups.prefix(4)) == [0..<3, 2..<5, 5..<8, 7..<10])
    #expect(layout.fastGroups.last == 37..<40)
  }

  @Test(arguments: 2...15)
  func fewerFramesThanTheMinimum(frames: Int) throws {
    let layout = SlowFastLayout(config: try config(sampling: 2, temporal: 4), towerSide: 18, frames: frames)
    #expect(layout.sampled == Array(0..<frames))
    #expect(layout.fastGroups == (0..<frames).map { $0..<$0 + 1 })
    #expect(layout.slowCount == frames * 81 && layout.fastCount == frames * 81)
  }

  /// An image keeps its positions; only the spatial stride applies.
  @Test func images() throws {
    let layout = SlowFastLayout(config: try config(sampling: 2, temporal: 4), towerSide: 18, frames: 1)
    #expect(layout.slowCount == 324 && layout.fastCount == 324)
    let strided = SlowFastLayout(config: try config(sampling: 2, temporal: 4, spatial: 4), towerSide: 18, frames: 1)
    #expect(strided.slowCount == 324 && strided.fastCount == 16)
  }

  /// Sides that are no multiple of the stride: what is beyond a whole square is left out.
  @Test func oddSides() throws {
    let layout = SlowFastLayout(config: try config(sampling: 1, temporal: 2, spatial: 2, minimum: 1, pooling: 3), towerSide: 11, frames: 4)
    #expect(layout.slowSide == 3 && layout.fastSide == 1)
    #expect(layout.slowCount == 36 && layout.fastCount == 2)
  }

  /// Values against averages taken one by one.
  @Test func valuesAreAverages() throws {
    let layout = SlowFastLayout(config: try config(sampling: 1, temporal: 2, spatial: 2, minimum: 1), towerSide: 5, frames: 5)
    let (side, width) = (5, 3)
    func value(_ frame: Int, _ y: Int, _ x: Int, _ column: Int) -> Float { Float((frame * 7 + y * 5 + x * 3 + column) % 17) - 8 }
    let engine = try Engine(pool: ThreadPool(threadCount: 1))
    let kept = try StoredRows(rows: layout.slowCount, columns: width, type: .float32, on: engine)
    for frame in 0..<5 {
      let map = try Matrix(
        rows: side * side, columns: width,
        values: (0..<side * side * width).map { value(frame, $0 / width / side, $0 / width % side, $0 % width) })
      let rows = try Matrix(rows: layout.rowsOfView, columns: width)
      layout.take(map, to: rows)
      kept.store(rows, at: frame * layout.rowsOfView)
    }
    let slow = kept.floats
    func pooled(_ frame: Int, _ y: Int, _ x: Int, _ column: Int) -> Float {
      (value(frame, 2 * y, 2 * x, column) + value(frame, 2 * y, 2 * x + 1, column) + value(frame, 2 * y + 1, 2 * x, column)
        + value(frame, 2 * y + 1, 2 * x + 1, column)) / 4
    }
    #expect(layout.slowSide == 2)
    for frame in 0..<5 {
      for position in 0..<4 {
        for column in 0..<width {
          #expect(abs(slow.row(frame * 4 + position)[column] - pooled(frame, position / 2, position % 2, column)) < 1e-5)
        }
      }
    }
    // Two fast frames of one position: the averages of frames 0, 1 and 2, 3; the fifth is left over.
    let fast = try layout.makeFastTokens(from: kept)
    #expect(fast.rows == 2)
    // Of rows in fewer bits, what those stand for.
    let halves = try StoredRows(slow, type: .float16, on: engine)
    let ofHalves = try layout.makeFastTokens(from: halves)
    let rounded = try layout.makeFastTokens(
      from: StoredRows(Matrix(rows: slow.rows, columns: width, values: halves.values), type: .float32, on: engine))
    #expect(ofHalves.values == rounded.values)
    for index in 0..<2 {
      for column in 0..<width {
        var sum: Float = 0
        for frame in 2 * index...2 * index + 1 {
          for position in 0..<4 { sum += pooled(frame, position / 2, position % 2, column) }
        }
        #expect(abs(fast.row(index)[column] - sum / 8) < 1e-5)
      }
    }
  }
}
