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
    let left = others.isEmpty ? [] : ["\(path.escaped()): \(files) of no known image format and left out: \(ImageDirectory.list(others))"]
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

/// `frame9` before `frame10`: digits are compared as numbers, everything else by code point.
func naturallyPrecedes(_ one: String, _ other: String) -> Bool {
  let left = Array(one.unicodeScalars)
  let right = Array(other.unicodeScalars)
  var i = 0
  var j = 0
  while i < left.count, j < right.count {
    if left[i].isDigit, right[j].isDigit {
      let first = digits(left, &i)
      let second = digits(right, &j)
      if first.count != second.count { return first.count < second.count }
      if first != second { return first.lexicographicallyPrecedes(second) }
    } else {
      if left[i] != right[j] { return left[i] < right[j] }
      i += 1
      j += 1
    }
  }
  if left.count - i != right.count - j { return left.count - i < right.count - j }
  // Equal but for leading zeros.
  return one < other
}

/// The digits at `position`, leading zeros left out; `position` moves behind them.
private func digits(_ text: [Unicode.Scalar], _ position: inout Int) -> [Unicode.Scalar] {
  let start = position
  while position < text.count, text[position].isDigit { position += 1 }
  return Array(text[start..<position].drop { $0 == "0" })
}

extension Unicode.Scalar {
  fileprivate var isDigit: Bool { ("0"..."9").contains(self) }
}
