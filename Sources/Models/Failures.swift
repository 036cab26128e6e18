import Compute
import Support

/// Runs operators, their failures as the program's.
package func compute<T>(_ body: () throws(ComputeError) -> T) throws(SlowFastError) -> T {
  do throws(ComputeError) { return try body() } catch { throw SlowFastError(error) }
}
