/// The inner loops of the runtime, once per instruction set. `Compute` picks one table when it starts and calls nothing else.
///
/// No function allocates, checks its arguments or keeps a pointer: the operators in `Compute` do the checking, once, outside.
/// Pointers need no alignment beyond their element's unless it says so. No output overlaps an input unless it says so.
package struct KernelTable: Sendable {
  /// As the environment variable names it: `portable`, `avx2`, `avxvnni`, `avx512vl`, `avx512`, `amx`, `neon`, `dotprod`, `i8mm`.
  package var name: String

  package var quantized: QuantizedKernels
  package var float: FloatKernels

  package init(name: String, quantized: QuantizedKernels, float: FloatKernels) {
    self.name = name
    self.quantized = quantized
    self.float = float
  }
}
