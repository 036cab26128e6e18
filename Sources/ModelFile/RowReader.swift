import Tensors

/// Rows of a tensor, read one by one: an embedding table without the memory that it would take.
///
/// Only the chunks that hold a wanted row are read and checked; of a packed tensor, the last few stay in memory. A row of a raw tensor
/// costs a read of its bytes (of its panel's, where it is quantized), a row of a packed one may cost the unpacking of a chunk.
package final class RowReader: Sendable {
  package let descriptor: TensorDescriptor
  /// The first dimension.
  package var rows: Int { descriptor.rows }
  /// Values of a row: the product of the other dimensions.
  package var columns: Int { descriptor.columns }

  private let path: String
  private let planes: [PlaneReader]

  init(_ reader: ModelFileReader, _ tensor: StoredTensor, keptChunks: Int) {
    path = reader.path
    descriptor = tensor.descriptor
    planes = tensor.planes.map { PlaneReader($0, of: reader, keptChunks: keptChunks) }
  }

  /// One row's values as they are stored, of a tensor of floats.
  package func row(_ row: Int) throws(ModelFileError) -> [UInt8] {
    try require(row)
    guard let size = descriptor.encoding.valueSize else {
      throw .noRows(path: path, tensor: descriptor.name, encoding: descriptor.encoding)
    }
    return try planes[0].read(from: row * columns * size, count: columns * size)
  }

  /// One row's `columns` values as floats, of a tensor of any encoding.
  package func read(row: Int, into output: UnsafeMutablePointer<Float>) throws(ModelFileError) {
    try require(row)
    if let layout = descriptor.quantizedLayout {
      try dequantize(row, layout, into: output)
    } else if case .float(let type) = descriptor.encoding {
      try self.row(row).withUnsafeBytes { bytes in
        if let base = bytes.baseAddress { type.decode(base, columns, to: output) }
      }
    }
  }

  private func require(_ row: Int) throws(ModelFileError) {
    guard row >= 0, row < rows else { throw .noSuchRow(path: path, tensor: descriptor.name, row: row, rows: rows) }
  }

  /// The row out of its panel of 32.
  private func dequantize(_ row: Int, _ layout: QuantizedLayout, into output: UnsafeMutablePointer<Float>) throws(ModelFileError) {
    let panel = row / QuantizedLayout.panelRows
    let lane = row % QuantizedLayout.panelRows
    let codes = try planes[0].read(from: panel * layout.codesPerPanel, count: layout.codesPerPanel)
    let scales = try planes[1].read(from: panel * layout.scalesPerPanel, count: layout.scalesPerPanel)
    let minima = layout.symmetric ? nil : try planes[2].read(from: panel * layout.scalesPerPanel, count: layout.scalesPerPanel)
    let zero = Float(layout.symmetric ? 1 << (layout.bits - 1) : 0)
    // Four bytes of each row follow one another: eight codes of 4 bits, the high halves after the low ones, or four of 8.
    let perBlock = 32 / layout.bits
    codes.withUnsafeBufferPointer { codes in
      for column in 0..<columns {
        let element = column / layout.group * QuantizedLayout.panelRows + lane
        let byte = codes[(column / perBlock * QuantizedLayout.panelRows + lane) * 4 + column % 4]
        let code = layout.bits == 8 ? byte : column % 8 < 4 ? byte & 15 : byte >> 4
        let value = half(scales, element) * (Float(code) - zero)
        output[column] = minima.map { value + half($0, element) } ?? value
      }
    }
  }

  private func half(_ bytes: [UInt8], _ index: Int) -> Float {
    Float(Float16(bitPattern: UInt16(bytes[2 * index]) | UInt16(bytes[2 * index + 1]) << 8))
  }
}

extension ModelFileReader {
  /// Rows on demand. `keptChunks`: unpacked chunks of each plane that stay in memory.
  package func rows(of name: String, keptChunks: Int = 8) throws(ModelFileError) -> RowReader {
    RowReader(self, try found(name), keptChunks: keptChunks)
  }
}
