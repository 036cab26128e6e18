import Compute
import Kernels
import ModelFile

/// Rows of the embedding table, fetched as they are needed.
protocol EmbeddingTable: AnyObject {
  /// `output` `[ids.count, hidden]`; ids are below the vocabulary's size.
  func gather(_ ids: [Int32], to output: Matrix, on engine: Engine) throws(SlowFastError)
}

/// A table that is in memory or mapped as a whole.
final class MatrixEmbedding: EmbeddingTable {
  private let table: WeightMatrix
  init(table: WeightMatrix) { self.table = table }
  func gather(_ ids: [Int32], to output: Matrix, on engine: Engine) { engine.gatherRows(ids, of: table, to: output) }
}

/// A table that stays in its file: only the wanted rows are read.
final class RowEmbedding: EmbeddingTable {
  private let rows: RowReader
  init(rows: RowReader) { self.rows = rows }

  func gather(_ ids: [Int32], to output: Matrix, on engine: Engine) throws(SlowFastError) {
    for (index, id) in ids.enumerated() {
      do throws(ModelFileError) { try rows.read(row: Int(id), into: output.row(index)) } catch { throw .modelFile(error) }
    }
  }
}

/// Stored values one by one, of any type and alignment.
struct StoredFloats {
  private let bytes: UnsafeRawBufferPointer
  private let type: FloatType

  init(_ bytes: UnsafeRawBufferPointer, type: FloatType) {
    self.bytes = bytes
    self.type = type
  }

  var count: Int { bytes.count / type.size }

  subscript(index: Int) -> Float {
    switch type {
    case .float32: Float(bitPattern: bytes.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self))
    case .bfloat16: Float(bitPattern: UInt32(bytes.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)) << 16)
    case .float16: Float(Float16(bitPattern: bytes.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)))
    }
  }

  func copy(to target: UnsafeMutablePointer<Float>) {
    for index in 0..<count { target[index] = self[index] }
  }
}
