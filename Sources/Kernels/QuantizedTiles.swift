import CIntrinsics

/// Inputs whose codes are multiplied, and where need be unpacked into scratch, together: so many stay in the first-level cache.
@inlinable package var blockInputs: Int { 256 }

/// What a kernel multiplies at once: some groups of a panel by one tile of tokens.
@usableFromInline package struct QuantizedTile {
  /// The panel's codes, as they are or unpacked into the kernel's own layout.
  @usableFromInline package var weights: UnsafeRawPointer
  /// Where a kernel may put what it has no register for: 1 KiB at a 64-byte boundary.
  @usableFromInline package var scratch: UnsafeMutableRawPointer
  /// `[groups · group / 4][width][4]`, or eights or whole groups in place of fours.
  @usableFromInline package var values: UnsafePointer<Int8>
  /// `[groups][width]`.
  @usableFromInline package var scales: UnsafePointer<Float>
  @usableFromInline package var sums: UnsafePointer<Float>
  /// `[groups · offsetsPerGroup][width]`.
  @usableFromInline package var offsets: UnsafePointer<Int32>
  /// float16 bits, `[groups][32]`.
  @usableFromInline package var weightScales: UnsafePointer<UInt16>
  @usableFromInline package var minima: UnsafePointer<UInt16>?
  @usableFromInline package var groups: Int
  @usableFromInline package var group: Int
  /// Tokens, at most `tileTokens`.
  @usableFromInline package var width: Int
  /// `[width][32]`: added to.
  @usableFromInline package var output: UnsafeMutablePointer<Float>
  /// Codes that are wanted after these, of which a kernel that can asks for some in each step of its loop, `requestStep` bytes from one
  /// request to the next.
  @usableFromInline package var ahead: UnsafeRawPointer
  @usableFromInline package var requestStep: Int

  /// Groups `first ..< first + groups` of one tile of `rows`; a token has `offsetsPerGroup` offsets in each.
  @inlinable @inline(__always)
  package init(
    _ panel: QuantizedPanel, _ rows: QuantizedRows, tile: Int, first: Int, groups: Int, offsetsPerGroup: Int = 1, weights: UnsafeRawPointer,
    scratch: UnsafeMutableRawPointer, output: UnsafeMutablePointer<Float>, ahead: UnsafeRawPointer, requestStep: Int
  ) {
    let token = tile * tileTokens
    let columns = panel.groups * panel.group
    width = smaller(tileTokens, rows.count - token)
    self.weights = weights
    self.scratch = scratch
    values = UnsafePointer(rows.values + token * columns + first * panel.group * width)
    scales = UnsafePointer(rows.scales + token * panel.groups + first * width)
    sums = UnsafePointer(rows.sums + token * panel.groups + first * width)
    offsets = UnsafePointer(rows.offsets + token * columns / 32 + first * offsetsPerGroup * width)
    weightScales = panel.scales + first * panelRows
    minima = panel.minima.map { $0 + first * panelRows }
    self.groups = groups
    group = panel.group
    self.output = output + token * panelRows
    self.ahead = ahead
    self.requestStep = requestStep
  }
}

/// The loops around every kernel: blocks of about `inputs` inputs, and all tiles of tokens for each. `unpack` is called once for each block
/// and returns where its codes then are.
///
/// While a tile is computed with, a part of the next block's codes is asked for: they come from memory, and no prefetcher reads as far
/// ahead. All at once they keep the tile's own loads waiting: a kernel that makes `requestsInGroup` requests while it multiplies a group of
/// a tile is told which, if there are enough of them.
@inlinable @inline(__always)
package func multiplyInBlocks(
  bits: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, offsetsPerGroup: Int = 1,
  inputs: Int = blockInputs, requestsInGroup: Int = 0, scratch: UnsafeMutableRawPointer,
  unpack: (_ first: Int, _ groups: Int) -> UnsafeRawPointer, multiply: (QuantizedTile) -> Void
) {
  clear(output, rows.count)
  let step = greater(1, inputs / panel.group)
  let tiles = rows.tiles
  let groupBytes = panel.group * panelRows * bits / 8
  let share = (step * groupBytes / 64 + tiles - 1) / tiles * 64
  let requests = step * requestsInGroup
  let isSpread = share <= 64 * requests
  let requestStep = isSpread ? (share + requests - 1) / requests : 0
  var first = 0
  while first < panel.groups {
    let groups = smaller(step, panel.groups - first)
    let weights = unpack(first, groups)
    // After the last block comes the next panel.
    var codes = panel.codes + (first + groups) * groupBytes
    for tile in 0..<tiles {
      if !isSpread { prefetch(codes, share) }
      multiply(
        QuantizedTile(
          panel, rows, tile: tile, first: first, groups: groups, offsetsPerGroup: offsetsPerGroup, weights: weights, scratch: scratch,
          output: output, ahead: codes, requestStep: requestStep))
      codes += share
    }
    first += groups
  }
}

/// Asks for `bytes` bytes in the second-level cache.
@inlinable @inline(__always)
package func prefetch(_ from: UnsafeRawPointer, _ bytes: Int) {
  var place = 0
  while place < bytes {
    prefetch_line(from + place)
    place += 64
  }
}

/// Zeros for 32 rows of `count` tokens.
@inlinable @inline(__always)
package func clear(_ output: UnsafeMutablePointer<Float>, _ count: Int) {
  for index in 0..<count * panelRows { output[index] = 0 }
}

// Not `min` and `max`: a kernel module may hold no specialised copy of a generic function, for the linker could choose that copy for code
// that runs on machines without the kernel's instructions.

@inlinable @inline(__always)
package func smaller(_ a: Int, _ b: Int) -> Int { a < b ? a : b }
@inlinable @inline(__always)
package func greater(_ a: Int, _ b: Int) -> Int { a > b ? a : b }
