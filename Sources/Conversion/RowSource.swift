import Models
import Safetensors
import Support
import Tensors

/// A checkpoint's tensor as rows of floats in the model file's layout.
struct RowSource {
  let checkpoint: Checkpoint
  let tensor: CheckpointTensor
  let type: ScalarType
  /// Of the model file's matrix; a vector, and a depthwise convolution, which is turned as a whole, are one row.
  let rows: Int
  let columns: Int
  /// Where a row is `[count][area]` in the checkpoint and `[area][count]` in the model file.
  private let turn: (count: Int, area: Int)?
  /// What each column, and each row, is multiplied with.
  private let columnFactors: [Float]?
  private let rowFactors: [Float]?

  /// nil for a type that holds no weights.
  init?(
    _ checkpoint: Checkpoint, _ tensor: CheckpointTensor, _ requirement: TensorRequirement, columnFactors: [Float]? = nil,
    rowFactors: [Float]? = nil
  ) {
    guard let type = tensor.type.scalar else { return nil }
    self.checkpoint = checkpoint
    self.tensor = tensor
    self.type = type
    let shape = requirement.shape
    let count = shape.reduce(1, *)
    switch requirement.layout {
    case .asStored:
      turn = nil
      rows = shape.count < 2 ? 1 : shape[0]
    case .patchMatrix:
      turn = (shape[1], shape[2] * shape[3])
      rows = shape[0]
    case .depthwise:
      turn = (shape[0], shape[2] * shape[3])
      rows = 1
    }
    columns = count / rows
    self.columnFactors = columnFactors
    self.rowFactors = rowFactors
    precondition((columnFactors?.count ?? columns) == columns && (rowFactors?.count ?? rows) == rows)
  }

  private var isTurned: Bool { turn != nil }
  /// The rows have other bytes than in a model file that stores values of the same type.
  var isChanged: Bool { isTurned || columnFactors != nil || rowFactors != nil }
  var rowByteCount: Int { columns * type.size }

  /// The bytes of these rows in the checkpoint's order.
  func read(_ rows: Range<Int>, into buffer: UnsafeMutableRawPointer) throws(ConversionError) {
    do throws(CheckpointError) {
      let bytes = UnsafeMutableRawBufferPointer(start: buffer, count: rows.count * rowByteCount)
      try checkpoint.read(tensor, at: rows.lowerBound * rowByteCount, into: bytes)
    } catch { throw .checkpoint(error) }
  }

  /// These rows as floats in the model file's order, `stride` floats from row to row; floats beyond `columns` are left alone.
  /// Returns whether all are finite.
  func floats(
    _ rows: Range<Int>, to floats: UnsafeMutablePointer<Float>, stride: Int, scratch: ConversionScratch
  ) throws(ConversionError) -> Bool {
    let raw = try scratch.raw(byteCount: rows.count * rowByteCount)
    try read(rows, into: raw)
    var isFinite = true
    let turned = isTurned ? try scratch.row(count: columns) : nil
    for row in 0..<rows.count {
      let target = floats + row * stride
      let isRowFinite = type.decode(raw + row * rowByteCount, columns, to: turned ?? target)
      isFinite = isRowFinite && isFinite
      if let turned, let turn { Self.turn(turned, turn.count, turn.area, to: target) }
      if let factor = rowFactors?[rows.lowerBound + row] {
        for column in 0..<columns { target[column] *= factor }
      }
      columnFactors?.withUnsafeBufferPointer { factors in
        for column in 0..<columns { target[column] *= factors[column] }
      }
    }
    return isFinite
  }

  /// `[count][area]` to `[area][count]`.
  private static func turn(_ from: UnsafePointer<Float>, _ count: Int, _ area: Int, to: UnsafeMutablePointer<Float>) {
    for position in 0..<area {
      for index in 0..<count { to[position * count + index] = from[index * area + position] }
    }
  }

  /// The first value of these rows, in the checkpoint's order, that `isWanted`, and its index in the checkpoint's shape.
  func first(
    in rows: Range<Int>, scratch: ConversionScratch, where isWanted: (Float) -> Bool
  ) throws(ConversionError) -> (index: [Int], value: Float)? {
    let raw = try scratch.raw(byteCount: rowByteCount)
    let values = try scratch.row(count: columns)
    for row in rows {
      try read(row..<row + 1, into: raw)
      type.decode(raw, columns, to: values)
      for column in 0..<columns where isWanted(values[column]) { return (index(of: row * columns + column), values[column]) }
    }
    return nil
  }

  private func index(of position: Int) -> [Int] {
    var rest = position
    var index: [Int] = []
    for size in tensor.shape.reversed() {
      index.insert(rest % size, at: 0)
      rest /= size
    }
    return index
  }
}

/// Memory of one worker, used again for one block after the other.
final class ConversionScratch: @unchecked Sendable {  // No two threads are the same worker at a time.
  private var memory: [AlignedMemory?] = [nil, nil, nil]

  /// Bytes as the checkpoint has them.
  func raw(byteCount: Int) throws(ConversionError) -> UnsafeMutableRawPointer { try slot(0, byteCount) }
  /// A row before it is turned, or looked at.
  func row(count: Int) throws(ConversionError) -> UnsafeMutablePointer<Float> { try slot(1, count * 4).assumingMemoryBound(to: Float.self) }
  /// Rows in the model file's order.
  func block(count: Int) throws(ConversionError) -> UnsafeMutablePointer<Float> {
    try slot(2, count * 4).assumingMemoryBound(to: Float.self)
  }

  private func slot(_ index: Int, _ byteCount: Int) throws(ConversionError) -> UnsafeMutableRawPointer {
    if let memory = memory[index], memory.byteCount >= byteCount { return memory.base }
    memory[index] = nil
    guard let new = AlignedMemory(byteCount: max(64, byteCount)) else { throw .outOfMemory(bytes: byteCount) }
    memory[index] = new
    return new.base
  }
}
