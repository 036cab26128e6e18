import Kernels
import Parallel

/// `H = Σ x·xᵀ` over the inputs `x` that a linear layer was seen to take: what an error in its weights costs in its outputs is
/// `error · H · errorᵀ`. Float32, filled a block of inputs at a time by all threads; the sums do not depend on how many there are.
package final class Hessian {
  /// Inputs of the layer.
  package let count: Int
  /// Inputs seen.
  package private(set) var samples = 0
  /// Floats from row to row: `count` rounded up to the 32 columns that a product makes.
  let stride: Int
  /// `[count][stride]`; only what is on the diagonal and right of it counts.
  let values: UnsafeMutablePointer<Float>
  private let memory: AlignedMemory

  /// Inputs that are multiplied together: their copies stay in a cache.
  static let block = 256
  /// Rows of H that are a task.
  private static let rows = 128

  /// All zeros; nil where memory is out.
  package init?(count: Int) {
    guard count > 0, count < 1 << 24 else { return nil }
    self.count = count
    stride = (count + panelRows - 1) / panelRows * panelRows
    guard let memory = AlignedMemory(byteCount: count * stride * MemoryLayout<Float>.stride) else { return nil }
    self.memory = memory
    values = memory.base.assumingMemoryBound(to: Float.self)
  }

  /// Bytes that a Hessian of so many inputs takes.
  package static func byteCount(_ count: Int) -> Int { count * ((count + panelRows - 1) / panelRows * panelRows) * 4 }

  /// `Σ x²` of each input, over all that were seen.
  package var diagonal: [Float] { (0..<count).map { values[$0 * stride + $0] } }

  /// Adds `tokens` rows of `count` values, row t at `x + t · rowStride`. False where memory is out.
  package func add(_ x: UnsafePointer<Float>, rowStride: Int, tokens: Int, _ kernels: FloatKernels, _ pool: ThreadPool) -> Bool {
    let panels = stride / panelRows
    let block = min(Self.block, tokens)
    guard block > 0, let copies = AlignedMemory(byteCount: 2 * stride * block * MemoryLayout<Float>.stride) else { return block == 0 }
    // [panels][block][32], and the same turned: [stride][block].
    let packed = copies.base.assumingMemoryBound(to: Float.self)
    let turned = packed + stride * block
    for start in Swift.stride(from: 0, to: tokens, by: block) {
      let here = min(block, tokens - start)
      let rows = x + start * rowStride
      pool.forEach(panels) { panel, _ in
        let width = min(panelRows, count - panel * panelRows)
        let target = packed + panel * panelRows * block
        let side = turned + panel * panelRows * block
        for token in 0..<here {
          let source = rows + token * rowStride + panel * panelRows
          (target + token * panelRows).update(from: source, count: width)
          for column in 0..<width { side[column * block + token] = source[column] }
        }
      }
      let tasks = (count + Self.rows - 1) / Self.rows
      pool.forEach(tasks) { task, _ in
        let first = task * Self.rows
        for panel in first / panelRows..<panels {
          let last = min(first + Self.rows, min(count, (panel + 1) * panelRows))
          kernels.multiply(
            last - first, here, turned + first * block, block, packed + panel * panelRows * block, panelRows,
            values + first * stride + panel * panelRows, stride, true)
        }
      }
    }
    samples += tokens
    return true
  }
}
