import Foundation
import TestSupport

/// `fuzz TARGET FOLDER [OPTION…]`: libFuzzer with that target. `FOLDER` gets the inputs that reach something new.
/// `fuzz TARGET FILE`: one input that was found, once.
/// Without arguments it prints the targets.
@main struct Main {
  static func main() throws {
    var arguments = CommandLine.arguments
    guard arguments.count > 2, let target = FuzzTarget.all.first(where: { $0.name == arguments[1] }) else {
      print(FuzzTarget.all.map(\.name).joined(separator: "\n"))
      exit(arguments.count > 1 ? 2 : 0)
    }
    chosen = target
    arguments.remove(at: 1)
    var isFolder: ObjCBool = true
    if !FileManager.default.fileExists(atPath: arguments[1], isDirectory: &isFolder) || isFolder.boolValue {
      try FileManager.default.createDirectory(atPath: arguments[1], withIntermediateDirectories: true)
      for (number, seed) in try target.seeds().enumerated() {
        try Data(seed).write(to: URL(fileURLWithPath: "\(arguments[1])/seed-\(number)"))
      }
    }
    var count = CInt(arguments.count)
    var pointers = arguments.map { strdup($0) } + [nil]
    pointers.withUnsafeMutableBufferPointer { buffer in
      var base = buffer.baseAddress
      exit(runDriver(&count, &base, readInput))
    }
  }
}

/// Set once, before there is a second thread.
private nonisolated(unsafe) var chosen = FuzzTarget.modelFile

private typealias Input = @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
private typealias ArgumentList = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>

@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(_ count: UnsafeMutablePointer<CInt>, _ arguments: UnsafeMutablePointer<ArgumentList?>, _ input: Input) -> CInt

@_silgen_name("LLVMFuzzerMutate")
private func mutateBytes(_ data: UnsafeMutablePointer<UInt8>, _ count: Int, _ limit: Int) -> Int

private func readInput(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  do { try chosen.read(Array(UnsafeBufferPointer(start: data, count: count))) } catch {
    let text = "\(error)"
    require(!text.utf8.contains { $0 < 0x20 || $0 == 0x7F }, "an error of more than a line, or with a control character: \(text)")
  }
  return 0
}

/// libFuzzer calls it by its name for every change.
@_cdecl("LLVMFuzzerCustomMutator")
public func changeInput(_ data: UnsafeMutablePointer<UInt8>, _ count: Int, _ limit: Int, _ seed: UInt32) -> Int {
  var numbers = SeededNumbers(UInt64(seed))
  var bytes = Array(UnsafeBufferPointer(start: data, count: count))
  // libFuzzer's own changes have what comparisons looked for.
  if Int.random(in: 0..<4, using: &numbers) == 0 {
    bytes = Array(UnsafeBufferPointer(start: data, count: mutateBytes(data, count, limit)))
  } else {
    for _ in 0..<Int.random(in: 1...3, using: &numbers) { chosen.mutate(&bytes, &numbers) }
  }
  bytes = Array(bytes.prefix(limit))
  chosen.repair(&bytes)
  guard bytes.count <= limit else { return count }
  bytes.withUnsafeBufferPointer { if let base = $0.baseAddress { data.update(from: base, count: $0.count) } }
  return bytes.count
}
