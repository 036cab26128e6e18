import Kernels
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

/// Rows of floats that wait to be read, row by row: as they are, as float16, or as codes of 8 bits with a scale for 64 values.
package struct StoredRows: @unchecked Sendable {
  package let rows: Int
  package let columns: Int
  package let type: KeyValueType
  private let memory: AlignedMemory
  private let kernels: FloatKernels

  /// Zeros. Throws when memory is out, also where there are more values than can be counted.
  package init(rows: Int, columns: Int, type: KeyValueType, on engine: Engine) throws(ComputeError) {
    precondition(rows >= 0 && columns >= 0)
    let bytes = Self.byteCount(rows: rows, columns: columns, type: type)
    guard bytes < .max, let memory = AlignedMemory(byteCount: max(64, bytes)) else { throw .outOfMemory(bytes: bytes) }
    (self.rows, self.columns, self.type, self.memory, kernels) = (rows, columns, type, memory, engine.kernels.float)
  }

  /// A copy of a matrix.
  package init(_ matrix: Matrix, type: KeyValueType, on engine: Engine) throws(ComputeError) {
    try self.init(rows: matrix.rows, columns: matrix.columns, type: type, on: engine)
    store(matrix, at: 0)
  }

  /// No rows.
  package static func none(columns: Int, on engine: Engine) throws(ComputeError) -> StoredRows {
    try StoredRows(rows: 0, columns: columns, type: .float32, on: engine)
  }

  /// `Int.max` where that is no number of bytes.
  package static func byteCount(rows: Int, columns: Int, type: KeyValueType) -> Int {
    let (bytes, overflow) = rows.multipliedReportingOverflow(by: rowBytes(columns, type))
    return overflow ? .max : bytes
  }

  /// Values that share a scale.
  private static let group = 64

  private static func rowBytes(_ columns: Int, _ type: KeyValueType) -> Int {
    let groups = (columns + group - 1) / group
    return type == .int8 ? groups * (group + MemoryLayout<Float>.size) : columns * type.bits / 8
  }

  private func row(_ index: Int) -> UnsafeMutableRawPointer { memory.base + index * Self.rowBytes(columns, type) }

  /// All of it, as it is kept.
  package var bytes: UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: memory.base, count: Self.byteCount(rows: rows, columns: columns, type: type))
  }

  /// Some rows of it.
  package func bytes(of range: Range<Int>) -> UnsafeMutableRawBufferPointer {
    precondition(range.lowerBound >= 0 && range.upperBound <= rows)
    return UnsafeMutableRawBufferPointer(start: row(range.lowerBound), count: range.count * Self.rowBytes(columns, type))
  }

  /// The rows themselves, of a type that is floats.
  package var floats: Matrix {
    precondition(type == .float32)
    return Matrix(rows: rows, columns: columns, stride: columns, pointer: memory.base.assumingMemoryBound(to: Float.self), owner: memory)
  }

  /// Takes over `matrix` as the rows from `first` on.
  package func store(_ matrix: Matrix, at first: Int) {
    precondition(matrix.columns == columns && first >= 0 && first + matrix.rows <= rows)
    for index in 0..<matrix.rows {
      let (from, to) = (matrix.row(index), row(first + index))
      switch type {
      case .float32: to.assumingMemoryBound(to: Float.self).update(from: from, count: columns)
      case .float16: kernels.toHalf(from, columns, to.assumingMemoryBound(to: UInt16.self))
      case .int8:
        let scales = scales(to)
        for (group, start) in stride(from: 0, to: columns, by: Self.group).enumerated() {
          let count = min(Self.group, columns - start)
          let scale = kernels.codes.greatestMagnitude(from + start, count) / 127
          let inverse = 1 / scale
          scales[group] = scale.isFinite ? scale : .nan
          kernels.codes.toCodes(from + start, count, inverse.isFinite ? inverse : 0, to.assumingMemoryBound(to: UInt8.self) + start)
        }
      }
    }
    withExtendedLifetime(matrix) {}
  }

  /// Takes over `count` rows from others of the same form.
  package func copyRow(_ from: Int, to: Int) { row(to).copyMemory(from: row(from), byteCount: Self.rowBytes(columns, type)) }

  /// Some rows as floats: where they are, or in `scratch`, which has as many rows or more.
  package func load(_ range: Range<Int>, in scratch: Matrix?, pool: ThreadPool? = nil) -> Matrix {
    guard type != .float32, let scratch else { return floats[rows: range] }
    let result = scratch[rows: 0..<range.count]
    precondition(scratch.columns == columns && range.lowerBound >= 0 && range.upperBound <= rows)
    if let pool {
      pool.forEachInRuns(range.count) { index, _ in load(range.lowerBound + index, to: result.row(index)) }
    } else {
      for index in 0..<range.count { load(range.lowerBound + index, to: result.row(index)) }
    }
    return result
  }

  private func load(_ index: Int, to: UnsafeMutablePointer<Float>) {
    let from = row(index)
    switch type {
    case .float32: to.update(from: from.assumingMemoryBound(to: Float.self), count: columns)
    case .float16: kernels.toFloat(.float16, from, columns, to)
    case .int8:
      for (group, start) in stride(from: 0, to: columns, by: Self.group).enumerated() {
        kernels.codes.fromCodes(
          from.assumingMemoryBound(to: UInt8.self) + start, min(Self.group, columns - start), scales(from)[group], to + start)
      }
    }
  }

  /// Behind a row's codes.
  private func scales(_ row: UnsafeMutableRawPointer) -> UnsafeMutablePointer<Float> {
    (row + (columns + Self.group - 1) / Self.group * Self.group).assumingMemoryBound(to: Float.self)
  }

  /// A copy of the values, row by row.
  package var values: [Float] {
    [Float](unsafeUninitializedCapacity: rows * columns) { buffer, count in
      if let base = buffer.baseAddress { for index in 0..<rows { load(index, to: base + index * columns) } }
      count = rows * columns
    }
  }
}
