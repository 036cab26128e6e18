import CXXHash
import Kernels
import Support
import Tensors

/// What a perceptron in a tower made of each position of a map when it was last computed there, and of which input: where a frame's input
/// has hardly changed since, that is taken again.
///
/// Without a threshold the inputs are known by 64 bits of a hash, and what is taken again is what would be computed, to the bit. With one,
/// an input's normalised values are int8, each channel in units of its own spread: channels that are louder than others count no more.
package final class BranchMemory {
  /// Difference below which an input counts as the same: the root mean square over the channels, each in units of its spread; 0: none.
  package let threshold: Float
  package let rows: Int
  package let columns: Int
  /// Of the inputs: `[rows]` hashes, or `[rows][columns]` int8.
  private let inputs: AlignedMemory
  /// `[rows][columns]` float32 without a threshold, else float16: before any layer scale.
  private let outputs: AlignedMemory
  /// The norm that makes units of a channel's spread 32; nil until inputs were seen, and of no use without a threshold.
  private var criterion: RowNorm?
  package private(set) var isEmpty = true

  /// Units of int8 in a channel's spread: what is beyond four times of it counts as just that.
  private static let unitsInSpread: Float = 32
  /// Rows at most that a channel's spread is of.
  private static let samples = 256
  /// The least spread of a channel, in units of the normalised row's: one that did not move at first may later.
  private static let leastSpread: Float = 1.0 / 1024

  package init(rows: Int, columns: Int, threshold: Float) throws(ComputeError) {
    (self.rows, self.columns, self.threshold) = (rows, columns, threshold)
    let bytes = threshold > 0 ? (rows * columns, 2 * rows * columns) : (8 * rows, 4 * rows * columns)
    guard let inputs = AlignedMemory(byteCount: bytes.0) else { throw .outOfMemory(bytes: bytes.0) }
    guard let outputs = AlignedMemory(byteCount: bytes.1) else { throw .outOfMemory(bytes: bytes.1) }
    (self.inputs, self.outputs) = (inputs, outputs)
  }

  /// Bytes of a position for each channel: hashes are less than what this is rounded up by.
  package static func bytesPerValue(threshold: Float) -> Int { threshold > 0 ? 3 : 4 }

  /// The next inputs are like none.
  package func forget() { isEmpty = true }

  private var hashes: UnsafeMutablePointer<UInt64> { inputs.base.assumingMemoryBound(to: UInt64.self) }
  private func codes(_ row: Int) -> UnsafeMutablePointer<Int8> { inputs.base.assumingMemoryBound(to: Int8.self) + row * columns }
}

extension Engine {
  /// `output += scale · (outer(inner(norm(input))) + bias)`, as `perceptron` with such a product, but computed only for rows whose input is
  /// not the remembered one. `input` is lost, `spare` of its size. Returns how many rows were computed.
  package func perceptron(
    _ input: Matrix, norm: RowNorm, _ inner: PerceptronInner, _ outer: LinearProduct, remembered memory: BranchMemory, spare: Matrix
  ) throws(ComputeError) -> Int {
    let columns = outer.output.columns
    precondition(memory.rows == input.rows && memory.columns == input.columns && columns == input.columns)
    precondition(spare.rows == input.rows && spare.columns == columns)
    guard case .addTo(let scale) = outer.epilogue else { preconditionFailure("a branch is added to what it leaves") }
    do throws(ComputeError) {
      let rows = try memory.changedRows(input, norm, on: self)
      var made = spare
      if rows.count == input.rows {
        try perceptron(input, norm: norm, inner, LinearProduct(outer.weight, bias: outer.bias, .store, to: spare))
      } else if !rows.isEmpty {
        let some = spare[rows: 0..<rows.count]
        forEachRows(rows.count, columns: columns) { range, _ in
          for index in range { some.row(index).update(from: input.row(rows[index]), count: columns) }
        }
        made = input[rows: 0..<rows.count]
        try perceptron(some, norm: norm, inner, LinearProduct(outer.weight, bias: outer.bias, .store, to: made))
      }
      try memory.add(made, rows, scale: scale, to: outer.output, on: self)
      return rows.count
    } catch {
      // Inputs are remembered whose outputs are not.
      memory.forget()
      throw error
    }
  }
}

extension BranchMemory {
  /// The rows of `input` that are not as remembered, in order; they are from now on. Never one alone, for a matrix of floats adds up that
  /// one otherwise than among others.
  fileprivate func changedRows(_ input: Matrix, _ norm: RowNorm, on engine: Engine) throws(ComputeError) -> [Int] {
    if threshold > 0, isEmpty { criterion = try spreads(of: input, norm, on: engine) }
    let all = isEmpty
    isEmpty = false
    guard let flags = AlignedMemory(byteCount: rows) else { throw .outOfMemory(bytes: rows) }
    let isChanged = flags.base.assumingMemoryBound(to: Bool.self)
    if let criterion {
      // A sum of squares of int8: exact, and so the same however it is added up.
      let units = threshold * Self.unitsInSpread
      let limit = Double(units * units) * Double(columns)
      var layout = ScratchLayout()
      let floats = layout.add(columns, of: Float.self)
      let bytes = layout.add(columns, of: Int8.self)
      let scratch = try engine.workerScratch.reserve(layout.byteCount, workers: engine.pool.threadCount)
      engine.forEachRows(rows, columns: columns) { range, worker in
        let values = scratch[worker].values(floats, of: Float.self)
        let now = scratch[worker].values(bytes, of: Int8.self)
        for row in range {
          criterion.apply(input.row(row), columns, to: values, using: engine.kernels.float)
          roundToInt8(values, columns, now)
          isChanged[row] = all || Double(squaredDistance(now, codes(row), columns)) >= limit
          if isChanged[row] { codes(row).update(from: now, count: columns) }
        }
      }
    } else {
      engine.forEachRows(rows, columns: columns) { range, _ in
        for row in range {
          let hash = sfq_xxh3_64(input.row(row), columns * MemoryLayout<Float>.stride)
          isChanged[row] = all || hashes[row] != hash
          hashes[row] = hash
        }
      }
    }
    var changed = (0..<rows).filter { isChanged[$0] }
    if changed.count == 1, rows > 1 { changed = changed[0] == 0 ? [0, 1] : [0, changed[0]] }
    return changed
  }

  /// What `norm` leaves of a row without its own weights, in units of each channel's spread over some of the rows.
  private func spreads(of input: Matrix, _ norm: RowNorm, on engine: Engine) throws(ComputeError) -> RowNorm {
    let (weights, zeros) = (try Matrix(rows: 1, columns: columns), try Matrix(rows: 1, columns: columns))
    let row = try Matrix(rows: 1, columns: columns)
    weights.buffer.update(repeating: 1)
    var squares = [Float](repeating: 0, count: columns)
    let criterion: RowNorm =
      switch norm {
      case .layer(_, _, let epsilon): .layer(weight: weights, bias: zeros, epsilon: epsilon)
      case .rms(_, let epsilon): .rms(weight: weights, epsilon: epsilon)
      }
    let sampled = stride(from: 0, to: rows, by: (rows + Self.samples - 1) / Self.samples)
    for index in sampled {
      criterion.apply(input.row(index), columns, to: row.row(0), using: engine.kernels.float)
      for channel in 0..<columns { squares[channel] += row.buffer[channel] * row.buffer[channel] }
    }
    for channel in 0..<columns {
      let spread = (squares[channel] / Float(sampled.underestimatedCount)).squareRoot()
      weights.buffer[channel] = Self.unitsInSpread / max(Self.leastSpread, spread)
    }
    return criterion
  }

  /// `output += scale ·` what the branch made: `made` for the rows that were computed, which is kept, for the others what is kept.
  fileprivate func add(
    _ made: Matrix, _ computed: [Int], scale: Matrix?, to output: Matrix, on engine: Engine
  ) throws(ComputeError) {
    let kernels = engine.kernels.float
    let scratch = try engine.workerScratch.reserve(columns * MemoryLayout<Float>.stride, workers: engine.pool.threadCount)
    guard let places = AlignedMemory(byteCount: rows * MemoryLayout<Int>.stride) else { throw .outOfMemory(bytes: 8 * rows) }
    let place = places.base.assumingMemoryBound(to: Int.self)
    place.update(repeating: -1, count: rows)
    for (index, row) in computed.enumerated() { place[row] = index }
    let floats = outputs.base.assumingMemoryBound(to: Float.self)
    let halves = outputs.base.assumingMemoryBound(to: UInt16.self)
    engine.forEachRows(rows, columns: columns) { range, worker in
      for row in range {
        var branch = UnsafePointer(floats + row * columns)
        if place[row] >= 0 {
          branch = UnsafePointer(made.row(place[row]))
          if threshold > 0 {
            kernels.toHalf(branch, columns, halves + row * columns)
          } else {
            (floats + row * columns).update(from: branch, count: columns)
          }
        } else if threshold > 0 {
          let values = scratch[worker].assumingMemoryBound(to: Float.self)
          kernels.toFloat(.float16, halves + row * columns, columns, values)
          branch = UnsafePointer(values)
        }
        for column in stride(from: 0, to: columns, by: panelRows) {
          let count = min(panelRows, columns - column)
          kernels.finishTile(
            .addTo, branch + column, 1, count, nil, scale.map { UnsafePointer($0.pointer + column) }, output.row(row) + column,
            output.stride)
        }
      }
    }
  }
}

// MARK: int8

/// To the nearest integer, ties to even, as far as int8 goes.
private func roundToInt8(_ x: UnsafePointer<Float>, _ count: Int, _ codes: UnsafeMutablePointer<Int8>) {
  // Of a float of this size the last bit is 1: adding it rounds.
  let magic: Float = 12_582_912
  for index in 0..<count {
    let bounded = max(-127, min(127, x[index]))
    codes[index] = Int8(truncatingIfNeeded: (bounded + magic).bitPattern &- magic.bitPattern)
  }
}

private func squaredDistance(_ a: UnsafePointer<Int8>, _ b: UnsafePointer<Int8>, _ count: Int) -> Int {
  var sum: Int32 = 0
  for index in 0..<count {
    let difference = Int32(a[index]) &- Int32(b[index])
    sum &+= difference &* difference
  }
  return Int(sum)
}
