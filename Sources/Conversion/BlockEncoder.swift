import ModelFile
import Quantization
import Tensors

/// Encodes blocks of rows of one tensor. Several threads may encode different blocks at once.
struct BlockEncoder {
  let source: RowSource
  let descriptor: TensorDescriptor
  private let allowsNonfinite: Bool
  /// nil where values are stored one by one.
  let layout: QuantizedLayout?
  let treatment: TensorTreatment
  let method: QuantizationMethod

  /// A plane of a block.
  struct Plane {
    var kind: PlaneKind
    /// Of a whole block.
    var byteCount: Int
    /// Where the last block may be short: bytes of a row.
    var rowByteCount: Int?

    func byteCount(blocks: Int, rows: Int) -> Int { rowByteCount.map { $0 * rows } ?? byteCount * blocks }
  }

  init(
    _ source: RowSource, _ descriptor: TensorDescriptor, _ treatment: TensorTreatment, method: QuantizationMethod, allowsNonfinite: Bool
  ) {
    self.treatment = treatment
    self.method = method
    self.source = source
    self.descriptor = descriptor
    self.allowsNonfinite = allowsNonfinite
    layout = descriptor.quantizedLayout
  }

  /// Rows of a block where the encoding prescribes them.
  var blockRows: Int? { layout == nil ? nil : QuantizedLayout.panelRows }

  func planes(rows: Int) -> [Plane] {
    guard let layout else {
      let rowByteCount = source.columns * (descriptor.encoding.valueSize ?? 0)
      return [Plane(kind: .values, byteCount: rows * rowByteCount, rowByteCount: rowByteCount)]
    }
    return descriptor.encoding.planes.map { kind in
      Plane(kind: kind, byteCount: kind == .codes ? layout.panelCodeBytes : layout.panelScaleBytes)
    }
  }

  /// Encodes `rows` to the planes' places. Returns whether all values were finite; throws if they were not and that is not allowed.
  func encode(
    _ rows: Range<Int>, to planes: [UnsafeMutableRawPointer], scratch: ConversionScratch
  ) throws(ConversionError) -> Bool {
    if let layout { return try quantize(rows, layout, to: planes, scratch: scratch) }
    let isFinite: Bool
    let count = rows.count * source.columns
    switch descriptor.encoding {
    case .quantized: preconditionFailure("a panel has a layout")
    case .float(source.type) where !source.isChanged:
      try source.read(rows, into: planes[0])
      isFinite = source.type.areFinite(planes[0], count)
    case .float(.float32):
      let floats = planes[0].assumingMemoryBound(to: Float.self)
      isFinite = try source.floats(rows, to: floats, stride: source.columns, scratch: scratch)
    case .float(let type):
      let floats = try scratch.block(count: count)
      isFinite = try source.floats(rows, to: floats, stride: source.columns, scratch: scratch)
      type.encode(floats, count, to: planes[0])
      if isFinite && !type.areFinite(planes[0], count) { try refuseTooLarge(rows, limit: type.greatestMagnitude, scratch) }
    }
    if !isFinite { try refuseNonfinite(rows, scratch) }
    return isFinite
  }

  func refuseNonfinite(_ rows: Range<Int>, _ scratch: ConversionScratch) throws(ConversionError) {
    guard !allowsNonfinite, let found = try source.first(in: rows, scratch: scratch, where: { !$0.isFinite }) else { return }
    throw .nonFinite(tensor: source.tensor.name, index: found.index, value: found.value)
  }

  /// `limit`: the largest magnitude that can be stored.
  func refuseTooLarge(_ rows: Range<Int>, limit: Float, _ scratch: ConversionScratch) throws(ConversionError) {
    guard let found = try source.first(in: rows, scratch: scratch, where: { $0.isFinite && abs($0) > limit }) else { return }
    throw .weightTooLarge(
      tensor: source.tensor.name, index: found.index, value: found.value, limit: limit, encoding: descriptor.encoding)
  }
}
