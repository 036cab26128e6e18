/// Where the parts of a panel stand: 32 rows of a quantized matrix, all columns, columns padded to the group.
///
/// - codes of 4 bits `[groups][group / 8][32 rows][4 bytes]`, byte j of a row's four holding input `8·block + j` in its low half and
///   `8·block + 4 + j` in its high half; of 8 bits `[groups][group / 4][32 rows][4 bytes]`
/// - scales, and minima where codes are asymmetric: float16 bits, `[groups][32 rows]`
///
/// Rows beyond the matrix have scale and minimum 0 and the padding code; columns beyond it have the padding code.
package struct PanelLayout: Hashable, Sendable {
  package static let rows = 32

  package let scheme: QuantizationScheme
  /// Of the matrix, without padding.
  package let columns: Int
  /// Groups along the columns.
  package let groups: Int

  /// nil where there is no column, or the sizes are beyond the largest integer.
  package init?(scheme: QuantizationScheme, columns: Int) {
    guard columns > 0, columns <= Int.max / (64 * Self.rows) else { return nil }
    self.scheme = scheme
    self.columns = columns
    groups = (columns + scheme.group - 1) / scheme.group
  }

  package var paddedColumns: Int { groups * scheme.group }
  /// Bytes of a panel's codes.
  package var codesByteCount: Int { Self.rows * paddedColumns * scheme.bits / 8 }
  /// float16 values of a panel's scales; as many of its minima.
  package var scaleCount: Int { groups * Self.rows }

  /// Panels of a matrix of so many rows.
  package static func panels(rows: Int) -> Int { rows / Self.rows + (rows % Self.rows > 0 ? 1 : 0) }
}
