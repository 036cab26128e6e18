import CIntrinsics

/// A vector of floats as wide as this module's instruction set has registers.
typealias Lanes = float_lanes
/// Floats in `Lanes`.
@inline(__always) var laneCount: Int { Int(FLOAT_LANES) }

// `part` values, the rest of the vector zero; without a branch where `part` is the constant number of lanes.

@inline(__always) func load(_ pointer: UnsafePointer<Float>) -> Lanes { lanes_load(pointer) }

@inline(__always) func load(_ pointer: UnsafePointer<Float>, _ part: Int) -> Lanes {
  part == laneCount ? lanes_load(pointer) : lanes_load_part(pointer, part)
}

@inline(__always) func store(_ value: Lanes, _ pointer: UnsafeMutablePointer<Float>) { lanes_store(pointer, value) }

@inline(__always) func store(_ value: Lanes, _ pointer: UnsafeMutablePointer<Float>, _ part: Int) {
  if part == laneCount { lanes_store(pointer, value) } else { lanes_store_part(pointer, value, part) }
}

/// Calls `body(offset, laneCount)` for each full vector of `count` values and `body(offset, part)` for what remains. Both are inlined,
/// the first with a constant.
@inline(__always) func eachVector(_ count: Int, _ body: (_ offset: Int, _ part: Int) -> Void) {
  var offset = 0
  while offset + laneCount <= count {
    body(offset, laneCount)
    offset += laneCount
  }
  if offset < count { body(offset, count - offset) }
}

/// `a · b + c`, fused where the machine can.
@inline(__always) func multiplyAdd(_ a: Lanes, _ b: Lanes, _ c: Lanes) -> Lanes { lanes_multiply_add(a, b, c) }

// MARK: pairs of vectors

/// Two vectors side by side, for loops over independent values: two chains of dependent instructions keep the processor busy where one
/// does not, and constants are loaded once for both.
struct Wide {
  var low: Lanes
  var high: Lanes

  @inline(__always) init(_ low: Lanes, _ high: Lanes) {
    self.low = low
    self.high = high
  }

  @inline(__always) init(repeating value: Float) { self.init(Lanes(repeating: value), Lanes(repeating: value)) }

  @inline(__always) static func + (a: Wide, b: Wide) -> Wide { Wide(a.low + b.low, a.high + b.high) }
  @inline(__always) static func - (a: Wide, b: Wide) -> Wide { Wide(a.low - b.low, a.high - b.high) }
  @inline(__always) static func * (a: Wide, b: Wide) -> Wide { Wide(a.low * b.low, a.high * b.high) }
  @inline(__always) static func / (a: Wide, b: Wide) -> Wide { Wide(a.low / b.low, a.high / b.high) }
  @inline(__always) static func += (a: inout Wide, b: Wide) { a = a + b }
  @inline(__always) static prefix func - (a: Wide) -> Wide { Wide(-a.low, -a.high) }

  /// See the functions of `float_lanes.h`.
  @inline(__always) var magnitude: Wide { Wide(lanes_magnitude(low), lanes_magnitude(high)) }
  @inline(__always) func orMore(_ b: Wide) -> Wide { Wide(lanes_max(low, b.low), lanes_max(high, b.high)) }
  @inline(__always) func orLess(_ b: Wide) -> Wide { Wide(lanes_min(low, b.low), lanes_min(high, b.high)) }
}

@inline(__always) var wideCount: Int { 2 * laneCount }

@inline(__always) func multiplyAdd(_ a: Wide, _ b: Wide, _ c: Wide) -> Wide {
  Wide(lanes_multiply_add(a.low, b.low, c.low), lanes_multiply_add(a.high, b.high, c.high))
}

@inline(__always) func loadWide(_ pointer: UnsafePointer<Float>) -> Wide { Wide(lanes_load(pointer), lanes_load(pointer + laneCount)) }

@inline(__always) func loadWide(_ pointer: UnsafePointer<Float>, _ part: Int) -> Wide {
  if part == wideCount { return loadWide(pointer) }
  if part < laneCount { return Wide(lanes_load_part(pointer, part), Lanes(repeating: 0)) }
  return Wide(lanes_load(pointer), lanes_load_part(pointer + laneCount, part - laneCount))
}

@inline(__always) func store(_ value: Wide, _ pointer: UnsafeMutablePointer<Float>, _ part: Int) {
  if part < laneCount {
    lanes_store_part(pointer, value.low, part)
    return
  }
  lanes_store(pointer, value.low)
  if part == wideCount {
    lanes_store(pointer + laneCount, value.high)
  } else {
    lanes_store_part(pointer + laneCount, value.high, part - laneCount)
  }
}

/// Calls `body(offset, wideCount)` for each full pair of vectors of `count` values and `body(offset, part)` for what remains.
@inline(__always) func eachWide(_ count: Int, _ body: (_ offset: Int, _ part: Int) -> Void) {
  var offset = 0
  while offset + wideCount <= count {
    body(offset, wideCount)
    offset += wideCount
  }
  if offset < count { body(offset, count - offset) }
}
