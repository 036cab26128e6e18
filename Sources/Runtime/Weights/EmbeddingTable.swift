import Compute
import ModelFile
import Models
import Support

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
