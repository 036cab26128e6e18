import Kernels
import Parallel
import Support
import Tensors

/// Quantizes rows of a matrix so that the inputs that come later make up for the errors of those before (Frantar et al., 2022), in the form
/// of `HessianFactor`. Rows are independent of each other.
///
/// Each group's scale is searched on the values as they are by then, weighted by D, and in a fixed order: the file's groups are runs of
/// columns. With an order by activation, scales are searched before anything is rounded, because a group's columns come at different times.
package struct GPTQ {
  private let layout: QuantizedLayout
  private let factor: HessianFactor
  private let kernels: FloatKernels
  private let isReordered: Bool
  /// Columns that are rounded between two products with the whole past.
  private let block: Int

  private var scheme: QuantizedScheme { layout.scheme }

  package init(_ layout: QuantizedLayout, _ factor: HessianFactor, _ kernels: FloatKernels) {
    precondition(layout.columns == factor.count)
    self.layout = layout
    self.factor = factor
    self.kernels = kernels
    isReordered = factor.order != Array(0..<factor.count)
    block = isReordered ? 128 : layout.scheme.group
  }

  /// Floats from one row of weights to the next, as `quantize` wants them.
  package var stride: Int { factor.stride }

  /// Quantizes `rows` rows, a multiple of 32 unless they are the matrix's last.
  ///
  /// - Parameters:
  ///   - weights: `[rows][stride]`, all finite. Destroyed.
  ///   - codes, scales, minima: as for `QuantizedLayout.quantize`, panel after panel.
  /// Errors count rows from the first. False where memory is out.
  package func quantize(
    _ weights: UnsafeMutablePointer<Float>, rows: Int, codes: UnsafeMutableRawPointer, scales: UnsafeMutablePointer<UInt16>,
    minima: UnsafeMutablePointer<UInt16>?, _ pool: ThreadPool
  ) throws(QuantizationError) -> Bool {
    guard let work = GPTQWork(layout, stride: stride, block: block, rows: rows, isReordered: isReordered, workers: pool.threadCount) else {
      return false
    }
    let panels = QuantizedLayout.panels(rows: rows)
    func planes(_ panel: Int) -> PanelPlanes {
      PanelPlanes(
        codes: codes + panel * layout.panelCodeBytes, scales: scales + panel * layout.panelScaleCount,
        minima: minima.map { $0 + panel * layout.panelScaleCount })
    }
    if isReordered {
      try pool.forEach(rows) { row, worker throws(QuantizationError) in
        try prepare(row, weights + row * stride, work, line: work.tile(worker))
      }
    }
    for start in Swift.stride(from: 0, to: factor.count, by: block) {
      let columns = min(block, factor.count - start)
      pack(before: start, columns, to: work, pool)
      try pool.forEach(panels) { panel, worker throws(QuantizationError) in
        let first = panel * QuantizedLayout.panelRows
        let here = min(QuantizedLayout.panelRows, rows - first)
        let tile = work.tile(worker)
        updated(weights + first * stride, here, start: start, columns, work, to: tile)
        for row in 0..<here {
          try round(row: first + row, weights + (first + row) * stride, tile + row * block, start: start, columns, work, planes(panel))
        }
      }
    }
    pool.forEach(panels) { panel, _ in
      let first = panel * QuantizedLayout.panelRows
      finish(rows: first..<min(rows, first + QuantizedLayout.panelRows), work, planes(panel))
    }
    return true
  }

  /// The factor's columns of a block above its rows, as panels `[start][32]`.
  private func pack(before start: Int, _ columns: Int, to work: GPTQWork, _ pool: ThreadPool) {
    let chunk = HessianFactor.depth
    pool.forEach((start + chunk - 1) / chunk) { index, _ in
      for k in index * chunk..<min(start, (index + 1) * chunk) {
        for panel in 0..<(columns + panelRows - 1) / panelRows {
          (work.packed + (panel * start + k) * panelRows).update(
            from: factor.values + k * stride + start + panel * panelRows, count: panelRows)
        }
      }
    }
  }

  /// The block's weights of some rows, with what the errors so far ask of them, as `[rows][block]`.
  private func updated(
    _ weights: UnsafeMutablePointer<Float>, _ rows: Int, start: Int, _ columns: Int, _ work: GPTQWork, to tile: UnsafeMutablePointer<Float>
  ) {
    for row in 0..<rows { (tile + row * block).update(from: weights + row * stride + start, count: columns) }
    for k in Swift.stride(from: 0, to: start, by: HessianFactor.depth) {
      for panel in 0..<(columns + panelRows - 1) / panelRows {
        kernels.multiply(
          rows, min(HessianFactor.depth, start - k), weights + k, stride, work.packed + (panel * start + k) * panelRows, panelRows,
          tile + panel * panelRows, block, true)
      }
    }
  }

  /// Rounds a row's values of one block, one after the other, and leaves their errors in place of its weights.
  private func round(
    row: Int, _ weights: UnsafeMutablePointer<Float>, _ values: UnsafeMutablePointer<Float>, start: Int, _ columns: Int, _ work: GPTQWork,
    _ planes: PanelPlanes
  ) throws(QuantizationError) {
    let group = start / scheme.group
    if !isReordered {
      // What is beyond the last column must not widen the range.
      for index in columns..<(columns + 3) / 4 * 4 { values[index] = values[0] }
      let found = factor.pivots.withUnsafeBufferPointer { pivots in
        layout.areFinite(values, columns)
          ? scheme.groupScale(values, columns, .search, weights: pivots.baseAddress.map { $0 + start }) : nil
      }
      guard let found else { throw layout.error(values, columns, row: row, column: start) }
      work.scales[row * layout.groups + group] = found
    }
    let codes = work.codes + row * layout.paddedColumns
    for index in 0..<columns {
      let place = start + index
      let column = isReordered ? factor.order[place] : place
      let (code, value) = scheme.encode(values[index], work.scales[row * layout.groups + column / scheme.group])
      codes[column] = code
      let error = weights[place] - value
      weights[place] = error
      kernels.addMultiple(error, factor.values + place * stride + place + 1, columns - index - 1, values + index + 1)
    }
  }

  /// Scales of a row's groups, before anything is rounded; its weights into the factor's order.
  private func prepare(
    _ row: Int, _ weights: UnsafeMutablePointer<Float>, _ work: GPTQWork, line: UnsafeMutablePointer<Float>
  ) throws(QuantizationError) {
    line.update(from: weights, count: layout.columns)
    for group in 0..<layout.groups {
      let start = group * scheme.group
      let columns = min(scheme.group, layout.columns - start)
      let values = line + start
      for index in columns..<(columns + 3) / 4 * 4 { values[index] = values[0] }
      let found = factor.moments.withUnsafeBufferPointer { moments in
        layout.areFinite(values, columns)
          ? scheme.groupScale(values, columns, .search, weights: moments.baseAddress.map { $0 + start }) : nil
      }
      guard let found else { throw layout.error(values, columns, row: row, column: start) }
      work.scales[row * layout.groups + group] = found
    }
    for place in 0..<layout.columns { weights[place] = line[factor.order[place]] }
  }

  /// Codes and scales to their places in the panel.
  private func finish(rows: Range<Int>, _ work: GPTQWork, _ planes: PanelPlanes) {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: scheme.group) { bytes in
      guard let bytes = bytes.baseAddress else { return }
      for row in 0..<QuantizedLayout.panelRows {
        let isThere = row < rows.count
        for group in 0..<layout.groups {
          let start = group * scheme.group
          let count = isThere ? min(scheme.group, layout.columns - start) : 0
          if isThere { bytes.update(from: work.codes + (rows.lowerBound + row) * layout.paddedColumns + start, count: count) }
          let scale = isThere ? work.scales[(rows.lowerBound + row) * layout.groups + group] : GroupScale(scale: 0, minimum: 0)
          layout.place(bytes, count, scale, row: row, group: group, in: planes)
        }
      }
    }
  }
}

/// Memory of one call.
private struct GPTQWork {
  /// `[rows][paddedColumns]`.
  let codes: UnsafeMutablePointer<UInt8>
  /// `[rows][groups]`.
  let scales: UnsafeMutablePointer<GroupScale>
  /// `[block / 32][count][32]`.
  let packed: UnsafeMutablePointer<Float>
  private let tiles: UnsafeMutablePointer<Float>
  private let tileCount: Int
  private let memory: [AlignedMemory]

  init?(_ layout: QuantizedLayout, stride: Int, block: Int, rows: Int, isReordered: Bool, workers: Int) {
    // A tile of a panel's rows, or a whole row.
    tileCount = max(QuantizedLayout.panelRows * block, isReordered ? layout.columns + 3 : 0)
    let sizes = [
      rows * layout.paddedColumns, rows * layout.groups * MemoryLayout<GroupScale>.stride, block * stride * 4, workers * tileCount * 4,
    ]
    var memory: [AlignedMemory] = []
    for size in sizes {
      guard let part = AlignedMemory(byteCount: size) else { return nil }
      memory.append(part)
    }
    codes = memory[0].base.assumingMemoryBound(to: UInt8.self)
    scales = memory[1].base.assumingMemoryBound(to: GroupScale.self)
    packed = memory[2].base.assumingMemoryBound(to: Float.self)
    tiles = memory[3].base.assumingMemoryBound(to: Float.self)
    self.memory = memory
  }

  func tile(_ worker: Int) -> UnsafeMutablePointer<Float> { tiles + worker * tileCount }
}
