import Compute
import Kernels
import ModelFile
import Models
import Parallel
import Support
import Synchronization
import Tensors

/// The tensors of an `.sfq` file. What `preload` brought in is handed out once and belongs to the model part that took it.
package final class ModelFileSource: WeightSource {
  package let config: ModelConfig
  package let schema: TensorSchema
  package let isQuantized: Bool
  private let file: ModelFileReader
  private let loaded = Mutex<[String: LoadedTensor]>([:])

  package init(_ file: ModelFileReader) throws(SlowFastError) {
    self.file = file
    do {
      config = try Self.config(of: file)
      var shapes: [String: [Int]] = [:]
      for tensor in file.tensors { shapes[tensor.name] = tensor.descriptor.shape }
      schema = try TensorSchema(config: config, shapes: TensorShapes(shapes, areStored: true))
    } catch { throw SlowFastError(error, path: file.path) }
    var isQuantized = false
    for requirement in schema.requirements {
      guard case .quantized(let scheme)? = file.tensor(requirement.name)?.descriptor.encoding else { continue }
      isQuantized = true
      guard requirement.role.isMatrix else {
        throw .badModel(path: file.path, reason: "tensor \(requirement.name.escaped()) is quantized, expected floats")
      }
      guard scheme.group <= largestGroup else {
        throw .badModel(
          path: file.path,
          reason: "tensor \(requirement.name.escaped()): groups of \(scheme.group), this runtime takes at most \(largestGroup)")
      }
    }
    self.isQuantized = isQuantized
  }

  /// Its `preprocessing` section has the last word on frames and pixels, but for the square that the tower sees.
  private static func config(of file: ModelFileReader) throws -> ModelConfig {
    var config = try ModelConfig(
      ConfigFiles(config: try file.section("config.json"), vision: file.hasSection("vision") ? try file.section("vision") : nil))
    let record = try PreprocessingRecord(json: try file.section("preprocessing"))
    guard record.pixels.size == config.imageSize else {
      throw SlowFastError.badModel(
        path: file.path, reason: "frames of \(record.pixels.size) pixels in its preprocessing, \(config.imageSize) in its config.json")
    }
    (config.pixels, config.frameCount, config.frameRate) = (record.pixels, record.frames, record.frameRate)
    return config
  }

  package func preload(_ names: [String], pool: ThreadPool, progress: @escaping @Sendable (Int, Int) -> Void) throws(SlowFastError) {
    let tensors = try fromFile { () throws(ModelFileError) in
      try file.loadAll(of: names, pool: pool) { done, total in
        progress(done, total)
        return true
      }
    }
    loaded.withLock { loaded in for tensor in tensors { loaded[tensor.name] = tensor } }
  }

  package func checkUnchanged() throws(SlowFastError) { try fromFile { () throws(ModelFileError) in try file.checkUnchanged() } }

  package func residentBytes(_ names: [String]) -> Int { names.reduce(0) { $0 + (file.tensor($1)?.rawByteCount ?? 0) } }

  package func matrix(_ name: String) throws(SlowFastError) -> WeightMatrix {
    guard let weight = try take(name).weightMatrix else { throw SlowFastError(ArchitectureError.missingTensors([name])) }
    return weight
  }

  package func vector(_ name: String) throws(SlowFastError) -> Matrix {
    let tensor = try take(name)
    guard let values = try classified({ () throws(ComputeError) in try tensor.floats() }) else {
      throw .badModel(path: file.path, reason: "tensor \(name.escaped()) is quantized, expected floats")
    }
    return values
  }

  package func makeEmbeddingTable() throws(SlowFastError) -> any EmbeddingTable {
    RowEmbedding(
      rows: try fromFile { () throws(ModelFileError) in try file.rows(of: TensorSchema.embeddingName, keptChunks: Self.keptChunks) })
  }

  /// Unpacked chunks of a packed embedding table that stay in memory: neighbouring tokens are often asked for again. Of a raw one each
  /// plane has the memory in which a chunk is checked.
  private static let keptChunks = 8
  package var embeddingBytes: Int {
    guard let table = file.tensor(TensorSchema.embeddingName) else { return 0 }
    return min((table.isRaw ? table.planes.count : Self.keptChunks + 1) * file.chunkSize, table.rawByteCount)
  }

  private func take(_ name: String) throws(SlowFastError) -> LoadedTensor {
    if let tensor = loaded.withLock({ $0.removeValue(forKey: name) }) { return tensor }
    return try fromFile { () throws(ModelFileError) in try file.load(name, pool: ThreadPool(threadCount: 1)) }
  }

  private func fromFile<T>(_ body: () throws(ModelFileError) -> T) throws(SlowFastError) -> T {
    do throws(ModelFileError) { return try body() } catch {
      // A file that changed has wrong checksums, or ends early; why is worth more than where.
      do throws(ModelFileError) { try file.checkUnchanged() } catch { throw SlowFastError(error) }
      throw SlowFastError(error)
    }
  }
}

extension LoadedTensor {
  /// The tensor as a linear layer's weight; nil where a plane is missing.
  package var weightMatrix: WeightMatrix? {
    let storage: WeightMatrix.Storage
    switch descriptor.encoding {
    case .float(let type):
      guard let values = self[.values] else { return nil }
      storage = .float(type, values.pointer)
    case .quantized:
      guard let layout = descriptor.quantizedLayout, let codes = self[.codes], let scales = self[.scales] else { return nil }
      let planes = QuantizedPlanes(
        codes: codes.pointer, scales: scales.pointer.assumingMemoryBound(to: UInt16.self),
        minima: self[.minima]?.pointer.assumingMemoryBound(to: UInt16.self))
      storage = .quantized(layout, planes)
    }
    return WeightMatrix(rows: descriptor.rows, columns: descriptor.columns, storage: storage, owner: self)
  }

  /// A tensor of floats, `[1, n]` or `[rows, columns]`; nil where it is quantized.
  package func floats() throws(ComputeError) -> Matrix? {
    guard case .float(let type) = descriptor.encoding, let values = self[.values] else { return nil }
    let isVector = descriptor.shape.count < 2
    let result = try Matrix(
      rows: isVector ? 1 : descriptor.rows, columns: isVector ? descriptor.elementCount : descriptor.columns)
    type.decode(values.pointer, descriptor.elementCount, to: result.pointer)
    return result
  }
}

/// A table that is in memory or mapped as a whole.
package final class MatrixEmbedding: EmbeddingTable {
  private let table: WeightMatrix
  package init(table: WeightMatrix) { self.table = table }
  package func gather(_ ids: [Int32], to output: Matrix, on engine: Engine) { engine.gatherRows(ids, of: table, to: output) }
}

/// A table that stays in its file: only the wanted rows are read.
package final class RowEmbedding: EmbeddingTable {
  private let rows: RowReader
  package init(rows: RowReader) { self.rows = rows }

  package func gather(_ ids: [Int32], to output: Matrix, on engine: Engine) throws(SlowFastError) {
    for (index, id) in ids.enumerated() {
      do throws(ModelFileError) { try rows.read(row: Int(id), into: output.row(index)) } catch { throw SlowFastError(error) }
    }
  }
}
