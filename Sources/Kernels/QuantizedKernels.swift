import Tensors

/// Rows of a weight matrix that one panel holds, on every machine.
@inlinable package var panelRows: Int { QuantizedLayout.panelRows }

/// The most inputs that may share a scale. Sums of products of a group stay exact in an int32 and in a float, and below 2²² (256 · 128 ·
/// 127), where ARM's tables take them for a float's last bits.
@inlinable package var largestGroup: Int { 256 }

/// The code that stands for 0 where codes have no minima.
@inlinable @inline(__always)
package func zeroPoint(bits: Int) -> Float { Float(1 << (bits - 1)) }

/// 32 output rows of a quantized weight matrix, all inputs, as the file stores them.
///
/// `weight[r][k] = scale[g][r] · (code[r][k] − zero)` with `g = k / group`, `zero` = 4 for 3 bits, 8 for 4 and 128 for 8; with minima:
/// `scale[g][r] · code[r][k] + minimum[g][r]`; with uneven levels, 4 bits without minima: `scale[g][r] · level[code[r][k]]`
/// (`QuantizedScheme.unevenLevels`).
@usableFromInline package struct QuantizedPanel {
  /// 4 bits: `[groups][group / 8][32 rows][4 bytes]`: byte j of a row's four holds input `8·block + j` in its low half and
  /// `8·block + 4 + j` in its high half. 8 bits: `[groups][group / 4][32 rows][4 bytes]`, unsigned. 3 bits: `[groups][group / 32][3 parts]
  /// [32 rows][4 bytes]`; with `fₙ` the n-th four of 32 inputs, a byte of the parts is `f₀ | f₁ << 3 | (f₆ & 3) << 6`,
  /// `f₂ | f₃ << 3 | (f₇ & 3) << 6` and `f₄ | f₅ << 3 | (f₆ >> 2) << 6 | (f₇ >> 2) << 7`.
  @usableFromInline package var codes: UnsafeRawPointer
  /// float16 bits, `[groups][32]`.
  @usableFromInline package var scales: UnsafePointer<UInt16>
  /// float16 bits, `[groups][32]`; nil where codes are symmetric about `zero`.
  @usableFromInline package var minima: UnsafePointer<UInt16>?
  /// Groups along the inputs.
  @usableFromInline package var groups: Int
  /// Inputs in a group: a multiple of 32, at most `largestGroup`.
  @usableFromInline package var group: Int

  @inlinable
  package init(codes: UnsafeRawPointer, scales: UnsafePointer<UInt16>, minima: UnsafePointer<UInt16>?, groups: Int, group: Int) {
    self.codes = codes
    self.scales = scales
    self.minima = minima
    self.groups = groups
    self.group = group
  }
}

/// Products of quantized weights with quantized activations.
///
/// Every table computes the same sum in the same order, so that results do not depend on the machine. Group by group, starting from 0:
/// `c = fma(weightScale · activationScale, Σ (code − zero) · value, c)`, and with minima then
/// `c = fma(fma(zero, weightScale, minimum), activationScale · Σ value, c)`; the sums Σ are exact integers. Uneven levels stand in the
/// place of `code − zero`.
/// (The portable table's fma goes through doubles where the target has none: it differs in the last bit about once in 2²⁹ times.)
package struct QuantizedKernels: Sendable {
  /// Some groups of some tokens' activations to int8, as the tokens `tokens` of `rows`: `columns` floats a token, `stride` floats apart,
  /// which begin with the first of the groups; what the groups have beyond them are zeros.
  ///
  /// Per group scale = max|x| / 127, values `x · (127 / max|x|)` rounded to nearest, ties to even. A group whose greatest magnitude is
  /// below 2⁻¹¹⁶ has scale 0 and zeros. A group with a NaN or an infinity has scale NaN and zeros, so that all products with it are NaN.
  package var quantizeRows: QuantizeRows

  package typealias QuantizeRows =
    @Sendable (
      _ x: UnsafePointer<Float>, _ stride: Int, _ columns: Int, _ rows: QuantizedRows, _ tokens: Range<Int>, _ groups: Range<Int>
    ) -> Void

  /// `output[t][r] = Σ_k weight[r][k] · activation[t][k]` for all rows of the panel: 4-bit codes.
  ///
  /// `output` is `[rows.count][32]`, without gaps, and is read and written several times: a few hundred tokens at a time keep it in cache.
  /// `rows` are what this table's `quantizeRows` wrote, in the panel's groups.
  /// `scratch` has `scratchBytes` bytes, 64-byte aligned.
  package var multiply4: Multiply
  /// The same for 3-bit and for 8-bit codes.
  package var multiply3: Multiply
  package var multiply8: Multiply
  /// The same for 4-bit codes with uneven levels.
  package var multiplyUneven: Multiply

  package typealias Multiply =
    @Sendable (
      _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer
    ) -> Void

  /// Bytes of scratch that a multiplication needs, of any shape.
  package var scratchBytes: Int

  /// Inputs of one token that lie side by side in `QuantizedRows.values`, as the multiplying instruction takes them: 4, 8 or, where it is
  /// nil, those of a group.
  package var interleave: Int?

  /// Bytes of input that a task multiplies: they stay in a core's second-level cache while the weights pass by. Half of a usual one, but
  /// more where codes that are unpacked should serve more tokens.
  package var inputBlockBytes: Int

  /// Runs the multiply-add instructions of `multiply4` alone, from register to register, `iterations` times, and returns how many products
  /// that were: the limit that a multiplication is measured against.
  package var multiplyInRegisters: @Sendable (_ iterations: Int) -> Int

  package init(
    quantizeRows: @escaping QuantizeRows, multiply3: @escaping Multiply, multiply4: @escaping Multiply, multiply8: @escaping Multiply,
    multiplyUneven: @escaping Multiply, scratchBytes: Int, interleave: Int? = 4, inputBlockBytes: Int = 256 << 10,
    multiplyInRegisters: @escaping @Sendable (Int) -> Int
  ) {
    self.quantizeRows = quantizeRows
    self.multiply3 = multiply3
    self.multiply4 = multiply4
    self.multiply8 = multiply8
    self.multiplyUneven = multiplyUneven
    self.scratchBytes = scratchBytes
    self.interleave = interleave
    self.inputBlockBytes = inputBlockBytes
    self.multiplyInRegisters = multiplyInRegisters
  }
}
