import CIntrinsics
import Kernels

// Depthwise 7×7 convolution of a block of 32 channels over some rows of a map.
//
// Neighbouring positions of a channels-last map are thousands of bytes apart, often a multiple of the L1 cache's period. So the block
// is first copied, one vector of channels at a time, to a plane of its own with three zeros around the map: each input is copied once
// and used 49 times, and the loop below reads consecutive vectors and knows no edges.

@inline(__always) private var tileWidth: Int { Int(FLOAT_CONVOLUTION_TILE) }

func depthwise7x7(
  _ map: ChannelsLastMap, _ firstRow: Int, _ rows: Int, _ firstChannel: Int, _ weights: UnsafePointer<Float>, _ bias: UnsafePointer<Float>,
  _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutablePointer<Float>
) {
  let lastChannel = min(map.channels, firstChannel + depthwiseBlockChannels)
  let taps = scratch
  let plane = scratch + 49 * laneCount
  let planeWidth = map.width + 6
  var channel = firstChannel
  while channel < lastChannel {
    let part = min(laneCount, lastChannel - channel)
    for tap in 0..<49 { lanes_store(taps + tap * laneCount, load(weights + tap * map.channels + channel, part)) }
    copyPlane(map, firstRow - 3, rows + 6, channel, part, plane)
    let bias = load(bias + channel, part)
    for y in 0..<rows {
      let input = plane + y * planeWidth * laneCount
      let target = output + (firstRow + y) * map.width * map.channels + channel
      var x = 0
      if map.width >= tileWidth {
        while x < map.width {
          // The last tile ends with the row, and computes again what the one before it had.
          x = min(x, map.width - tileWidth)
          convolve(tileWidth, input + x * laneCount, planeWidth, taps, bias, target + x * map.channels, map.channels, part)
          x += tileWidth
        }
      } else {
        while x < map.width {
          convolve(1, input + x * laneCount, planeWidth, taps, bias, target + x * map.channels, map.channels, part)
          x += 1
        }
      }
    }
    channel += laneCount
  }
}

/// `rows` rows of one vector of channels, from row `first` (which may lie above the map), with three zero positions on each side.
@inline(__always) private func copyPlane(
  _ map: ChannelsLastMap, _ first: Int, _ rows: Int, _ channel: Int, _ part: Int, _ plane: UnsafeMutablePointer<Float>
) {
  let zero = Lanes(repeating: 0)
  var to = plane
  for row in first..<(first + rows) {
    if row < 0 || row >= map.height {
      for _ in 0..<(map.width + 6) {
        lanes_store(to, zero)
        to += laneCount
      }
      continue
    }
    for side in 0..<3 {
      lanes_store(to + side * laneCount, zero)
      lanes_store(to + (map.width + 3 + side) * laneCount, zero)
    }
    to += 3 * laneCount
    var from = map.values + row * map.width * map.channels + channel
    if part == laneCount {
      for _ in 0..<map.width {
        lanes_store(to, lanes_load(from))
        to += laneCount
        from += map.channels
      }
    } else {
      for _ in 0..<map.width {
        lanes_store(to, lanes_load_part(from, part))
        to += laneCount
        from += map.channels
      }
    }
    to += 3 * laneCount
  }
}

/// `width` neighbouring outputs, all in registers.
@inline(__always) private func convolve(
  _ width: Int, _ input: UnsafePointer<Float>, _ planeWidth: Int, _ taps: UnsafePointer<Float>, _ bias: Lanes,
  _ output: UnsafeMutablePointer<Float>, _ channels: Int, _ part: Int
) {
  withUnsafeTemporaryAllocation(of: Lanes.self, capacity: width) { sums in
    for x in 0..<width { sums[x] = bias }
    for i in 0..<7 {
      let row = input + i * planeWidth * laneCount
      for j in 0..<7 {
        let tap = lanes_load(taps + (7 * i + j) * laneCount)
        for x in 0..<width { sums[x] = multiplyAdd(lanes_load(row + (x + j) * laneCount), tap, sums[x]) }
      }
    }
    for x in 0..<width { store(sums[x], output + x * channels, part) }
  }
}
