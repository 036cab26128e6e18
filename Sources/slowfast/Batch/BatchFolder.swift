import Foundation
import SlowFast
import Support

/// The clips of a folder: videos, pictures and directories of pictures, those of the folders in it too. Hidden ones are none.
struct BatchFolder {
  /// In the order of their names, which begin in the folder.
  private(set) var clips: [String] = []
  /// Files of other kinds.
  private(set) var others: [String] = []
  private let path: String
  /// Files that are not looked at, each in its folder as that is without links.
  private let excluded: Set<String>
  private var entered: Set<[UInt64]> = []

  init(_ path: String, except excluded: [String]) throws(SlowFastError) {
    self.path = path
    self.excluded = Set(
      excluded.map { URL(fileURLWithPath: $0) }.map { Self.resolved($0.deletingLastPathComponent().path) + "/" + $0.lastPathComponent })
    do throws(SystemError) { try look(in: "") } catch { throw .badFile(path: path, problem: "cannot be read: \(error.message)") }
  }

  private static func resolved(_ path: String) -> String { URL(fileURLWithPath: path).resolvingSymlinksInPath().path }

  /// `folder`: empty, or the name of one in it with a slash.
  private mutating func look(in folder: String) throws(SystemError) {
    let path = "\(path)/\(folder)"
    // A link may lead back.
    guard let status = FileStatus(path: path), entered.insert([status.device, status.inode]).inserted else { return }
    let place = Self.resolved(path)
    let entries = try Self.entries(of: path)
    if entries.isEmpty, !folder.isEmpty { others.append(folder) }
    for entry in entries where !excluded.contains("\(place)/\(entry)") {
      let name = folder + entry
      switch FileKind(path: path + entry) {
      case .directory:
        // One that cannot be read is an error on its line.
        do throws(SystemError) {
          if try Self.isClip(path + entry) { clips.append(name) } else { try look(in: name + "/") }
        } catch { clips.append(name) }
      case .video, .picture: clips.append(name)
      // One that is broken is told on its line.
      default: if FileKind(name: entry) != nil { clips.append(name) } else { others.append(name) }
      }
    }
  }

  private static func entries(of path: String) throws(SystemError) -> [String] {
    try SystemCalls.entries(of: path).filter { !$0.hasPrefix(".") }.sorted()
  }

  /// Whether a directory holds pictures, and neither videos nor directories, which would go by unseen as its frames.
  private static func isClip(_ path: String) throws(SystemError) -> Bool {
    for entry in try entries(of: path) {
      switch (FileKind(path: "\(path)/\(entry)"), FileKind(name: entry)) {
      case (.directory, _), (_, .video): return false
      // HEIF begins as MP4 does.
      case (.video, let kind) where kind != .picture: return false
      default: break
      }
    }
    return (try? ClipSource(path: path)) != nil
  }

  /// As warnings name files.
  static func list(_ names: [String]) -> String {
    let shown = names.prefix(5).map(\.quoted).joined(separator: ", ")
    return names.count > 5 ? "\(shown) and \(names.count - 5) more" : shown
  }

  /// Changes when the clip at the path does, wherever it lies: which files it is made of, and when anything was done to them.
  static func state(of path: String) -> String {
    // Of a directory only the pictures count: a batch may write beside them.
    let files = (try? ClipSource(path: path))?.paths ?? [path]
    return files.map { file in
      FileStatus(path: file).map { "\($0.byteCount) \($0.modified) \($0.changed)" } ?? "-"
    }.joined(separator: "\t")
  }
}
