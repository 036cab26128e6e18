import Kernels
import Parallel
import Support

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

/// `H = (U + 1) · D · (U + 1)ᵀ` with U strictly upper triangular: what GPTQ's error compensation goes by.
///
/// With the errors `e` made in the inputs before j, input j is best rounded at `w_j + Σ_{k<j} e_k · U_kj`, and the layer's squared output
/// error is `Σ_j D_j · (that − its rounded value)²`. This is GPTQ's update without the inverse of H, in which it is usually written: a
/// third of the operations, and in place.
package final class HessianFactor {
  package let count: Int
  /// The matrix's column at each place of the factor.
  package let order: [Int]
  /// D: what an error in each place counts.
  package private(set) var pivots: [Float]
  /// The diagonal of H, damped: by the matrix's columns, whatever the order.
  let moments: [Float]
  let stride: Int
  /// `[count][stride]`; right of the diagonal U, the rest undefined.
  let values: UnsafeMutablePointer<Float>
  /// Holds the memory, which is the factor's from now on.
  private let hessian: Hessian

  /// Rows of a task.
  private static let rows = 64
  /// Inputs that a product sums before it goes to the next: their weights stay in the L1 cache.
  static let depth = 256

  /// Takes `hessian` over; nobody may use it after that.
  ///
  /// - Parameters:
  ///   - factors: each input is multiplied with one before it reaches the layer; nil where none is.
  ///   - damping: what is added to the diagonal, in parts of its mean: keeps directions that no input had from being free.
  ///   - ordersByActivation: the inputs of greatest energy come first, so that all others can make up for their errors.
  package init?(
    _ hessian: Hessian, factors: [Float]? = nil, damping: Float, ordersByActivation: Bool = false, _ kernels: FloatKernels,
    _ pool: ThreadPool
  ) {
    count = hessian.count
    stride = hessian.stride
    values = hessian.values
    self.hessian = hessian
    pivots = [Float](repeating: 1, count: hessian.count)
    let scale = 1 / Float(max(1, hessian.samples))
    let factors = factors.map { $0.map { $0 * scale.squareRoot() } } ?? [Float](repeating: scale.squareRoot(), count: hessian.count)
    pool.forEach(hessian.count) { row, _ in
      let line = hessian.values + row * hessian.stride
      for column in row..<hessian.count { line[column] *= factors[row] * factors[column] }
    }
    let diagonal = hessian.diagonal
    let mean = Float(diagonal.reduce(0.0) { $0 + Double($1) } / Double(max(1, count)))
    // Without any input every direction is free: all count the same.
    let added = mean > 0 ? damping * mean : 1
    for index in 0..<count { values[index * stride + index] += added }
    moments = (0..<hessian.count).map { hessian.values[$0 * hessian.stride + $0] }
    order = ordersByActivation ? (0..<count).sorted { (diagonal[$1], $0) < (diagonal[$0], $1) } : Array(0..<count)
    if ordersByActivation { permute() }
    guard factorize(kernels, pool) else { return nil }
  }

  /// Brings rows and columns into `order`, in place, two of each at a time.
  private func permute() {
    var there = Array(0..<count)  // the column at each place
    var places = there  // the place of each column
    for p in 0..<count {
      let q = places[order[p]]
      if q == p { continue }
      exchange(p, q)
      there.swapAt(p, q)
      places[there[p]] = p
      places[there[q]] = q
    }
  }

  /// Exchanges rows and columns p < q of the symmetric matrix whose upper half is stored.
  private func exchange(_ p: Int, _ q: Int) {
    func swap(_ i: Int, _ j: Int) {
      let value = values[i]
      values[i] = values[j]
      values[j] = value
    }
    swap(p * stride + p, q * stride + q)
    for k in 0..<p { swap(k * stride + p, k * stride + q) }
    for k in p + 1..<q { swap(p * stride + k, k * stride + q) }
    for k in q + 1..<max(q + 1, count) { swap(p * stride + k, q * stride + k) }
  }

  /// From the last panel of 32 columns to the first: subtract what later panels explain, factor the square on the diagonal, and divide
  /// the rows above by it. False where memory is out.
  private func factorize(_ kernels: FloatKernels, _ pool: ThreadPool) -> Bool {
    let width = panelRows
    guard let memory = AlignedMemory(byteCount: (stride * width + 2 * width * width) * 4),
      let rowMemory = AlignedMemory(byteCount: pool.threadCount * Self.rows * width * 4)
    else { return false }
    let packed = memory.base.assumingMemoryBound(to: Float.self)
    let inverse = packed + stride * width
    let rowScratch = rowMemory.base.assumingMemoryBound(to: Float.self)
    for panel in (0..<stride / width).reversed() {
      let first = panel * width
      let columns = min(width, count - first)
      let after = first + columns
      let depth = count - after
      if depth > 0 {
        kernels.packPanel(.float32, values + first * stride + after, stride, columns, depth, packed)
        kernels.scale(packed, -1, depth * width)
        let tasks = (after + Self.rows - 1) / Self.rows
        pool.forEach(tasks) { task, _ in
          let row = task * Self.rows
          for start in Swift.stride(from: 0, to: depth, by: Self.depth) {
            kernels.multiply(
              min(Self.rows, after - row), min(Self.depth, depth - start), values + row * stride + after + start, stride,
              packed + start * width,
              width, values + row * stride + first, stride, true)
          }
        }
      }
      factorDiagonal(first, columns, inverse)
      let tasks = (first + Self.rows - 1) / Self.rows
      pool.forEach(tasks) { task, worker in
        let row = task * Self.rows
        let rows = min(Self.rows, first - row)
        let result = rowScratch + worker * Self.rows * width
        kernels.multiply(rows, columns, values + row * stride + first, stride, inverse, width, result, width, false)
        for index in 0..<rows { (values + (row + index) * stride + first).update(from: result + index * width, count: columns) }
      }
    }
    // R to U: each column by what stands on its diagonal.
    let inverses = pivots.map { 1 / $0.squareRoot() }
    pool.forEach(count) { row, _ in
      let line = values + row * stride
      for column in row..<count { line[column] *= inverses[column] }
    }
    return true
  }

  /// Factors a square of at most 32 on the diagonal to `R·Rᵀ`, keeps D and R, and writes what the rows above are multiplied with, the
  /// inverse of `Rᵀ`.
  private func factorDiagonal(_ first: Int, _ columns: Int, _ inverse: UnsafeMutablePointer<Float>) {
    let width = panelRows
    var r = [Double](repeating: 0, count: width * width)
    for row in 0..<columns {
      for column in row..<columns { r[row * width + column] = Double(values[(first + row) * stride + first + column]) }
    }
    for j in (0..<columns).reversed() {
      var pivot = r[j * width + j]
      let least = max(pivot * 1e-7, 1e-30)
      for k in j + 1..<max(j + 1, columns) { pivot -= r[j * width + k] * r[j * width + k] }
      let root = max(pivot, least).squareRoot()
      r[j * width + j] = root
      pivots[first + j] = Float(root * root)
      for i in 0..<j {
        var value = r[i * width + j]
        for k in j + 1..<max(j + 1, columns) { value -= r[i * width + k] * r[j * width + k] }
        r[i * width + j] = value / root
      }
    }
    // m = R⁻¹, upper triangular: column by column from the diagonal up.
    var m = [Double](repeating: 0, count: width * width)
    for j in 0..<columns {
      m[j * width + j] = 1 / r[j * width + j]
      for i in (0..<j).reversed() {
        var sum = 0.0
        for k in i + 1...j { sum += r[i * width + k] * m[k * width + j] }
        m[i * width + j] = -sum / r[i * width + i]
      }
    }
    for p in 0..<columns {
      for j in 0..<width { inverse[p * width + j] = j < columns ? Float(m[j * width + p]) : 0 }
    }
    for i in 0..<columns {
      for j in i..<columns { values[(first + i) * stride + first + j] = Float(r[i * width + j]) }
    }
  }
}
