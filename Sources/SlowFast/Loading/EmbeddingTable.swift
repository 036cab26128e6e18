import Compute
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
