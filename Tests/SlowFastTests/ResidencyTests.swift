import Compute
import Foundation
import Models
import Parallel
import Runtime
import Support
import Synchronization
import TestSupport
import Testing
import Video

/// A source that counts how often it is told to read ahead, and takes its time for it.
private final class CountingSource: WeightSource {
  private let base: any WeightSource
  private let names = Mutex<[String]>([])

  init(_ base: any WeightSource) { self.base = base }

  /// How often a tensor was read ahead.
  func count(of name: String) -> Int { names.withLock { $0.count { $0 == name } } }

  var config: ModelConfig { base.config }
  var schema: TensorSchema { base.schema }
  var isQuantized: Bool { base.isQuantized }
  var embeddingBytes: Int { base.embeddingBytes }
  func residentBytes(_ names: [String]) -> Int { base.residentBytes(names) }
  func makeEmbeddingTable() throws(SlowFastError) -> any EmbeddingTable { try base.makeEmbeddingTable() }
  func checkUnchanged() throws(SlowFastError) { try base.checkUnchanged() }
  func matrix(_ name: String) throws(SlowFastError) -> WeightMatrix { try base.matrix(name) }
  func vector(_ name: String) throws(SlowFastError) -> Matrix { try base.vector(name) }
  func preload(_ names: [String], pool: ThreadPool, progress: @escaping @Sendable (Int, Int) -> Void) throws(SlowFastError) {
    self.names.withLock { $0 += names }
    usleep(50_000)
    try base.preload(names, pool: pool, progress: progress)
  }
}

/// Which parts of a model are in memory, and for how long.
@Suite struct ResidencyTests {
  private let model: VideoLanguageModel
  private let source: CountingSource
  private let pool = ThreadPool(threadCount: 1)
  private let directory: TemporaryDirectory

  /// From a model file, which hands out once what it has read ahead.
  init() throws {
    directory = try TemporaryDirectory()
    let opened = try VideoLanguageModel(path: convert("clip", bits: 8, to: directory))
    source = CountingSource(opened.source)
    model = VideoLanguageModel(opened, source: source, cacheType: opened.cacheType)
  }

  private var visionName: String { source.schema.visionNames[0] }
  private var decoderName: String { source.schema.decoderNames[0] }

  private func session(keepsWeights: Bool) throws -> Session {
    var options = SessionOptions()
    options.keepsWeights = keepsWeights
    return try Session(model, options: options)
  }

  private func watchAndAsk(_ session: Session) throws -> Answer {
    try session.watch([.frames(try (0..<2).map { try picture($0) })], sampling: SamplingRequest(frames: 2))
    return try session.ask("What?", options: greedy(4))
  }

  /// Several threads ask for the same part at the same time: it is read once, and all get the same.
  @Test func severalLoadsAtOnce() throws {
    let (model, pool) = (model, pool)
    let found = Mutex<[Result<(DecoderWeights, VisionWeights), SlowFastError>]>([])
    DispatchQueue.concurrentPerform(iterations: 6) { index in
      let result = Result { () throws(SlowFastError) in
        let decoder = try model.residency.decoderWeights(pool: pool) { _ in }
        return (decoder, try model.residency.visionWeights(pool: pool) { _ in })
      }
      found.withLock { $0.append(result) }
    }
    let parts = try found.withLock { $0 }.map { try $0.get() }
    #expect(parts.count == 6 && parts.allSatisfy { $0.0 === parts[0].0 && $0.1 === parts[0].1 })
    #expect(source.count(of: visionName) == 1 && source.count(of: decoderName) == 1)
  }

  /// The tower goes when the clip is encoded, the decoder with the last conversation.
  @Test func partsGoWithTheirLastUser() throws {
    #expect(model.residency.isInMemory == (false, false))
    var first: Session? = try session(keepsWeights: false)
    let answer = try watchAndAsk(first!)
    #expect(model.residency.isInMemory == (false, true))
    var second: Session? = try session(keepsWeights: false)
    #expect(try watchAndAsk(second!) == answer)
    #expect(source.count(of: visionName) == 2 && source.count(of: decoderName) == 1)
    first = nil
    #expect(model.residency.isInMemory == (false, true))
    // Another clip: the decoder makes room for the tower.
    try second?.watch([.frames([try picture(3)])], sampling: SamplingRequest(frames: 1))
    #expect(model.residency.isInMemory == (false, false))
    #expect(try second?.ask("What?", options: greedy(2)).tokens.count == 2)
    #expect(source.count(of: decoderName) == 2)
    second = nil
    #expect(model.residency.isInMemory == (false, false))
  }

  @Test func weightsThatAreKept() throws {
    var keeping: Session? = try session(keepsWeights: true)
    let answer = try watchAndAsk(keeping!)
    #expect(try watchAndAsk(keeping!) == answer)
    #expect(model.residency.isInMemory == (true, true))
    #expect(source.count(of: visionName) == 1 && source.count(of: decoderName) == 1)
    // Another session shares them, also while they are at work.
    #expect(try watchAndAsk(session(keepsWeights: false)) == answer)
    #expect(source.count(of: visionName) == 1 && source.count(of: decoderName) == 1)
    keeping = nil
    #expect(model.residency.isInMemory == (false, false))
  }

  /// Sessions on threads of their own, on one model: the same answers as one after the other.
  @Test func sessionsSideBySide() throws {
    let questions = ["What happens?", "Who is it?", "Where?", "Why so?"]
    @Sendable func answers(_ index: Int, _ model: VideoLanguageModel) throws -> [Answer] {
      let session = try Session(model)
      try session.watch([.frames(try (0..<2).map { try picture(10 * index + $0) })], sampling: SamplingRequest(frames: 2))
      return try questions.map { try session.ask($0, options: greedy(5)) }
    }
    let model = model
    let alone = try (0..<3).map { try answers($0, model) }
    let found = Mutex<[Int: [Answer]]>([:])
    DispatchQueue.concurrentPerform(iterations: 3) { index in
      let result = try? answers(index, model)
      found.withLock { $0[index] = result }
    }
    #expect(found.withLock { $0 } == [0: alone[0], 1: alone[1], 2: alone[2]])
  }
}
