import CIntrinsics
import Kernels

// Depthwise 7×7 convolution of a block of 16 channels, one cache line, over some rows of a map.
//
// Neighbouring positions of a channels-last map are thousands of bytes apart, often a multiple of the L1 cache's period. So the block
// is first copied to planes of one vector of channels each, with three zeros around the map: each input is copied once and used 49
// times, and the loops below read consecutive vectors and know no edges.

/// Outputs that are computed together.
@inline(__always) private var tileWidth: Int { 9 }

func depthwise7x7(
  _ map: ChannelsLastMap, _ firstRow: Int, _ rows: Int, _ firstChannel: Int, _ weights: UnsafePointer<Float>, _ bias: UnsafePointer<Float>,
  _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutablePointer<Float>
) {
  let left = map.channels - firstChannel
  let channels = left < depthwiseBlockChannels ? left : depthwiseBlockChannels
  let planeWidth = map.width + 6
  let planeCount = (rows + 6) * planeWidth * laneCount
  let taps = scratch
  let planes = scratch + 49 * laneCount
  copyBlock(map, firstRow - 3, rows + 6, firstChannel, channels, planes, planeCount)
  for plane in 0..<((channels + laneCount - 1) / laneCount) {
    let channel = firstChannel + plane * laneCount
    let part = channels - plane * laneCount < laneCount ? channels - plane * laneCount : laneCount
    for tap in 0..<49 { lanes_store(taps + tap * laneCount, load(weights + tap * map.channels + channel, part)) }
    let bias = load(bias + channel, part)
    for y in 0..<rows {
      let input = planes + plane * planeCount + y * planeWidth * laneCount
      let target = output + (firstRow + y) * map.width * map.channels + channel
      if part == laneCount {
        convolveRow(map.width, input, planeWidth, taps, bias, target, map.channels, laneCount)
      } else {
        convolveRow(map.width, input, planeWidth, taps, bias, target, map.channels, part)
      }
    }
  }
}

/// `rows` rows of some channels, from row `first` (which may lie above the map), with three zero positions on each side.
@inline(__always) private func copyBlock(
  _ map: ChannelsLastMap, _ first: Int, _ rows: Int, _ channel: Int, _ channels: Int, _ planes: UnsafeMutablePointer<Float>,
  _ planeCount: Int
) {
  let zero = Lanes(repeating: 0)
  let planesToFill = (channels + laneCount - 1) / laneCount
  for row in 0..<rows {
    let y = first + row
    let isInside = y >= 0 && y < map.height
    for plane in 0..<planesToFill {
      let to = planes + plane * planeCount + row * (map.width + 6) * laneCount
      if isInside {
        for side in 0..<3 {
          lanes_store(to + side * laneCount, zero)
          lanes_store(to + (map.width + 3 + side) * laneCount, zero)
        }
      } else {
        for x in 0..<(map.width + 6) { lanes_store(to + x * laneCount, zero) }
      }
    }
    if !isInside { continue }
    var to = planes + (row * (map.width + 6) + 3) * laneCount
    var from = map.values + y * map.width * map.channels + channel
    for _ in 0..<map.width {
      // No prefetcher follows strides of several kilobytes.
      lanes_prefetch(from + 16 * map.channels)
      if channels == depthwiseBlockChannels {
        for plane in 0..<(depthwiseBlockChannels / laneCount) { lanes_store(to + plane * planeCount, load(from + plane * laneCount)) }
      } else {
        eachVector(channels) { i, part in lanes_store(to + i / laneCount * planeCount, load(from + i, part)) }
      }
      to += laneCount
      from += map.channels
    }
  }
}

/// One row of outputs.
@inline(__always) private func convolveRow(
  _ width: Int, _ input: UnsafePointer<Float>, _ planeWidth: Int, _ taps: UnsafePointer<Float>, _ bias: Lanes,
  _ output: UnsafeMutablePointer<Float>, _ channels: Int, _ part: Int
) {
  if width < tileWidth {
    for x in 0..<width { convolve(1, input + x * laneCount, planeWidth, taps, bias, output + x * channels, channels, part) }
    return
  }
  var x = 0
  while x < width {
    // The last tile ends with the row, and computes again what the one before it had.
    if x > width - tileWidth { x = width - tileWidth }
    convolve(tileWidth, input + x * laneCount, planeWidth, taps, bias, output + x * channels, channels, part)
    x += tileWidth
  }
}

/// Neighbouring outputs, in registers: nine, which divides the widths of the published tower's maps, or one.
///
/// Written out one by one: see `multiply`.
private struct Outputs {
  var s0: Lanes, s1: Lanes, s2: Lanes, s3: Lanes, s4: Lanes, s5: Lanes, s6: Lanes, s7: Lanes, s8: Lanes

  @inline(__always) init(_ bias: Lanes) {
    s0 = bias
    s1 = bias
    s2 = bias
    s3 = bias
    s4 = bias
    s5 = bias
    s6 = bias
    s7 = bias
    s8 = bias
  }

  /// One tap: each output takes `tap` times its input, the first from `input`, the others from the vectors after it.
  @inline(__always) mutating func add(_ input: UnsafePointer<Float>, _ tap: Lanes, count: Int) {
    s0 = multiplyAdd(load(input), tap, s0)
    if count == 1 { return }
    s1 = multiplyAdd(load(input + laneCount), tap, s1)
    s2 = multiplyAdd(load(input + 2 * laneCount), tap, s2)
    s3 = multiplyAdd(load(input + 3 * laneCount), tap, s3)
    s4 = multiplyAdd(load(input + 4 * laneCount), tap, s4)
    s5 = multiplyAdd(load(input + 5 * laneCount), tap, s5)
    s6 = multiplyAdd(load(input + 6 * laneCount), tap, s6)
    s7 = multiplyAdd(load(input + 7 * laneCount), tap, s7)
    s8 = multiplyAdd(load(input + 8 * laneCount), tap, s8)
  }

  @inline(__always) func store(_ to: UnsafeMutablePointer<Float>, _ channels: Int, _ part: Int, count: Int) {
    put(s0, to, part)
    if count == 1 { return }
    put(s1, to + channels, part)
    put(s2, to + 2 * channels, part)
    put(s3, to + 3 * channels, part)
    put(s4, to + 4 * channels, part)
    put(s5, to + 5 * channels, part)
    put(s6, to + 6 * channels, part)
    put(s7, to + 7 * channels, part)
    put(s8, to + 8 * channels, part)
  }
}

/// `store`, under a name that a method of the same name does not hide.
@inline(__always) private func put(_ value: Lanes, _ to: UnsafeMutablePointer<Float>, _ part: Int) { store(value, to, part) }

/// `count` neighbouring outputs, 9 or 1, of one row.
@inline(__always) private func convolve(
  _ count: Int, _ input: UnsafePointer<Float>, _ planeWidth: Int, _ taps: UnsafePointer<Float>, _ bias: Lanes,
  _ output: UnsafeMutablePointer<Float>, _ channels: Int, _ part: Int
) {
  var sums = Outputs(bias)
  var row = input
  var tap = taps
  for _ in 0..<7 {
    // A loop, not seven copies: in those the compiler would load each input once for all seven taps, and run out of registers.
    var from = row
    for _ in 0..<7 {
      sums.add(from, load(tap), count: count)
      from += laneCount
      tap += laneCount
    }
    row += planeWidth * laneCount
  }
  sums.store(output, channels, part, count: count)
}
