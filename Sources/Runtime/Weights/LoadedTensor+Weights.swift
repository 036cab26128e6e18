import Compute
import ModelFile
import Tensors

extension LoadedTensor {
  /// The tensor as a linear layer's weight; nil where a plane is missing.
  package var weightMatrix: WeightMatrix? {
    let storage: WeightMatrix.Storage
    switch descriptor.encoding {
    case .float(let type):
      guard let values = self[.values] else { return nil }
      storage = .float(type, values.pointer)
    case .quantized:
      guard let layout = descriptor.quantizedLayout, let codes = self[.codes], let scales = self[.scales] else { return nil }
      let planes = QuantizedPlanes(
        codes: codes.pointer, scales: scales.pointer.assumingMemoryBound(to: UInt16.self),
        minima: self[.minima]?.pointer.assumingMemoryBound(to: UInt16.self))
      storage = .quantized(layout, planes)
    }
    return WeightMatrix(rows: descriptor.rows, columns: descriptor.columns, storage: storage, owner: self)
  }

  /// A tensor of floats, `[1, n]` or `[rows, columns]`; nil where it is quantized.
  package func floats() throws(ComputeError) -> Matrix? {
    guard case .float(let type) = descriptor.encoding, let values = self[.values] else { return nil }
    let isVector = descriptor.shape.count < 2
    let result = try Matrix(
      rows: isVector ? 1 : descriptor.rows, columns: isVector ? descriptor.elementCount : descriptor.columns)
    type.decode(values.pointer, descriptor.elementCount, to: result.pointer)
    return result
  }
}
