import Foundation

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

// MARK: Names from outside

extension String {
  /// The text with everything escaped that could move a terminal's cursor, hide text or break a line: control and format
  /// characters, line separators, the replacement character; and cut after `limit` characters. For names that come from outside.
  package func escaped(limit: Int = 200) -> String {
    var result = ""
    var count = 0
    for scalar in unicodeScalars {
      if count == limit { return result + "…" }
      count += 1
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned:
        switch scalar {
        case "\n": result += "\\n"
        case "\r": result += "\\r"
        case "\t": result += "\\t"
        default:
          // A byte of a name, which is no text.
          if let byte = scalar.escapedByte {
            result += "\\x" + String(byte, radix: 16)
          } else {
            result += "\\u{\(String(scalar.value, radix: 16))}"
          }
        }
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  /// `escaped()` between quotation marks.
  package var quoted: String { "\"\(escaped())\"" }

  /// The text with its control characters shown as escapes, but for line breaks and tabs: an answer cannot move a terminal's cursor.
  package var withoutControls: String {
    func isAllowed(_ scalar: Unicode.Scalar) -> Bool {
      scalar == "\n" || scalar == "\t" || scalar.properties.generalCategory != .control
    }
    if unicodeScalars.allSatisfy(isAllowed) { return self }
    var result = ""
    for scalar in unicodeScalars {
      if isAllowed(scalar) { result.unicodeScalars.append(scalar) } else { result += "\\u{\(String(scalar.value, radix: 16))}" }
    }
    return result
  }
}

// MARK: Numbers

extension Double {
  /// With so many digits behind the point: `2.fixed(1)` is `2.0`.
  package func fixed(_ digits: Int) -> String { String(format: "%.\(digits)f", self) }
}

extension UInt64 {
  /// With at least so many digits: `255.hexadecimal(digits: 4)` is `00ff`.
  package func hexadecimal(digits: Int = 16) -> String { String(self, radix: 16).leftPadded(to: digits, with: "0") }
}

extension String {
  package func padded(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }

  package func leftPadded(to width: Int, with character: Character = " ") -> String {
    String(repeating: character, count: max(0, width - count)) + self
  }
}

/// `1536` → `1.5 KiB`.
package func formatBytes(_ count: Int) -> String {
  func rounded(_ value: Double) -> String {
    let tenths = Int((value * (value < 100 ? 10 : 1)).rounded())
    return value < 100 ? "\(tenths / 10).\(tenths % 10)" : "\(tenths)"
  }
  var value = Double(count)
  for unit in ["bytes", "KiB", "MiB"] {
    if value < 1024 { return unit == "bytes" ? counted(count, "byte") : "\(rounded(value)) \(unit)" }
    value /= 1024
  }
  return "\(rounded(value)) GiB"
}

/// `1 clip`, `2 clips`: a number and what it counts, whose plural ends in an s.
package func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }

extension Collection where Element: CustomStringConvertible {
  /// What there is to choose from, as a sentence has it: `32, 64 or 128`.
  package var alternatives: String {
    let words = map(\.description)
    guard words.count > 1 else { return words.first ?? "" }
    return words.dropLast().joined(separator: ", ") + " or " + words[words.count - 1]
  }
}

/// Names of files are bytes, Swift's strings are Unicode. A byte that is no UTF-8 stands in a string as one private scalar, U+10FE00 and
/// the byte's value; `withFileName` makes the byte of it again. The bytes of a name that holds such a scalar itself are escaped as well, so
/// that every name comes back as it was.
extension String {
  /// A name as the system gives it.
  package init(fileName bytes: some Collection<UInt8>) {
    self.init()
    var rest = bytes[...]
    while !rest.isEmpty {
      var parser = Unicode.UTF8.ForwardParser()
      var reading = rest.makeIterator()
      let length: Int
      switch parser.parseScalar(from: &reading) {
      case .valid(let encoded):
        let scalar = Unicode.UTF8.decode(encoded)
        length = encoded.count
        if scalar.escapedByte == nil {
          unicodeScalars.append(scalar)
        } else {
          for byte in encoded { unicodeScalars.append(Unicode.Scalar(escaping: byte)) }
        }
      case .error(let count):
        length = count
        for byte in rest.prefix(count) { unicodeScalars.append(Unicode.Scalar(escaping: byte)) }
      case .emptyInput: return
      }
      rest = rest.dropFirst(length)
    }
  }

  /// Whether a byte of it is no UTF-8: a file's name may have some, a text may not.
  package var hasEscapedBytes: Bool { unicodeScalars.contains { $0.escapedByte != nil } }

  /// The name where text belongs, in JSON and reports: `\xNN` for each byte that is no UTF-8, as in messages.
  package var fileNameText: String {
    var result = ""
    for scalar in unicodeScalars {
      if let byte = scalar.escapedByte { result += "\\x" + String(byte, radix: 16) } else { result.unicodeScalars.append(scalar) }
    }
    return result
  }

  /// The name as the system wants it.
  package var fileNameBytes: [UInt8] { unicodeScalars.flatMap { scalar in scalar.escapedByte.map { [$0] } ?? Array(String(scalar).utf8) } }

  /// Calls `body` with the name as the system wants it; the pointer is valid until `body` returns.
  package func withFileName<Result>(_ body: (UnsafePointer<CChar>) -> Result) -> Result {
    (fileNameBytes + [0]).withUnsafeBytes { bytes in
      bytes.withMemoryRebound(to: CChar.self) { name in
        // There is a last zero at least, so there is a base address.
        guard let base = name.baseAddress else { return "".withCString(body) }
        return body(base)
      }
    }
  }
}

extension SystemCalls {
  /// Makes a directory, and those that it is in, where they are not there.
  package static func makeDirectory(_ path: String, mode: mode_t = 0o777) throws(SystemError) {
    guard !path.utf8.contains(0) else { throw SystemError(EINVAL) }
    func make() -> Int32 { path.withFileName { mkdir($0, mode) } == 0 ? 0 : errno }
    var code = make()
    if code == ENOENT, let slash = path.dropLast().lastIndex(of: "/"), slash > path.startIndex {
      try makeDirectory(String(path[..<slash]))
      code = make()
    }
    if code == EEXIST, FileStatus(path: path)?.kind == .directory { return }
    guard code == 0 else { throw SystemError(code) }
  }
}

extension SystemCalls {
  /// The names in a directory, without `.` and `..`, in no order.
  package static func entries(of directory: String) throws(SystemError) -> [String] {
    guard let handle = directory.withFileName({ opendir($0) }) else { throw SystemError() }
    defer { closedir(handle) }
    var names: [String] = []
    while let entry = readdir(handle) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(fileName: $0.prefix { $0 != 0 }) }
      if name != ".", name != ".." { names.append(name) }
    }
    return names
  }
}

extension Unicode.Scalar {
  fileprivate init(escaping byte: UInt8) { self = Unicode.Scalar(0x10FE00 + UInt32(byte)) ?? "\u{FFFD}" }

  /// The byte of a file's name that this scalar stands for, which is no UTF-8.
  var escapedByte: UInt8? { (0x10FE80...0x10FEFF).contains(value) ? UInt8(truncatingIfNeeded: value) : nil }
}

extension CommandLine {
  /// The arguments behind the program's own name, byte for byte, as names of files.
  package static var systemArguments: [String] {
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
