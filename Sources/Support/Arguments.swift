#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

extension CommandLine {
  /// The arguments behind the program's own name, byte for byte, as names of files.
  public static var systemArguments: [String] {
    // Swift reads them from /proc, and has none where that is not mounted.
    let read = (0..<Int(argc)).compactMap { unsafeArgv[$0] }
    return (read.isEmpty ? argumentsOfStack : read).dropFirst().map {
      String(fileName: UnsafeRawBufferPointer(start: $0, count: strlen($0)))
    }
  }

  /// What the kernel laid at the end of the first thread's stack: the number of arguments, pointers to them, a null, then the environment.
  private static var argumentsOfStack: [UnsafeMutablePointer<CChar>] {
    var here = 0
    guard let symbol = dlsym(nil, "environ"),
      let environment = symbol.load(as: UnsafePointer<UnsafeMutablePointer<CChar>?>?.self),
      // A library that added to the environment has moved it to the heap, which lies below.
      withUnsafePointer(to: &here, { UnsafeRawPointer($0) < UnsafeRawPointer(environment) })
    else { return [] }
    var found: [UnsafeMutablePointer<CChar>] = []
    var place = environment - 2
    while let argument = place.pointee, UInt(bitPattern: argument) != UInt(found.count) {
      found.append(argument)
      place -= 1
    }
    return found.reversed()
  }
}
