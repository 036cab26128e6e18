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
        planes: tensor.planes.map { hexadecimal(checksum($0.bytes)) })
    }
    sections = try reader.sections.map { Section(name: $0.name, checksum: hexadecimal(checksum(try reader.section($0.name)))) }
  }
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
    #expect(reader.tensors[0].planes[0].part.description == #"tensor 'bell\u{7}\u{a}\u{1b}[31m'"#)
  }
}
