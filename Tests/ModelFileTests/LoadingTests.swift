import ModelFile
import Parallel
import Synchronization
import TestSupport
import Testing

@Suite struct LoadingTests {
  private let pool = ThreadPool(threadCount: 2)

  @Test func rawPlanesAreTheFilesOwnPages() throws {
    let folder = try TemporaryDirectory()
    try write(to: folder.file("model.sfq"), compression: .none)
    let reader = try ModelFileReader(path: folder.file("model.sfq"))
    let tensor = try reader.load("layers.0.k.weight", pool: pool)
    #expect(tensor[.codes]?.isMapped == true)
    #expect(tensor[.scales]?.isMapped == false)  // 3072 bytes: less than a page is not worth a mapping.
    #expect(tensor[.values] == nil)
    #expect(try Array(#require(tensor[.codes]).bytes) == SampleTensor.all[2].planes[.codes])
  }

  @Test func mappedPlanesOutliveTheirReader() throws {
    let folder = try TemporaryDirectory()
    try write(to: folder.file("model.sfq"), compression: .none)
    let tensor = try ModelFileReader(path: folder.file("model.sfq")).load("embedding", pool: pool)
    #expect(try Array(#require(tensor[.values]).bytes) == SampleTensor.all[4].planes[.values])
  }

  @Test func theOrderIsTheCallers() throws {
    let folder = try TemporaryDirectory()
    try write(to: folder.file("model.sfq"))
    let reader = try ModelFileReader(path: folder.file("model.sfq"))
    let names = ["gate", "norm.weight", "gate", "conv"]
    #expect(try reader.loadAll(of: names, pool: pool).map(\.name) == names)
    #expect(try reader.loadAll(of: [], pool: pool).isEmpty)
  }

  @Test func progressReachesTheTotal() throws {
    let folder = try TemporaryDirectory()
    try write(to: folder.file("model.sfq"))
    let reader = try ModelFileReader(path: folder.file("model.sfq"))
    let seen = Mutex<[(Int, Int)]>([])
    _ = try reader.loadAll(of: reader.tensors.map(\.name), pool: pool) { done, total in
      seen.withLock { $0.append((done, total)) }
      return true
    }
    let total = reader.tensors.reduce(0) { $0 + $1.rawByteCount }
    let steps = seen.withLock { $0 }
    #expect(steps.last.map { $0 == (total, total) } == true)
    #expect(zip(steps, steps.dropFirst()).allSatisfy { $0.0 < $1.0 })

    let verified = Mutex<Int>(0)
    _ = try reader.verify(pool: pool) { done, _ in
      verified.withLock { $0 = done }
      return true
    }
    #expect(verified.withLock { $0 } == reader.byteCount)
  }

  @Test func progressCanStopTheWork() throws {
    let folder = try TemporaryDirectory()
    let path = folder.file("model.sfq")
    try write(to: path)
    let reader = try ModelFileReader(path: path)
    let names = reader.tensors.map(\.name)
    #expect(failure { _ = try reader.loadAll(of: names, pool: pool) { done, _ in done < 1000 } } == .cancelled(path: path))
    #expect(failure { _ = try reader.verify(pool: pool) { _, _ in false } } == .cancelled(path: path))
  }

  @Test(arguments: [ChunkCompression.none, .standard, .smallest])
  func rowsOnDemand(_ compression: ChunkCompression) throws {
    let folder = try TemporaryDirectory()
    try write(to: folder.file("model.sfq"), compression: compression)
    let reader = try ModelFileReader(path: folder.file("model.sfq"))
    let rows = try reader.rows(of: "embedding", keptChunks: 2)
    let expected = try #require(SampleTensor.all[4].planes[.values])
    #expect(rows.rows == 500 && rows.columns == 96)
    // 192 bytes do not divide 4096: some rows lie in two chunks.
    for row in [0, 1, 20, 21, 499, 250, 21, 22, 0] { #expect(try rows.row(row) == Array(expected[row * 192..<(row + 1) * 192])) }
    for row in [-1, 500, Int.max] {
      #expect(failure { _ = try rows.row(row) } == .noSuchRow(path: reader.path, tensor: "embedding", row: row, rows: 500))
    }
    #expect(try reader.rows(of: "gate").row(0) == SampleTensor.all[6].planes[.values])
    let name = "layers.0.q.weight"
    let error = failure { _ = try reader.rows(of: name).row(0) }
    #expect(error == .noRows(path: reader.path, tensor: name, encoding: .quantized(bits: 4, group: 32, symmetric: true)))
  }

  @Test(arguments: [ChunkCompression.none, .standard, .smallest])
  func rowsTouchOnlyTheirChunks(_ compression: ChunkCompression) throws {
    let folder = try TemporaryDirectory()
    try write(to: folder.file("model.sfq"), compression: compression)
    var content = try bytes(of: folder.file("model.sfq"))
    let chunk = try ModelFileReader(path: folder.file("model.sfq")).tensors[4].planes[0].chunks[3]
    content[chunk.offset] ^= 1
    try put(content, at: folder.file("damaged.sfq"))
    let rows = try ModelFileReader(path: folder.file("damaged.sfq")).rows(of: "embedding")
    // Chunk 3 holds bytes 12288 to 16384: rows 64 to 85.
    #expect(try rows.row(63).count == 192)
    #expect(try rows.row(86).count == 192)
    for row in [64, 70, 85] { #expect(failure { _ = try rows.row(row) }?.rule == "chunk-checksum") }
  }

  @Test func manyThreadsMayReadRows() throws {
    let folder = try TemporaryDirectory()
    try write(to: folder.file("model.sfq"))
    let rows = try ModelFileReader(path: folder.file("model.sfq")).rows(of: "embedding", keptChunks: 1)
    let expected = try #require(SampleTensor.all[4].planes[.values])
    let wrong = Atomic<Int>(0)
    ThreadPool(threadCount: 4).forEach(2000) { index, _ in
      let row = index * 37 % 500
      if (try? rows.row(row)) != Array(expected[row * 192..<(row + 1) * 192]) { wrong.add(1, ordering: .relaxed) }
    }
    #expect(wrong.load(ordering: .relaxed) == 0)
  }
}
