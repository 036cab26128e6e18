import Foundation
import Kernels
import Parallel

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
