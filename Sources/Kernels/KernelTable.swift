/// The inner loops of the runtime, once per instruction set. `Compute` picks one table when it starts and calls nothing else.
///
/// No function allocates, checks its arguments or keeps a pointer: the operators in `Compute` do the checking, once, outside.
/// Pointers need no alignment beyond their element's unless it says so. No output overlaps an input unless it says so.
public struct KernelTable: Sendable {
  /// As the environment variable names it: `portable`, `avx2`, `avx512`, `neon`, …
  public var name: String

  public var quantized: QuantizedKernels
  public var float: FloatKernels

  public init(name: String, quantized: QuantizedKernels, float: FloatKernels) {
    self.name = name
    self.quantized = quantized
    self.float = float
  }
}

/// Rows of a weight matrix that one panel holds, on every machine.
public let panelRows = 32

/// 32 output rows of a quantized weight matrix, all inputs, as the file stores them.
///
/// `weight[r][k] = scale[g][r] · (code[r][k] − zero)` with `g = k / group`, `zero` = 8 for 4 bits and 128 for 8 bits; with minima:
/// `scale[g][r] · code[r][k] + minimum[g][r]`.
public struct QuantizedPanel {
  /// 4 bits: `[groups][group / 8][32 rows][4 bytes]`: byte j of a row's four holds input `8·block + j` in its low half and
  /// `8·block + 4 + j` in its high half. 8 bits: `[groups][group / 4][32 rows][4 bytes]`, unsigned.
  public var codes: UnsafeRawPointer
  /// float16 bits, `[groups][32]`.
  public var scales: UnsafePointer<UInt16>
  /// float16 bits, `[groups][32]`; nil where codes are symmetric about `zero`.
  public var minima: UnsafePointer<UInt16>?
  /// Groups along the inputs.
  public var groups: Int
  /// Inputs in a group: a multiple of 32.
  public var group: Int

  @inlinable
  public init(codes: UnsafeRawPointer, scales: UnsafePointer<UInt16>, minima: UnsafePointer<UInt16>?, groups: Int, group: Int) {
    self.codes = codes
    self.scales = scales
    self.minima = minima
    self.groups = groups
    self.group = group
  }
}

/// Rows of activations as int8 with one scale per row and group: `activation[t][k] ≈ scale[t][g] · value[t][k]`.
public struct QuantizedRows {
  /// `[count][groups · group]`, each in −127 ... 127; zeros beyond the row's true length.
  public var values: UnsafePointer<Int8>
  /// `[count][groups]`.
  public var scales: UnsafePointer<Float>
  /// `[count][groups]`: the sum of a group's values.
  public var sums: UnsafePointer<Int32>
  public var count: Int

  @inlinable
  public init(values: UnsafePointer<Int8>, scales: UnsafePointer<Float>, sums: UnsafePointer<Int32>, count: Int) {
    self.values = values
    self.scales = scales
    self.sums = sums
    self.count = count
  }
}

/// Products of quantized weights with quantized activations.
public struct QuantizedKernels: Sendable {
  /// One row of activations to int8: scale = max|x| / 127 per group (0 for a group of zeros), values rounded to nearest, ties to even.
  /// Writes `paddedColumns` values and `paddedColumns / group` scales and sums; `columns ≤ paddedColumns`, a multiple of `group`.
  public var quantizeRow: @Sendable (
    _ x: UnsafePointer<Float>, _ columns: Int, _ paddedColumns: Int, _ group: Int,
    _ values: UnsafeMutablePointer<Int8>, _ scales: UnsafeMutablePointer<Float>, _ sums: UnsafeMutablePointer<Int32>
  ) -> Void

  /// `output[t · stride + r] = Σ_k weight[r][k] · activation[t][k]` for all rows of the panel: 4-bit codes.
  /// `output` takes 32 values for each of `rows.count` tokens. `scratch` has `scratchBytes(groups · group)` bytes, 64-byte aligned.
  public var multiply4: Multiply
  /// The same for 8-bit codes.
  public var multiply8: Multiply

  public typealias Multiply = @Sendable (
    _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ stride: Int, _ scratch: UnsafeMutableRawPointer
  ) -> Void

  /// Bytes of scratch that a multiplication with this many (padded) columns needs.
  public var scratchBytes: @Sendable (_ paddedColumns: Int) -> Int

  @inlinable
  public init(
    quantizeRow: @escaping @Sendable (
      UnsafePointer<Float>, Int, Int, Int, UnsafeMutablePointer<Int8>, UnsafeMutablePointer<Float>, UnsafeMutablePointer<Int32>
    ) -> Void,
    multiply4: @escaping Multiply, multiply8: @escaping Multiply, scratchBytes: @escaping @Sendable (Int) -> Int
  ) {
    self.quantizeRow = quantizeRow
    self.multiply4 = multiply4
    self.multiply8 = multiply8
    self.scratchBytes = scratchBytes
  }
}

/// A stored floating-point type.
public enum FloatType: UInt8, Sendable, CaseIterable {
  case float32 = 0
  case float16 = 1
  case bfloat16 = 2

  /// Bytes of one value.
  public var size: Int { self == .float32 ? 4 : 2 }
}
