import Support

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What a directory holds; hidden files left out.
struct ImageDirectory {
  /// The image files in natural order: those whose first bytes are of an image.
  private(set) var images: [String] = []
  /// Names of files of other kinds, and of files that cannot be read with the reason.
  private var others: [String] = []
  private var unreadable: [String] = []
  private var directories = 0
  private let path: String

  init(_ path: String) throws(VideoError) {
    self.path = path
    var names: [String]
    do throws(SystemError) { names = try SystemCalls.entries(of: path).filter { !$0.hasPrefix(".") } } catch {
      throw .unreadable(path: path, reason: error.message)
    }
    names.sort(by: naturallyPrecedes)
    let prefix = path.hasSuffix("/") ? path : path + "/"
    for name in names {
      do {
        if case .directory = try PathKind(of: prefix + name) {
          directories += 1
        } else if try ImageFormat(FileInput(path: prefix + name, cancelled: { false }).read(first: 16)) != nil {
          images.append(prefix + name)
        } else {
          others.append(name)
        }
      } catch {
        unreadable.append("\(error)")
      }
    }
  }

  /// A sentence for all that is no image, and one for each file that may be one.
  var warnings: [String] {
    let files = others.count == 1 ? "1 file is" : "\(others.count) files are"
    let left = others.isEmpty ? [] : ["\(path.quoted): \(files) of no known image format and left out: \(ImageDirectory.list(others))"]
    return left + unreadable.map { "left out: \($0)" }
  }

  /// In words, where there is no image.
  var contents: String {
    var parts: [String] = []
    if !others.isEmpty {
      parts.append("\(others.count) file\(others.count == 1 ? "" : "s") of other kinds (\(ImageDirectory.list(others)))")
    }
    if let first = unreadable.first { parts.append("\(unreadable.count) that cannot be read (\(first))") }
    if directories > 0 { parts.append("\(directories) director\(directories == 1 ? "y" : "ies")") }
    return parts.isEmpty ? "which is empty" : "only \(parts.joined(separator: " and "))"
  }

  private static func list(_ names: [String]) -> String {
    let shown = names.prefix(5).map(\.quoted).joined(separator: ", ")
    return names.count > 5 ? "\(shown) and \(names.count - 5) more" : shown
  }
}
