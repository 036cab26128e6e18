import Parallel
import Support

/// Rows of floats in memory that the matrix, or a larger one that it is a part of, owns. A reference: copies share their values.
///
/// The shape of every matrix of the model stands beside its declaration, as `[rows, columns]`.
package struct Matrix: @unchecked Sendable {
  package let rows: Int
  package let columns: Int
  /// Floats from one row to the next.
  package let stride: Int
  /// The first value. It is good for as long as somebody holds the matrix: never take it from a temporary one.
  package let pointer: UnsafeMutablePointer<Float>
  let owner: AnyObject

  /// Zeros. Throws when memory is out, also where there are more values than can be counted.
  package init(rows: Int, columns: Int) throws(ComputeError) {
    precondition(rows >= 0 && columns >= 0)
    let (count, overflow) = rows.multipliedReportingOverflow(by: columns)
    let (bytes, tooMany) = max(1, count).multipliedReportingOverflow(by: MemoryLayout<Float>.stride)
    if overflow || tooMany { throw .outOfMemory(bytes: .max) }
    guard let memory = AlignedMemory(byteCount: bytes) else { throw .outOfMemory(bytes: bytes) }
    self.init(rows: rows, columns: columns, stride: columns, pointer: memory.base.assumingMemoryBound(to: Float.self), owner: memory)
  }

  /// A view of memory that `owner` keeps alive.
  package init(rows: Int, columns: Int, stride: Int, pointer: UnsafeMutablePointer<Float>, owner: AnyObject) {
    self.rows = rows
    self.columns = columns
    self.stride = stride
    self.pointer = pointer
    self.owner = owner
  }

  private static let nothing = Nothing()

  /// Stands for values that were not loaded: no rows.
  package static func absent(columns: Int) -> Matrix {
    Matrix(rows: 0, columns: columns, stride: columns, pointer: nothing.pointer, owner: nothing)
  }

  /// A copy of `values`, one row after the other.
  package init(rows: Int, columns: Int, values: [Float]) throws(ComputeError) {
    precondition(values.count == rows * columns)
    try self.init(rows: rows, columns: columns)
    values.withUnsafeBufferPointer { source in
      if let base = source.baseAddress { pointer.update(from: base, count: source.count) }
    }
  }

  /// One row's values.
  package func row(_ index: Int) -> UnsafeMutablePointer<Float> { pointer + index * stride }

  /// Some of the rows; shares memory.
  package subscript(rows range: Range<Int>) -> Matrix {
    precondition(range.lowerBound >= 0 && range.upperBound <= rows)
    return Matrix(rows: range.count, columns: columns, stride: stride, pointer: pointer + range.lowerBound * stride, owner: owner)
  }

  /// Some of the columns; shares memory.
  package subscript(columns range: Range<Int>) -> Matrix {
    precondition(range.lowerBound >= 0 && range.upperBound <= columns)
    return Matrix(rows: rows, columns: range.count, stride: stride, pointer: pointer + range.lowerBound, owner: owner)
  }

  /// The same memory as another shape; the rows must follow each other without a gap.
  package func reshaped(rows: Int, columns: Int) -> Matrix {
    precondition(stride == self.columns && rows * columns <= self.rows * self.columns)
    return Matrix(rows: rows, columns: columns, stride: columns, pointer: pointer, owner: owner)
  }

  /// The values where they are, of a matrix without gaps between its rows.
  package var buffer: UnsafeMutableBufferPointer<Float> {
    precondition(stride == columns)
    return UnsafeMutableBufferPointer(start: pointer, count: rows * columns)
  }

  /// A copy of the values, row by row.
  package var values: [Float] {
    var result: [Float] = []
    result.reserveCapacity(rows * columns)
    for index in 0..<rows { result.append(contentsOf: UnsafeBufferPointer(start: row(index), count: columns)) }
    return result
  }

  /// The same values in memory of their own.
  package func copied() throws(ComputeError) -> Matrix {
    let copy = try Matrix(rows: rows, columns: columns)
    copy.copy(from: self)
    return copy
  }

  /// Takes the values of a matrix of the same shape.
  package func copy(from other: Matrix) {
    precondition(other.rows == rows && other.columns == columns)
    for index in 0..<rows { row(index).update(from: other.row(index), count: columns) }
  }
}

/// What matrices without values point to.
private final class Nothing: @unchecked Sendable {
  let pointer = UnsafeMutablePointer<Float>.allocate(capacity: 1)
}
