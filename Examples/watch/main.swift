// Describes every clip that appears in a folder: one line of JSON each. Ctrl-C ends it.
//
//     example-watch MODEL FOLDER [QUESTION]
import Foundation
import SlowFast
import Synchronization

guard CommandLine.arguments.count >= 3 else {
  FileHandle.standardError.write(Data("usage: example-watch MODEL FOLDER [QUESTION]\n".utf8))
  exit(2)
}
let folder = URL(fileURLWithPath: CommandLine.arguments[2])
let question = CommandLine.arguments.count > 3 ? CommandLine.arguments[3] : "What happens in this video?"

/// Ctrl-C stops the work where it is clean to stop; the second one ends the program as it is.
enum Interrupt {
  private static let requested = Atomic(false)
  static var isRequested: Bool { requested.load(ordering: .relaxed) }
  static func request() { if requested.exchange(true, ordering: .relaxed) { _exit(130) } }
}
signal(SIGINT) { _ in Interrupt.request() }
var interrupts = sigset_t()  // which a parent may have left blocked
sigemptyset(&interrupts)
sigaddset(&interrupts, SIGINT)
sigprocmask(SIG_UNBLOCK, &interrupts, nil)

/// What is printed of a clip.
struct Line: Encodable {
  var clip: String
  var description: String?
  var seconds: Double?
  var error: String?

  func print() throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    try FileHandle.standardOutput.write(contentsOf: encoder.encode(self) + Data("\n".utf8))
  }
}

/// As long as this stays the same, nobody has written to a file.
struct Stamp: Equatable {
  var size: Int
  var changed: Date

  init?(_ file: URL) {
    guard let values = try? FileManager.default.attributesOfItem(atPath: file.path),
      values[.type] as? FileAttributeType == .typeRegular, let size = values[.size] as? Int, size > 0,
      let changed = values[.modificationDate] as? Date
    else { return nil }
    (self.size, self.changed) = (size, changed)
  }
}

do {
  let model = try VideoLanguageModel(path: CommandLine.arguments[1])
  var options = SessionOptions()
  options.keepsWeights = true  // for the next clip
  let session = try Session(model, options: options)

  func describe(_ file: URL) throws -> Line {
    let start = Date()
    let frames = SamplingRequest(frames: model.defaultFrameCount)
    try session.watch([ClipSource(path: file.path)], sampling: frames, isCancelled: { Interrupt.isRequested })
    let answer = try session.ask(question, options: model.generationDefaults, isCancelled: { Interrupt.isRequested })
    return Line(clip: file.lastPathComponent, description: answer.text, seconds: Date().timeIntervalSince(start))
  }

  func files() throws -> [URL] {
    try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil, options: .skipsHiddenFiles)
      .sorted { $0.path < $1.path }
  }

  /// Files that are dealt with, as they were then. What is there at the start is not new.
  var done = Dictionary(try files().map { ($0, Stamp($0)) }) { first, _ in first }
  /// Files that may still grow: as they were at the last look, and since when.
  var waiting: [URL: (stamp: Stamp, since: Date)] = [:]
  FileHandle.standardError.write(Data("watching \(folder.path)\n".utf8))

  while !Interrupt.isRequested {
    for file in try files() where !Interrupt.isRequested {
      guard let stamp = Stamp(file), done[file] != stamp else { continue }
      guard let (known, since) = waiting[file], known == stamp else {
        waiting[file] = (stamp, Date())
        continue
      }
      guard Date().timeIntervalSince(since) > 0.9 else { continue }
      do {
        let line = try describe(file)
        guard Stamp(file) == stamp else { continue }  // it grew meanwhile: this was not the whole clip
        try line.print()
      } catch let error as SlowFastError {
        if error.kind == .cancelled { break }
        // Some clips cannot be read before their last byte is there.
        guard Date().timeIntervalSince(since) > 5 else { continue }
        try Line(clip: file.lastPathComponent, error: error.description).print()
      }
      done[file] = stamp
      waiting[file] = nil
    }
    usleep(300_000)
  }
} catch {
  FileHandle.standardError.write(Data("error: \(error)\n".utf8))
  exit(1)
}
