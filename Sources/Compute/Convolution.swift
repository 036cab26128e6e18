import Kernels

extension Engine {
  /// Depthwise 7×7 over a channels-last map, padded by 3 with zeros: `input`, `output` `[height · width, channels]` without gaps between
  /// rows, `weights` `[49, channels]`, `bias` `[1, channels]`. `output` may not be `input`.
  package func depthwise7x7(
    _ input: Matrix, height: Int, width: Int, weights: Matrix, bias: Matrix, to output: Matrix
  ) throws(ComputeError) {
    let channels = input.columns
    precondition(input.rows == height * width && output.rows == input.rows && output.columns == channels)
    precondition(input.stride == channels && output.stride == channels && weights.stride == channels)
    precondition(weights.rows == 49 && weights.columns == channels && bias.columns == channels)
    let channelBlocks = (channels + depthwiseBlockChannels - 1) / depthwiseBlockChannels
    let map = ChannelsLastMap(values: input.pointer, height: height, width: width, channels: channels)

    if height == 0 { return }
    let rows = Engine.stripRows(height: height, width: width)
    let strips = (height + rows - 1) / rows
    let scratchBytes = depthwiseScratchCount(rows: rows, width: width) * MemoryLayout<Float>.stride
    let scratch = try workerScratch.reserve(scratchBytes, workers: pool.threadCount)
    let depthwise = kernels.float.depthwise7x7
    pool.forEachInRuns(strips * channelBlocks) { index, worker in
      let first = index / channelBlocks * rows
      depthwise(
        map, first, min(rows, height - first), index % channelBlocks * depthwiseBlockChannels, weights.pointer, bias.pointer,
        output.pointer, scratch[worker].assumingMemoryBound(to: Float.self))
    }
  }

  /// Positions, with the borders, of the rows that one task computes, unless that makes less than eight rows.
  static let stripPositions = 3072

  /// Rows of a map that one task computes. It copies six more than that; the copy of a block of channels should stay in the L2 cache.
  static func stripRows(height: Int, width: Int) -> Int {
    let most = max(8, stripPositions / (width + 6))
    let strips = (height + most - 1) / most
    return (height + strips - 1) / strips
  }

  /// Square patches of a channels-last map, side by side: `map` `[side · side, channels]` →
  /// `[(side / patch)², patch · patch · channels]`, rows and columns beyond a whole patch left out.
  package func gatherPatches(_ map: Matrix, side: Int, patch: Int, to output: Matrix) {
    precondition(map.rows == side * side && map.stride == map.columns)
    let count = side / patch
    let run = patch * map.columns
    precondition(output.rows == count * count && output.columns == patch * run)
    pool.forEach(count) { row, _ in
      for column in 0..<count {
        var target = output.row(row * count + column)
        for line in 0..<patch {
          target.update(from: map.row((row * patch + line) * side + column * patch), count: run)
          target += run
        }
      }
    }
  }
}
