import Foundation

/// Reads `multipart/form-data` (RFC 7578) piece by piece: what a part holds is handed on as it comes, and never whole in memory.
struct Multipart {
  /// What has been found.
  enum Event {
    /// A part begins: its name, and the file's name if it has one.
    case part(name: String, filename: String?)
    /// A piece of it.
    case bytes(ArraySlice<UInt8>)
    /// The last part has ended.
    case end
  }

  private enum Place { case preamble, head, content, over }

  private let boundary: [UInt8]
  private var place = Place.preamble
  private var buffer: [UInt8] = []
  private static let headLimit = 16 << 10

  /// Of the header `Content-Type`; nil where that is another type, or names no boundary.
  init?(contentType: String) {
    guard contentType.lowercased().hasPrefix("multipart/form-data"), let boundary = Self.value("boundary", in: contentType),
      (1...70).contains(boundary.utf8.count)
    else { return nil }
    self.boundary = Array("\r\n--\(boundary)".utf8)
    // The first boundary needs no line before it.
    buffer = [0x0D, 0x0A]
  }

  var isOver: Bool { place == .over }

  /// Takes in what has come, and tells what it holds.
  mutating func read(_ bytes: some Sequence<UInt8>, _ tell: (Event) throws(APIError) -> Void) throws(APIError) {
    buffer += bytes
    while true {
      switch place {
      case .preamble, .content:
        guard let start = find() else {
          // What may be the beginning of a boundary stays.
          try skip(max(0, buffer.count - boundary.count + 1), tell)
          return
        }
        try skip(start, tell)
        // Two signs after the boundary say whether another part follows.
        guard buffer.count >= boundary.count + 2 else { return }
        if buffer[boundary.count] == UInt8(ascii: "-"), buffer[boundary.count + 1] == UInt8(ascii: "-") {
          place = .over
          buffer = []
          return try tell(.end)
        }
        guard let end = buffer[boundary.count...].firstIndex(of: 0x0A) else {
          if buffer.count > boundary.count + 256 { throw Self.malformed }
          return
        }
        if end > boundary.count + 256 { throw Self.malformed }
        buffer.removeFirst(end + 1)
        place = .head
      case .head:
        guard let end = headEnd() else {
          if buffer.count > Self.headLimit { throw Self.malformed }
          return
        }
        guard end <= Self.headLimit, let head = String(validating: buffer[..<end], as: UTF8.self) else { throw Self.malformed }
        buffer.removeFirst(end)
        let disposition = head.split(whereSeparator: \.isNewline).first { $0.lowercased().hasPrefix("content-disposition:") }
        guard let disposition, let name = Self.value("name", in: String(disposition)) else { throw Self.malformed }
        place = .content
        try tell(.part(name: name, filename: Self.value("filename", in: String(disposition))))
      case .over: return
      }
    }
  }

  private mutating func skip(_ count: Int, _ tell: (Event) throws(APIError) -> Void) throws(APIError) {
    if count == 0 { return }
    if place == .content { try tell(.bytes(buffer[..<count])) }
    buffer.removeFirst(count)
  }

  /// Where the next boundary begins, its line's beginning counted.
  private func find() -> Int? {
    var from = 0
    while let start = buffer[from...].firstIndex(of: 0x0D) {
      if buffer[start...].starts(with: boundary) { return start }
      from = start + 1
    }
    return nil
  }

  /// The index after the empty line that ends a part's head.
  private func headEnd() -> Int? {
    buffer.indices.dropFirst(3).first { buffer[$0 - 3...$0].elementsEqual([0x0D, 0x0A, 0x0D, 0x0A]) }.map { $0 + 1 }
  }

  /// The value of a parameter of a header, quoted or not.
  private static func value(_ name: String, in header: String) -> String? {
    var rest = header[...]
    while let semicolon = rest.firstIndex(of: ";") {
      rest = rest[rest.index(after: semicolon)...].drop { $0 == " " || $0 == "\t" }
      guard let equals = rest.firstIndex(where: { $0 == "=" || $0 == ";" }), rest[equals] == "=" else { continue }
      let found = rest[..<equals].lowercased()
      rest = rest[rest.index(after: equals)...]
      var value = ""
      if rest.first == "\"" {
        rest = rest.dropFirst()
        while let character = rest.first, character != "\"" {
          rest = rest.dropFirst()
          if character == "\\", let escaped = rest.first {
            value.append(escaped)
            rest = rest.dropFirst()
          } else {
            value.append(character)
          }
        }
      } else {
        value = String(rest.prefix { $0 != ";" }).trimmingCharacters(in: .whitespaces)
      }
      if found == name { return value }
    }
    return nil
  }

  static let malformed = APIError(400, "The body is not multipart/form-data as RFC 7578 has it.")
}
