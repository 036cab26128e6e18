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
