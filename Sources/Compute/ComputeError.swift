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
