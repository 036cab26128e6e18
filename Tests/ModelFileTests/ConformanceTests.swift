import Foundation
import ModelFile
import Parallel
import Testing

/// `Formats/conformance/manifest.json`.
private struct Manifest: Decodable {
  struct Entry: Decodable, CustomTestStringConvertible {
    var file: String
    var refuse: String?
    var contents: Contents?
    var testDescription: String { file }
  }
  var files: [Entry]

  static let entries: [Entry] = {
    guard let data = FileManager.default.contents(atPath: "\(formats)/conformance/manifest.json") else { return [] }
    return (try? JSONDecoder().decode(Manifest.self, from: data))?.files ?? []
  }()
}

/// What a file holds, as checksums.
struct Contents: Codable {
  struct Tensor: Codable, Equatable {
    var name: String
    var shape: [Int]
    var encoding: String
    var planes: [String]
    /// Of all values as float32.
    var values: String
  }
  struct Section: Codable, Equatable {
    var name: String
    var checksum: String
  }
  var tensors: [Tensor]
  var sections: [Section]

  /// As this module reads it.
  init(of reader: ModelFileReader) throws {
    let pool = ThreadPool(threadCount: 2)
    tensors = try reader.loadAll(of: reader.tensors.map(\.name), pool: pool).map { tensor in
      Tensor(
        name: tensor.name, shape: tensor.descriptor.shape, encoding: "\(tensor.descriptor.encoding)",
        planes: tensor.planes.map { hexadecimal(checksum($0.bytes)) }, values: hexadecimal(try values(of: tensor.name, reader)))
    }
    sections = try reader.sections.map { Section(name: $0.name, checksum: hexadecimal(checksum(try reader.section($0.name)))) }
  }
}

/// Row by row.
private func values(of name: String, _ reader: ModelFileReader) throws -> UInt64 {
  let rows = try reader.rows(of: name)
  var values = [Float](repeating: .nan, count: rows.rows * rows.columns)
  for row in 0..<rows.rows {
    try values.withUnsafeMutableBufferPointer { buffer in
      try rows.read(row: row, into: #require(buffer.baseAddress) + row * rows.columns)
    }
  }
  return values.withUnsafeBytes { checksum($0) }
}

private func hexadecimal(_ value: UInt64) -> String {
  let digits = String(value, radix: 16)
  return String(repeating: "0", count: 16 - digits.count) + digits
}

@Suite struct ConformanceTests {
  @Test func theManifestIsThere() {
    #expect(Manifest.entries.count > 80)
  }

  @Test(arguments: Manifest.entries.filter { $0.refuse == nil })
  fileprivate func mustBeRead(_ entry: Manifest.Entry) throws {
    let reader = try ModelFileReader(path: "\(formats)/conformance/\(entry.file)")
    let contents = try Contents(of: reader)
    let expected = try #require(entry.contents)
    #expect(contents.tensors == expected.tensors)
    #expect(contents.sections == expected.sections)
    // Strings compare by meaning, names byte by byte.
    #expect(reader.tensors.map { Array($0.name.utf8) } == expected.tensors.map { Array($0.name.utf8) })
    #expect(try reader.verify(pool: ThreadPool(threadCount: 1)).isEmpty)
  }

  @Test(arguments: Manifest.entries.filter { $0.refuse != nil })
  fileprivate func mustBeRefused(_ entry: Manifest.Entry) throws {
    let path = "\(formats)/conformance/\(entry.file)"
    let error = try #require(
      failure {
        let reader = try ModelFileReader(path: path)
        _ = try Contents(of: reader)
        // A gap's bytes reach nobody, so only `verify` looks at them.
        let damage = try reader.verify(pool: ThreadPool(threadCount: 1))
        if let found = damage.first, entry.refuse == "padding" { throw ModelFileError.paddingNotZero(path: path, range: found.range) }
      })
    #expect(error.rule == entry.refuse, "\(error)")
    #expect(error.description.hasPrefix(path))
  }

  @Test func namesAreToldApartByTheirBytes() throws {
    let reader = try ModelFileReader(path: "\(formats)/conformance/names.sfq")
    let composed = try #require(reader.tensor("caf\u{e9}"))
    let decomposed = try #require(reader.tensor("cafe\u{301}"))
    #expect(composed.planes[0].offset != decomposed.planes[0].offset)
    #expect(reader.tensors[0].planes[0].part.description == #"tensor 'bell\u{7}\n\u{1b}[31m'"#)
  }

  /// The worked example of the specification, section 6.
  @Test func theExampleIsTrue() throws {
    let reader = try ModelFileReader(path: "\(formats)/conformance/quantized4.sfq")
    let tensor = try reader.load("symmetric", pool: ThreadPool(threadCount: 1))
    let byte = try #require(tensor[.codes]).bytes[1157]
    let scale = try #require(tensor[.scales]).bytes.loadUnaligned(fromByteOffset: 130, as: UInt16.self)
    var row = [Float](repeating: 0, count: 64)
    try row.withUnsafeMutableBufferPointer { try reader.rows(of: "symmetric").read(row: 33, into: #require($0.baseAddress)) }
    let sentence = "0x\(String(byte, radix: 16)), so the code is \(byte >> 4); the scale is 0x\(String(scale, radix: 16).uppercased())"
    let text = try String(contentsOfFile: "\(formats)/sfq.md", encoding: .utf8)
    #expect(text.contains(sentence), "\(sentence)")
    #expect(text.contains("= −\(String(format: "%.10g", -row[13]))."), "\(row[13])")
  }
}
