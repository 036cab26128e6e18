import Kernels
import Tensors

/// The weight of a linear layer: `rows` outputs by `columns` inputs, in the form it is stored in.
package struct WeightMatrix: @unchecked Sendable {
  package enum Storage {
    /// Row-major, as in a checkpoint.
    case float(ScalarType, UnsafeRawPointer)
    /// Panels of 32 rows, as in a model file.
    case quantized(QuantizedLayout, QuantizedPlanes)
    /// Not loaded: only the shape is known.
    case absent
  }

  /// What a product takes its input as. All but `.natural` is there to measure what each half of the int8 scheme costs.
  package enum Input: Sendable, Equatable {
    /// Floats beside floats, int8 beside codes.
    case natural
    /// Floats, whatever the weight is: codes are made floats again, panel by panel.
    case exact
    /// Rounded to int8 by groups of this many, as beside codes, whatever the weight is. For weights that are floats.
    case rounded(group: Int)
  }

  package let rows: Int
  package let columns: Int
  package let storage: Storage
  package var input = Input.natural
  /// Keeps the memory alive.
  private let owner: AnyObject?

  /// Inputs that share a scale where it takes its input as int8; nil where it takes floats.
  var inputGroup: Int? {
    if case .quantized(let layout, _) = storage, input != .exact { layout.scheme.group } else { nil }
  }

  /// Whether it is multiplied as int8, with its input rounded to it.
  package var takesCodes: Bool { inputGroup != nil }

  /// Where its values or codes begin: no two weights that are in memory at a time begin at the same place.
  package var identity: UnsafeRawPointer? {
    switch storage {
    case .float(_, let values): values
    case .quantized(_, let planes): UnsafeRawPointer(planes.codes)
    case .absent: nil
    }
  }

  /// All of its memory, valid as long as it lives.
  package var memory: [UnsafeRawBufferPointer] {
    switch storage {
    case .float(let type, let values): return [UnsafeRawBufferPointer(start: values, count: rows * columns * type.size)]
    case .quantized(let layout, let planes):
      return [UnsafeRawBufferPointer(start: planes.codes, count: layout.codeBytes)]
        + [planes.scales, planes.minima].compactMap { $0 }.map { UnsafeRawBufferPointer(start: $0, count: layout.scaleBytes) }
    case .absent: return []
    }
  }

  package init(rows: Int, columns: Int, storage: Storage, owner: AnyObject?) {
    self.rows = rows
    self.columns = columns
    self.storage = storage
    self.owner = owner
  }

  /// A weight that was not loaded.
  package static func absent(rows: Int, columns: Int) -> WeightMatrix {
    WeightMatrix(rows: rows, columns: columns, storage: .absent, owner: nil)
  }

  /// A matrix of floats as a weight; shares memory. Its rows must follow each other without a gap.
  package init(_ matrix: Matrix) {
    precondition(matrix.stride == matrix.columns)
    self.init(
      rows: matrix.rows, columns: matrix.columns, storage: .float(.float32, UnsafeRawPointer(matrix.pointer)), owner: matrix.owner)
  }
}
