import Foundation
import Safetensors
import TestSupport
import Testing

/// Each way in which a safetensors file can be wrong, as literal bytes.
@Suite struct BadSafetensorsTests {
  let directory: TemporaryDirectory
  init() throws { directory = try TemporaryDirectory() }

  private func expect(
    _ bytes: [UInt8], _ error: (String) -> CheckpointError, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let path = try directory.write("bad.safetensors", bytes)
    let expected = error(path)
    #expect(throws: expected, sourceLocation: sourceLocation) { try SafetensorsFile(path: path) }
    // One line, which names the file.
    #expect(expected.description.hasPrefix(path), sourceLocation: sourceLocation)
    #expect(!expected.description.contains("\n"), sourceLocation: sourceLocation)
  }

  private func expect(
    _ header: String, dataBytes: Int = 0, _ error: (String) -> CheckpointError, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    try expect(safetensors(header, dataBytes: dataBytes), error, sourceLocation: sourceLocation)
  }

  private func tensor(_ type: String = "F32", shape: String = "[1]", offsets: String = "[0,4]") -> String {
    "{\"dtype\":\"\(type)\",\"shape\":\(shape),\"data_offsets\":\(offsets)}"
  }

  @Test func fileIsNotWhatItShouldBe() throws {
    try expect([]) { .tooShortForHeader(file: $0, bytes: 0) }
    try expect([1, 0, 0, 0, 0, 0, 0, 0, 0x7B]) { .tooShortForHeader(file: $0, bytes: 9) }
    // Foreign files: text, ZIP (what PyTorch writes), PNG.
    try expect(Array("Hello, this is text.".utf8)) { .headerTooLong(file: $0, length: 0x7420_2C6F_6C6C_6548, limit: 100_000_000) }
    try expect([0x50, 0x4B, 3, 4, 0, 0, 8, 8] + [UInt8](repeating: 0, count: 30)) {
      .headerTooLong(file: $0, length: 0x0808_0000_0403_4B50, limit: 100_000_000)
    }
    try expect([2, 0, 0, 0, 0, 0, 0, 0, 0x5B, 0x5D]) { .headerNotAnObject(file: $0) }
    try expect([3, 0, 0, 0, 0, 0, 0, 0, 0x20, 0x7B, 0x7D]) { .headerNotAnObject(file: $0) }
    try expect([0, 0, 0, 0, 0, 0, 0, 0, 0x7B, 0x7D]) { .headerNotAnObject(file: $0) }
  }

  @Test func headerLengthOverflows() throws {
    try expect([UInt8](repeating: 0xFF, count: 8) + [0x7B, 0x7D]) { .headerTooLong(file: $0, length: .max, limit: 100_000_000) }
    try expect(littleEndian(1 << 63) + [0x7B, 0x7D]) { .headerTooLong(file: $0, length: 1 << 63, limit: 100_000_000) }
    try expect(littleEndian(100_000_001) + [0x7B, 0x7D]) { .headerTooLong(file: $0, length: 100_000_001, limit: 100_000_000) }
    try expect(littleEndian(100_000_000) + [0x7B, 0x7D]) { .headerBeyondEnd(file: $0, length: 100_000_000, fileBytes: 10) }
    try expect(littleEndian(3) + [0x7B, 0x7D]) { .headerBeyondEnd(file: $0, length: 3, fileBytes: 10) }
  }

  @Test func invalidJSON() throws {
    let bad: [(String, Int, String)] = [
      ("{", 1, "a string"), ("{a", 1, "a string"), ("{\"a\"}", 4, "\":\""), ("{\"a\":1}", 5, "an object"), ("{}{", 2, "nothing more"),
      ("{\"__metadata__\":{\"a\":1}}", 21, "a string"), ("{\"__metadata__\":{\"a\":\"b\",}}", 25, "a string"),
      ("{\"a\":{\"dtype\":2}}", 14, "a string"), ("{\"a\":{\"shape\":[1.0]}}", 15, "a whole number"),
      ("{\"a\":{\"shape\":[-1]}}", 15, "a whole number"), ("{\"a\":{\"shape\":[01]}}", 15, "a whole number"),
      ("{\"a\":{\"shape\":[1e3]}}", 15, "a whole number"), ("{\"a\":{\"shape\":[9223372036854775808]}}", 15, "a whole number below 2^63"),
      ("{\"a\":{\"shape\":[1,]}}", 17, "a whole number"), ("{\"a\":{\"shape\":[1 2]}}", 17, "\",\" or \"]\""),
      ("{\"a\":{\"x\":nul}}", 10, "a value"), ("{\"a\":{\"x\":1.}}", 10, "a value"), ("{\"a\":{\"x\":-}}", 10, "a value"),
      ("{\"a\":{\"x\":NaN}}", 10, "a value"), ("{\"a\\x\":1}", 4, "an escape"),
      ("{\"\\ud800\":1}", 8, "the second half of a surrogate pair"),
      ("{\"\\ud800\\u0041\":1}", 14, "the second half of a surrogate pair"), ("{\"\\udc00\":1}", 8, "a Unicode character"),
      ("{\"\\u00g0\":1}", 6, "four hexadecimal digits"), ("{\"a\tb\":1}", 3, "no control character in a string"),
      ("{\"a", 3, "the end of the string"), ("{\"a\\", 4, "an escape"), ("{\"a\\n", 5, "the end of the string"),
    ]
    for (text, offset, expected) in bad {
      try expect(text + (text.utf8.count == 1 ? " " : "")) {
        .invalidJSON(file: $0, offset: offset + (text == "{" ? 1 : 0), expected: expected)
      }
    }
    try expect(safetensors([0x7B, 0x22, 0xFF, 0x22, 0x7D], data: [])) { .invalidJSON(file: $0, offset: 2, expected: "UTF-8 text") }
    try expect(safetensors([0x7B, 0x22, 0xC0, 0x80, 0x22, 0x7D], data: [])) { .invalidJSON(file: $0, offset: 2, expected: "UTF-8 text") }
    let deep = "{\"a\":{\"x\":" + String(repeating: "[", count: 100_000)
    try expect(deep) { .invalidJSON(file: $0, offset: 136, expected: "a value nested less than 128 levels deep") }
  }

  @Test func duplicateKeys() throws {
    try expect("{\"a\":\(tensor()),\"a\":\(tensor())}", dataBytes: 4) { .duplicateKey(file: $0, key: "a") }
    try expect("{\"a\":\(tensor()),\"\\u0061\":\(tensor())}", dataBytes: 4) { .duplicateKey(file: $0, key: "a") }
    try expect("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}") { .duplicateKey(file: $0, key: "dtype") }
    try expect("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}") { .duplicateKey(file: $0, key: "k") }
  }

  @Test func fieldsMissingOrUnknown() throws {
    try expect("{\"a\":{}}") { .tensorWithout(file: $0, tensor: "a", field: "dtype") }
    try expect("{\"a\":{\"dtype\":\"F32\"}}") { .tensorWithout(file: $0, tensor: "a", field: "shape") }
    try expect("{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}") { .tensorWithout(file: $0, tensor: "a", field: "data_offsets") }
    try expect("{\"a\":\(tensor(offsets: "[4]"))}") { .tensorWithout(file: $0, tensor: "a", field: "data_offsets") }
    try expect("{\"a\":\(tensor(offsets: "[0,4,4]"))}") { .tooManyDimensions(file: $0, tensor: "a", limit: 2) }
    try expect("{\"a\":\(tensor("F33"))}") { .unknownType(file: $0, tensor: "a", type: "F33") }
    try expect("{\"a\":\(tensor("f32"))}") { .unknownType(file: $0, tensor: "a", type: "f32") }
    for type in ["F4", "F6_E2M3", "F6_E3M2"] {
      try expect("{\"a\":\(tensor(type))}") { .subByteType(file: $0, tensor: "a", type: type) }
    }
  }

  @Test func sizesAndOffsets() throws {
    try expect("{\"a\":\(tensor(shape: "[4611686018427387904]"))}", dataBytes: 4) {
      .sizeOverflows(file: $0, tensor: "a", shape: [1 << 62])
    }
    try expect("{\"a\":\(tensor(shape: "[4294967296,4294967296]"))}", dataBytes: 4) {
      .sizeOverflows(file: $0, tensor: "a", shape: [1 << 32, 1 << 32])
    }
    try expect("{\"a\":\(tensor(shape: "[\(Array(repeating: "1", count: 65).joined(separator: ","))]"))}", dataBytes: 4) {
      .tooManyDimensions(file: $0, tensor: "a", limit: 64)
    }
    try expect("{\"a\":\(tensor(offsets: "[4,0]"))}", dataBytes: 4) { .offsetsReversed(file: $0, tensor: "a", begin: 4, end: 0) }
    try expect("{\"a\":\(tensor(offsets: "[0,8]"))}", dataBytes: 8) {
      .offsetsDoNotMatchShape(file: $0, tensor: "a", bytes: 8, expected: 4)
    }
    try expect("{\"a\":\(tensor(offsets: "[0,3]"))}", dataBytes: 3) {
      .offsetsDoNotMatchShape(file: $0, tensor: "a", bytes: 3, expected: 4)
    }
    try expect("{\"a\":\(tensor(offsets: "[9223372036854775803,9223372036854775807]"))}", dataBytes: 4) {
      .dataBeyondEnd(file: $0, tensor: "a", end: .max, dataBytes: 4)
    }
  }

  @Test func overlapsHolesAndTails() throws {
    try expect("{\"a\":\(tensor()),\"b\":\(tensor())}", dataBytes: 4) { .overlap(file: $0, first: "a", second: "b") }
    try expect("{\"a\":\(tensor()),\"b\":\(tensor(offsets: "[2,6]"))}", dataBytes: 6) { .overlap(file: $0, first: "a", second: "b") }
    try expect("{\"a\":\(tensor(offsets: "[1,5]"))}", dataBytes: 5) { .hole(file: $0, before: "a", begin: 0, end: 1) }
    try expect("{\"a\":\(tensor()),\"b\":\(tensor(offsets: "[8,12]"))}", dataBytes: 12) { .hole(file: $0, before: "b", begin: 4, end: 8) }
    try expect("{\"a\":\(tensor())}", dataBytes: 5) { .trailingBytes(file: $0, bytes: 1) }
    try expect("{}", dataBytes: 3) { .trailingBytes(file: $0, bytes: 3) }
    try expect("{\"a\":\(tensor())}", dataBytes: 3) { .dataBeyondEnd(file: $0, tensor: "a", end: 4, dataBytes: 3) }
  }

  @Test func pathsThatAreNoFiles() throws {
    #expect(throws: CheckpointError.cannotOpen(file: "/nowhere/x", reason: "No such file or directory")) {
      try SafetensorsFile(path: "/nowhere/x")
    }
    #expect(throws: CheckpointError.notAFile(file: directory.path)) { try SafetensorsFile(path: directory.path) }
    #expect(throws: CheckpointError.notAFile(file: "/dev/null")) { try SafetensorsFile(path: "/dev/null") }
    let pipe = directory.path + "/pipe"
    #expect(mkfifo(pipe, 0o600) == 0)
    #expect(throws: CheckpointError.notAFile(file: pipe)) { try SafetensorsFile(path: pipe) }
  }

  /// Every prefix of a good file is refused: it was cut short.
  @Test func truncated() throws {
    let whole = zeros([("first", [3]), ("second", [2, 2])])
    for length in 0..<whole.count {
      let path = try directory.write("cut", Array(whole.prefix(length)))
      #expect(throws: CheckpointError.self, "\(length) bytes") { try SafetensorsFile(path: path) }
    }
  }

  @Test func namesAreEscapedWhenPrinted() throws {
    let name = "a\u{1B}[2Jb\n\u{202E}c"
    let error = CheckpointError.noSuchTensor(file: "x\ny", tensor: name)
    #expect(error.description == "x\\ny: there is no tensor \"a\\u{1b}[2Jb\\n\\u{202e}c\"")
    #expect(CheckpointError.noSuchTensor(file: "f", tensor: String(repeating: "n", count: 1000)).description.count < 300)
  }
}
