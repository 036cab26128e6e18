import Kernels
import Parallel
import Support

/// The operators of the model on one machine: a kernel table, a thread pool, scratch memory.
/// Not for two threads at once: those that share one take `turns`, in which no operator is under way when it yields.
///
/// Operators check shapes with preconditions: a shape comes from the model's code, never from a file that was not checked. None keeps a
/// pointer, and the results of one do not depend on the number of threads.
package final class Engine {
  package let kernels: KernelTable
  package let pool: ThreadPool
  /// Whose turn it is to call operators, where several threads do.
  package let turns = FairLock()

  /// Shared by the workers: quantized inputs, partial attention.
  let sharedScratch = Scratch()
  /// A part for each worker.
  let workerScratch = Scratch()
  /// What is between the two layers of a perceptron.
  let innerScratch = Scratch()
  /// Normalised inputs, where they are wanted as floats.
  let normScratch = Scratch()
  var rotations: [RotationKey: RotationTable] = [:]

  /// Sees each weight and the input that it is about to be multiplied with, as floats. It costs nothing where there is none.
  package var observer: ((WeightMatrix, Matrix) throws(ComputeError) -> Void)?

  /// `kernels` defaults to the best that this machine runs, or what `SLOWFAST_KERNELS` names.
  package init(pool: ThreadPool, kernels: KernelTable? = nil) throws(ComputeError) {
    self.pool = pool
    if let kernels { self.kernels = kernels } else { self.kernels = try KernelChoice.kernelsFromEnvironment() }
  }

  /// Bytes of scratch memory that the engine holds now. It grows with the largest operator so far; see `scratchBytes(…)` for a bound.
  package var scratchBytes: Int {
    [sharedScratch, workerScratch, innerScratch, normScratch].reduce(0) { $0 + $1.byteCount }
      + rotations.values.reduce(0) { $0 + $1.byteCount }
  }

  /// Calls `body` with ranges that together are `0 ..< rows`, in parallel where a row of `columns` values makes that worth while.
  func forEachRows(_ rows: Int, columns: Int, _ body: (_ rows: Range<Int>, _ worker: Int) -> Void) {
    // Below about 10 microseconds of work another thread is not worth waking.
    let chunk = max(1, 16_384 / max(1, columns))
    if rows <= chunk {
      body(0..<rows, 0)
    } else {
      pool.forEachInRuns((rows + chunk - 1) / chunk) { index, worker in body(index * chunk..<min(rows, (index + 1) * chunk), worker) }
    }
  }
}

/// How a computation can fail before it starts.
package enum ComputeError: Error, Equatable, Sendable {
  case outOfMemory(bytes: Int)
  /// `SLOWFAST_KERNELS` names an instruction set that is unknown or that this machine lacks.
  case noSuchKernels(name: String, available: [String])
}

extension ComputeError: CustomStringConvertible {
  package var description: String {
    switch self {
    case .outOfMemory(let bytes):
      return bytes == .max ? "out of memory: a buffer larger than any memory was asked for" : "out of memory: \(bytes) bytes were asked for"
    case .noSuchKernels(let name, let available):
      let choice = available.joined(separator: ", ")
      return "\(KernelChoice.environmentVariable): this machine has no kernels named \(name.debugDescription); it has \(choice)"
    }
  }
}

extension ComputeError: ClassifiedError {
  package var kind: SlowFastError.Kind {
    switch self {
    case .outOfMemory: .notEnoughMemory
    case .noSuchKernels: .invalidOption
    }
  }
}
