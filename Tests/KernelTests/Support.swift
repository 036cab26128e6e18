import Compute
import Kernels

/// The tables that this machine runs, by name: the arguments of all tests of kernels.
let tableNames = KernelChoice.available.map(\.name)

func quantizedKernels(_ name: String) throws -> QuantizedKernels { try KernelChoice.kernels(named: name).quantized }
