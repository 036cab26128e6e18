import Compute
import Kernels
import Parallel
import TestSupport
import Testing

/// Every instruction set that this machine has.
let kernelNames = KernelChoice.available.map(\.name)

/// Those that multiply and add in one rounding: all but the portable ones on x86, which must not assume such an instruction.
#if arch(x86_64)
  let fusingKernelNames = kernelNames.filter { $0 != "portable" }
#else
  let fusingKernelNames = kernelNames
#endif

/// An engine with the named kernels.
func engine(_ kernels: String, threads: Int = 2) throws -> Engine {
  try Engine(pool: ThreadPool(threadCount: threads), kernels: KernelChoice.kernels(named: kernels))
}

extension Matrix {
  init(_ rows: Int, _ columns: Int, _ numbers: inout SeededNumbers, in range: ClosedRange<Float> = -1...1) throws {
    try self.init(rows: rows, columns: columns, values: numbers.floats(rows * columns, in: range))
  }

  /// The same values as the middle columns of a wider matrix, so that rows do not follow each other.
  func widened(by margin: Int) throws -> Matrix {
    let wide = try Matrix(rows: rows, columns: columns + 2 * margin)
    for row in 0..<wide.rows {
      for column in 0..<wide.columns { wide.row(row)[column] = 1000 }
    }
    let middle = wide[columns: margin..<margin + columns]
    middle.copy(from: self)
    return middle
  }
}

/// The largest distance between the matrix and the reference, with where it is.
func largestError(_ result: [Float], _ reference: [Double]) -> (error: Double, index: Int) {
  precondition(result.count == reference.count)
  var worst = (error: 0.0, index: 0)
  for (index, (value, expected)) in zip(result, reference).enumerated() {
    let error = abs(Double(value) - expected)
    // What is not a number is as far away as can be.
    if !(error <= worst.error) { worst = (error.isNaN ? .infinity : error, index) }
  }
  return worst
}

func expectClose(
  _ result: [Float], _ reference: [Double], within tolerance: Double, _ comment: Comment? = nil,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  let worst = largestError(result, reference)
  #expect(worst.error <= tolerance, comment ?? "at \(worst.index)", sourceLocation: sourceLocation)
}
