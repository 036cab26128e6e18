import Foundation
import ModelFile
import Parallel
import Tensors
import TestSupport
import Testing

@Suite struct RoundTripTests {
  @Test(arguments: [ChunkCompression.none, .standard, .smallest, .zstd(level: 1, codes: true)], [4096, 65536, 2 << 20])
  func everyEncoding(_ compression: ChunkCompression, _ chunkSize: Int) throws {
    let folder = try TemporaryDirectory()
    try write(to: folder.file("model.sfq"), compression: compression, chunkSize: chunkSize)
    #expect(folder.contents == ["model.sfq"])
    try expectContents(of: folder.file("model.sfq"))
  }

  @Test func packedChunksAreSmaller() throws {
    let folder = try TemporaryDirectory()
    try write(to: folder.file("packed.sfq"), compression: .smallest, chunkSize: 65536)
    try write(to: folder.file("raw.sfq"), compression: .none, chunkSize: 65536)
    let packed = try #require(ModelFileReader(path: folder.file("packed.sfq")).tensor("layers.0.k.weight"))
    let raw = try #require(ModelFileReader(path: folder.file("raw.sfq")).tensor("layers.0.k.weight"))
    #expect(packed.planes[0].chunks.allSatisfy { $0.codec == .zstd })
    #expect(packed.storedByteCount < raw.storedByteCount * 97 / 100)
    #expect(raw.planes.allSatisfy { $0.isRaw })
    #expect(raw.storedByteCount == raw.rawByteCount)
    #expect(packed.rawByteCount == raw.rawByteCount)
  }

  @Test func codesStayRawUnlessTheSmallestFileIsWanted() throws {
    let folder = try TemporaryDirectory()
    for (compression, packed) in [(ChunkCompression.standard, [false, true]), (.smallest, [true, true]), (.none, [false, false])] {
      try write(to: folder.file("model.sfq"), compression: compression, chunkSize: 65536, overwrite: true)
      let reader = try ModelFileReader(path: folder.file("model.sfq"))
      let tensor = try #require(reader.tensor("layers.0.k.weight"))
      #expect(tensor.planes.prefix(2).map { !$0.isRaw } == packed, "\(compression)")
      let loaded = try reader.load(tensor.name, pool: ThreadPool(threadCount: 2))
      #expect(loaded[.codes]?.isMapped == !packed[0] && loaded[.scales]?.isMapped == false)
    }
  }

  @Test func aChunkThatHardlyShrinksStaysRaw() throws {
    let folder = try TemporaryDirectory()
    var tensor = SampleTensor("noise", [4096], .float32, seed: 1)
    var numbers = SeededNumbers(9)
    tensor.planes[.values] = numbers.bytes(16384)
    try write([tensor], to: folder.file("model.sfq"))
    #expect(try ModelFileReader(path: folder.file("model.sfq")).tensors[0].planes[0].isRaw)
  }

  @Test func theSameInputMakesTheSameFile() throws {
    let folder = try TemporaryDirectory()
    try write(to: folder.file("one.sfq"), pool: ThreadPool(threadCount: 1))
    try write(to: folder.file("three.sfq"), pool: ThreadPool(threadCount: 3))
    #expect(try bytes(of: folder.file("one.sfq")) == bytes(of: folder.file("three.sfq")))
  }

  @Test func aTensorMayHaveItsOwnCompression() throws {
    let folder = try TemporaryDirectory()
    let tensor = SampleTensor("embedding", [512, 512], .quantized(bits: 4, group: 32, symmetric: true), seed: 3)
    let writer = try ModelFileWriter(path: folder.file("model.sfq"), fingerprint: "", pool: ThreadPool(threadCount: 2))
    try writer.beginTensor(tensor.descriptor, compression: ChunkCompression.none)
    for (kind, bytes) in tensor.planes { try writer.write(kind, bytes) }
    try writer.endTensor()
    try writer.finish()
    #expect(try ModelFileReader(path: folder.file("model.sfq")).tensors[0].planes.allSatisfy { $0.isRaw })
  }

  /// Version 1.1 and its required flag where codes of 3 bits are, so that a reader of 1.0 refuses the file at once; else all stays 1.0.
  @Test func threeBitsAreSaidAtTheBeginning() throws {
    let folder = try TemporaryDirectory()
    let three = SampleTensor("layers.0.mlp.weight", [70, 200], .quantized(bits: 3, group: 64, symmetric: true), seed: 8)
    for (tensors, minor, flags) in [(SampleTensor.all, UInt16(0), UInt32(0)), (SampleTensor.all + [three], 1, 1)] {
      let path = folder.file("\(minor).sfq")
      try write(tensors, to: path)
      let bytes = try bytes(of: path)
      #expect(bytes.integer(UInt16.self, at: 10) == minor && bytes.integer(UInt32.self, at: 12) == flags)
      let reader = try ModelFileReader(path: path)
      #expect(reader.tensors.map(\.name) == tensors.map(\.descriptor.name) && reader.version == (1, Int(minor)))
    }
    let read = try ModelFileReader(path: folder.file("1.sfq")).load(three.descriptor.name, pool: ThreadPool(threadCount: 1))
    #expect(read.planes.map { Array($0.bytes) } == [PlaneKind.codes, .scales].map { three.planes[$0] ?? [] })
  }

  /// The same of uneven levels: version 1.2 and their flag, beside that of 3 bits where both are; in no other width.
  @Test func unevenLevelsAreSaidAtTheBeginning() throws {
    let folder = try TemporaryDirectory()
    let scheme = QuantizedScheme(bits: 4, group: 64, isSymmetric: true, isUneven: true)
    let uneven = SampleTensor("layers.0.o.weight", [70, 200], .quantized(scheme), seed: 9)
    let three = SampleTensor("layers.0.mlp.weight", [70, 200], .quantized(bits: 3, group: 64, symmetric: true), seed: 8)
    for (tensors, flags) in [(SampleTensor.all + [uneven], UInt32(2)), ([three, uneven], 3)] {
      let path = folder.file("\(flags).sfq")
      try write(tensors, to: path)
      let bytes = try bytes(of: path)
      #expect(bytes.integer(UInt16.self, at: 10) == 2 && bytes.integer(UInt32.self, at: 12) == flags)
      let reader = try ModelFileReader(path: path)
      #expect(reader.version == (1, 2) && reader.tensors.map(\.descriptor.encoding) == tensors.map(\.descriptor.encoding))
      let read = try reader.load(uneven.descriptor.name, pool: ThreadPool(threadCount: 1))
      #expect(read.planes.map { Array($0.bytes) } == [PlaneKind.codes, .scales].map { uneven.planes[$0] ?? [] })
    }
    for (bits, symmetric) in [(8, true), (4, false)] {
      let scheme = QuantizedScheme(bits: bits, group: 64, isSymmetric: symmetric, isUneven: true)
      let descriptor = TensorDescriptor(name: "w", shape: [70, 200], encoding: .quantized(scheme))
      #expect(throws: ModelFileError.self) { _ = try descriptor.byteCount }
    }
  }

  @Test func longPlanesBeginAtPagesAndAllAtCacheLines() throws {
    let folder = try TemporaryDirectory()
    try write(to: folder.file("model.sfq"), compression: .none)
    for plane in try ModelFileReader(path: folder.file("model.sfq")).tensors.flatMap(\.planes) {
      #expect(plane.offset % (plane.rawByteCount >= 65536 ? 4096 : 64) == 0)
    }
  }

  @Test func pointersAreAligned() throws {
    let folder = try TemporaryDirectory()
    for compression in [ChunkCompression.none, .smallest] {
      try write(to: folder.file("model.sfq"), compression: compression, overwrite: true)
      let reader = try ModelFileReader(path: folder.file("model.sfq"))
      for tensor in try reader.loadAll(of: reader.tensors.map(\.name), pool: ThreadPool(threadCount: 2)) {
        for plane in tensor.planes { #expect(UInt(bitPattern: plane.pointer) % 64 == 0) }
      }
    }
  }

  @Test func aFileOfNothing() throws {
    let folder = try TemporaryDirectory()
    let writer = try ModelFileWriter(path: folder.file("model.sfq"), fingerprint: "", pool: ThreadPool(threadCount: 1))
    try writer.finish()
    let reader = try ModelFileReader(path: folder.file("model.sfq"))
    #expect(reader.tensors.isEmpty && reader.sections.isEmpty)
    #expect(try bytes(of: folder.file("model.sfq")) == bytes(of: "\(formats)/conformance/empty.sfq").replacingChunkSize(2 << 20))
  }
}

extension [UInt8] {
  /// A file's bytes with another chunk size in its table, and checksums that fit.
  func replacingChunkSize(_ size: UInt32) -> [UInt8] {
    var result = self
    let table = Int(result.integer(UInt64.self, at: 16))
    result.set(size, at: table)
    result.mendChecksums()
    return result
  }

  func integer<T: FixedWidthInteger>(_ type: T.Type, at offset: Int) -> T {
    withUnsafeBytes { T(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: T.self)) }
  }

  mutating func set<T: FixedWidthInteger>(_ value: T, at offset: Int) {
    Swift.withUnsafeBytes(of: value.littleEndian) { replaceSubrange(offset..<offset + $0.count, with: $0) }
  }

  /// Makes the table's and the prelude's checksums and lengths those of what is there now.
  mutating func mendChecksums() {
    guard count >= 64 else { return }
    let table = integer(UInt64.self, at: 16)
    if table <= UInt64(count) {
      set(UInt64(count) - table, at: 24)
      set(checksum(self[Int(table)...]), at: 32)
    }
    set(UInt64(count), at: 40)
    set(checksum(self[..<56]), at: 56)
  }
}
