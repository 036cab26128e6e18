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
  private let own: Set<String>
  private var entered: Set<[UInt64]> = []

  init(_ path: String, except own: [String]) throws(SlowFastError) {
    self.path = path
    self.own = Set(
      own.map { URL(fileURLWithPath: $0) }.map { Self.resolved($0.deletingLastPathComponent().path) + "/" + $0.lastPathComponent })
    do throws(SystemError) { try look(in: "") } catch { throw .badFile(path: path, problem: "cannot be read: \(error.message)") }
  }

  private static func resolved(_ path: String) -> String { URL(fileURLWithPath: path).resolvingSymlinksInPath().path }

  /// `folder`: empty, or the name of one in it with a slash.
  private mutating func look(in folder: String) throws(SystemError) {
    let path = "\(path)/\(folder)"
    // A link may lead back.
    guard let status = FileStatus(path: path), entered.insert([status.device, status.inode]).inserted else { return }
    let place = Self.resolved(path)
    for entry in try SystemCalls.entries(of: path).sorted() where !entry.hasPrefix(".") && !own.contains("\(place)/\(entry)") {
      let name = folder + entry
      switch FileKind(path: path + entry) {
      case .directory:
        // One that holds pictures is a clip, and one that cannot be read an error on its line.
        do throws(SystemError) {
          if (try? ClipSource(path: path + entry)) != nil { clips.append(name) } else { try look(in: name + "/") }
        } catch { clips.append(name) }
      case .video, .picture: clips.append(name)
      // One that is broken is told on its line.
      default: if FileKind.isClipName(entry) { clips.append(name) } else { others.append(name) }
      }
    }
  }

  /// As warnings name files.
  static func list(_ names: [String]) -> String {
    let shown = names.prefix(5).map(\.quoted).joined(separator: ", ")
    return names.count > 5 ? "\(shown) and \(names.count - 5) more" : shown
  }

  /// Changes when what is at the path does, as far as lengths and times tell.
  static func state(of path: String) -> String {
    guard let status = FileStatus(path: path) else { return "-" }
    let own = "\(status.byteCount) \(status.modified)"
    guard status.kind == .directory, let entries = try? SystemCalls.entries(of: path).sorted() else { return own }
    return own
      + entries.map { entry in
        let status = FileStatus(path: "\(path)/\(entry)")
        return "\t\(entry) \(status?.byteCount ?? 0) \(status?.modified ?? 0)"
      }.joined()
  }
}
