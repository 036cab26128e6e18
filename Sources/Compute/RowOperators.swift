import Foundation
import Kernels
import Parallel
import Support

/// A norm of each row of a matrix. Weights and biases are `[1, columns]`.
package enum RowNorm {
  /// `(x − mean) / √(variance + epsilon) · weight + bias`.
  case layer(weight: Matrix, bias: Matrix, epsilon: Float)
  /// `x / √(mean(x²) + epsilon) · weight`.
  case rms(weight: Matrix, epsilon: Float)

  func check(columns: Int) {
    switch self {
    case .layer(let weight, let bias, _): precondition(weight.columns == columns && bias.columns == columns)
    case .rms(let weight, _): precondition(weight.columns == columns)
    }
  }

  /// One row of `count` values; `y` may be `x`.
  func apply(_ x: UnsafePointer<Float>, _ count: Int, to y: UnsafeMutablePointer<Float>, using kernels: FloatKernels) {
    switch self {
    case .layer(let weight, let bias, let epsilon): kernels.layerNorm(x, count, weight.pointer, bias.pointer, epsilon, y)
    case .rms(let weight, let epsilon): kernels.rmsNorm(x, count, weight.pointer, epsilon, y)
    }
  }
}

extension Engine {
  /// Row by row; `output` may be `input`.
  package func normalize(_ input: Matrix, _ norm: RowNorm, to output: Matrix) {
    norm.check(columns: input.columns)
    precondition(output.columns == input.columns && output.rows == input.rows)
    forEachRows(input.rows, columns: input.columns) { rows, _ in
      for row in rows { norm.apply(input.row(row), input.columns, to: output.row(row), using: kernels.float) }
    }
  }
}

struct RotationKey: Hashable {
  let half: Int
  let theta: Float
}

/// Cosines and sines of consecutive positions: `[positions][half]` each.
struct RotationTable {
  let positions: Range<Int>
  let half: Int
  private let memory: AlignedMemory

  var byteCount: Int { memory.byteCount }

  func cosines(_ position: Int) -> UnsafePointer<Float> {
    UnsafePointer(memory.base.assumingMemoryBound(to: Float.self) + (position - positions.lowerBound) * 2 * half)
  }
  func sines(_ position: Int) -> UnsafePointer<Float> { cosines(position) + half }

  /// The inverse frequencies `theta^(−2i / 2half)` are 32-bit floats whatever type the weights have: they are no parameters.
  /// Angles are rounded as the published implementation rounds them, in 32-bit floats: at position 10 000 an exact angle differs by up
  /// to 6e-4. Their cosines and sines are exact.
  init(positions: Range<Int>, half: Int, theta: Float, using engine: Engine) throws(ComputeError) {
    self.positions = positions
    self.half = half
    let bytes = max(1, positions.count * 2 * half * MemoryLayout<Float>.stride)
    guard let memory = AlignedMemory(byteCount: bytes) else { throw .outOfMemory(bytes: bytes) }
    self.memory = memory
    let frequencies = (0..<half).map { i in 1 / Float(pow(Double(theta), Double(Float(2 * i) / Float(2 * half)))) }
    let base = memory.base.assumingMemoryBound(to: Float.self)
    engine.forEachRows(positions.count, columns: 64 * half) { rows, _ in
      for row in rows {
        let position = Float(positions.lowerBound + row)
        for i in 0..<half {
          let angle = Double(position * frequencies[i])
          base[row * 2 * half + i] = Float(cos(angle))
          base[row * 2 * half + half + i] = Float(sin(angle))
        }
      }
    }
  }
}

extension Engine {
  /// Rotary embedding in place of `[tokens, heads · headDimension]` whose first row is at `position`, as Qwen2 has it.
  package func rotate(_ x: Matrix, headDimension: Int, position: Int, theta: Float) throws(ComputeError) {
    precondition(headDimension > 0 && headDimension % 2 == 0 && x.columns % headDimension == 0 && position >= 0)
    let half = headDimension / 2
    let table = try rotation(positions: position..<position + x.rows, half: half, theta: theta)
    let rotate = kernels.float.rotate
    forEachRows(x.rows, columns: x.columns) { rows, _ in
      for row in rows {
        rotate(x.row(row), x.columns / headDimension, half, table.cosines(position + row), table.sines(position + row))
      }
    }
  }

  /// The table of the last positions asked for is kept: all layers ask for the same.
  private func rotation(positions: Range<Int>, half: Int, theta: Float) throws(ComputeError) -> RotationTable {
    let key = RotationKey(half: half, theta: theta)
    if let table = rotations[key], table.positions.lowerBound <= positions.lowerBound, table.positions.upperBound >= positions.upperBound {
      return table
    }
    let table = try RotationTable(positions: positions, half: half, theta: theta, using: self)
    rotations[key] = table
    return table
  }
}

extension Engine {
  /// `output[r] = table[ids[r]]` as floats. Reads the rows asked for and no other. The caller has checked that each id is in
  /// `0 ..< table.rows`.
  package func gatherRows(_ ids: [Int32], of table: WeightMatrix, to output: Matrix) {
    precondition(output.rows == ids.count && output.columns == table.columns)
    let toFloat = kernels.float.toFloat
    forEachRows(ids.count, columns: table.columns) { rows, _ in
      for row in rows {
        let id = Int(ids[row])
        precondition(id >= 0 && id < table.rows)
        switch table.storage {
        case .float(let type, let base):
          toFloat(type, base + id * table.columns * type.size, table.columns, output.row(row))
        case .quantized(let layout, let planes): layout.decode(row: id, 0..<table.columns, of: planes, to: output.row(row))
        case .absent: preconditionFailure("a table that was not loaded")
        }
      }
    }
  }
}
