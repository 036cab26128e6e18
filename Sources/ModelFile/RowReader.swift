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

  /// The row out of its panel.
  private func dequantize(_ row: Int, _ layout: QuantizedLayout, into output: UnsafeMutablePointer<Float>) throws(ModelFileError) {
    let (panel, lane) = row.quotientAndRemainder(dividingBy: QuantizedLayout.panelRows)
    let codes = try planes[0].read(from: panel * layout.panelCodeBytes, count: layout.panelCodeBytes)
    let scales = try halves(1, panel, layout)
    let minima = layout.scheme.isSymmetric ? [] : try halves(2, panel, layout)
    codes.withUnsafeBytes { codes in
      scales.withUnsafeBufferPointer { scales in
        minima.withUnsafeBufferPointer { minima in
          guard let codes = codes.baseAddress, let scales = scales.baseAddress else { return }
          let planes = QuantizedPlanes(codes: codes, scales: scales, minima: layout.scheme.isSymmetric ? nil : minima.baseAddress)
          layout.decode(row: lane, 0..<columns, of: planes, to: output)
        }
      }
    }
  }

  /// Scales or minima of a panel.
  private func halves(_ plane: Int, _ panel: Int, _ layout: QuantizedLayout) throws(ModelFileError) -> [UInt16] {
    let bytes = try planes[plane].read(from: panel * layout.panelScaleBytes, count: layout.panelScaleBytes)
    return bytes.withUnsafeBytes { bytes in
      (0..<layout.panelScaleCount).map { UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: 2 * $0, as: UInt16.self)) }
    }
  }
}

extension ModelFileReader {
  /// Rows on demand. `keptChunks`: unpacked chunks of each plane that stay in memory.
  package func rows(of name: String, keptChunks: Int = 8) throws(ModelFileError) -> RowReader {
    RowReader(self, try found(name), keptChunks: keptChunks)
  }
}
