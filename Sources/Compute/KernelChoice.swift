import CIntrinsics
import Foundation
import Kernels
import KernelsPortable

#if arch(x86_64)
  import KernelsAMX
  import KernelsAVX2
  import KernelsAVX512
  import KernelsAVX512VL
  import KernelsAVXVNNI
#elseif arch(arm64)
  import KernelsDotProd
  import KernelsI8MM
  import KernelsNEON
#endif

/// The kernel tables of this program, and the one to use on this machine.
package enum KernelChoice {
  /// The environment variable that names the kernels to use instead of the best.
  package static let environmentVariable = "SLOWFAST_KERNELS"

  /// The tables that this machine runs, best first. The last is `portable`.
  package static let available: [KernelTable] = {
    var tables: [KernelTable] = []
    #if arch(x86_64)
      if cpu_has_amx_int8() != 0 {
        tables.append(KernelTable(name: "amx", quantized: quantizedKernelsAMX, float: KernelsAVX512.floatKernels))
      }
      if cpu_has_x86_64_v4_vnni() != 0 {
        tables.append(KernelTable(name: "avx512", quantized: quantizedKernelsAVX512, float: KernelsAVX512.floatKernels))
        tables.append(
          KernelTable(name: "avx512vl", quantized: KernelsAVX512VL.quantizedKernelsVNNI256, float: KernelsAVX2.floatKernels))
      }
      if cpu_has_x86_64_v3_vnni() != 0 {
        tables.append(KernelTable(name: "avxvnni", quantized: KernelsAVXVNNI.quantizedKernelsVNNI256, float: KernelsAVX2.floatKernels))
      }
      if cpu_has_x86_64_v3() != 0 {
        tables.append(KernelTable(name: "avx2", quantized: quantizedKernelsAVX2, float: KernelsAVX2.floatKernels))
      }
    #elseif arch(arm64)
      // The portable loops over floats are NEON's: every 64-bit ARM has it, and neither extension has more for floats.
      let float = KernelsPortable.floatKernels
      if cpu_has_i8mm() != 0 { tables.append(KernelTable(name: "i8mm", quantized: quantizedKernelsI8MM, float: float)) }
      if cpu_has_dotprod() != 0 { tables.append(KernelTable(name: "dotprod", quantized: quantizedKernelsDotProd, float: float)) }
      tables.append(KernelTable(name: "neon", quantized: quantizedKernelsNEON, float: float))
    #endif
    tables.append(KernelTable(name: "portable", quantized: quantizedKernelsPortable, float: KernelsPortable.floatKernels))
    return tables
  }()

  /// The table of that name; nil takes the best.
  package static func kernels(named name: String?) throws(ComputeError) -> KernelTable {
    guard let name else { return available[0] }
    guard let table = available.first(where: { $0.name == name }) else {
      throw .noSuchKernels(name: name, available: available.map(\.name))
    }
    return table
  }

  /// What the environment names, or the best.
  package static func kernelsFromEnvironment() throws(ComputeError) -> KernelTable {
    let name = ProcessInfo.processInfo.environment[environmentVariable] ?? ""
    return try kernels(named: name.isEmpty ? nil : name)
  }
}
