import Foundation

/// What a report says of the machine it was made on.
enum Machine {
  /// `AMD EPYC 9R14, 2 processors, 24 GB`
  static var description: String {
    let processors = ProcessInfo.processInfo.activeProcessorCount
    let memory = Double(ProcessInfo.processInfo.physicalMemory) / 1e9
    return "\(name), \(processors) processor\(processors == 1 ? "" : "s"), \(Numbers.fixed(memory, 0)) GB"
  }

  /// The processor's name; a board's where the system tells only that.
  private static var name: String {
    func text(_ path: String) -> String? { (try? Data(contentsOf: URL(fileURLWithPath: path))).map { String(decoding: $0, as: UTF8.self) } }
    let line = text("/proc/cpuinfo")?.split(separator: "\n").first { $0.hasPrefix("model name") }
    let processor = line?.split(separator: ":", maxSplits: 1).dropFirst().first.map(String.init)
    let board = text("/proc/device-tree/model")
    let found = (processor ?? board ?? "").trimmingCharacters(in: CharacterSet.whitespacesAndNewlines.union(.controlCharacters))
    if !found.isEmpty { return found }
    #if arch(x86_64)
      return "x86-64"
    #else
      return "ARM64"
    #endif
  }
}
