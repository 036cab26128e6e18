import Tensors

// The portable default for widths of codes that an instruction set has no kernels of its own for: a panel's codes are decoded to a byte
// each, in scratch, and multiplied by the kernels for 8-bit codes. Codes are read from memory once, in their own width, and decoded once
// for all tokens of a call.

extension QuantizedKernels {
  /// The product with codes of `bits` bits, in the layout that `decodeCodes` knows: see `multiply4`. `scratch` has
  /// `scratchBytes(bits:columns:)` bytes, 64-byte aligned.
  package func multiply(
    bits: Int, isUneven: Bool = false, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>,
    _ scratch: UnsafeMutableRawPointer
  ) {
    switch bits {
    case 4 where isUneven: multiplyUneven(panel, rows, output, scratch)
    case 3: multiply3(panel, rows, output, scratch)
    case 4: multiply4(panel, rows, output, scratch)
    case 8: multiply8(panel, rows, output, scratch)
    default: multiplyDecoded(bits: bits, isUneven: isUneven, panel, rows, output, scratch)
    }
  }

  /// Bytes of scratch that `multiply` needs for panels of so many inputs, padding included.
  package func scratchBytes(bits: Int, columns: Int) -> Int {
    bits == 3 || bits == 4 || bits == 8 ? scratchBytes : decodedScratchBytes(columns: columns)
  }

  /// `multiply` by way of 8-bit codes, for any width.
  ///
  /// Without minima the decoded codes have zero point 128 in place of their own, so that the sums of a group, and with them the result, are
  /// those of the codes' own width to the last bit. With minima the codes stay as they are: the result is that of 8-bit codes with these
  /// scales and minima.
  package func multiplyDecoded(
    bits: Int, isUneven: Bool = false, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>,
    _ scratch: UnsafeMutableRawPointer
  ) {
    let bytes = scratch + decodedOffset
    let zero = panel.minima == nil ? 128 - (1 << (bits - 1)) : 0
    decodeCodes(bits: bits, isUneven: isUneven, panel.codes, panel.groups * panel.group, adding: UInt8(truncatingIfNeeded: zero), to: bytes)
    var decoded = panel
    decoded.codes = UnsafeRawPointer(bytes)
    multiply8(decoded, rows, output, scratch)
  }

  /// Bytes of scratch that `multiplyDecoded` needs.
  package func decodedScratchBytes(columns: Int) -> Int { decodedOffset + columns * panelRows }

  private var decodedOffset: Int { (scratchBytes + 63) & ~63 }
}

/// The codes of 32 rows of `inputs` inputs, each plus `zero`, in the layout of 8-bit codes: see `QuantizedPanel`. Of uneven ones the
/// levels, each plus 128. A new width needs a case here.
func decodeCodes(
  bits: Int, isUneven: Bool, _ codes: UnsafeRawPointer, _ inputs: Int, adding zero: UInt8, to: UnsafeMutableRawPointer
) {
  let from = codes.assumingMemoryBound(to: UInt8.self)
  let to = to.assumingMemoryBound(to: UInt8.self)
  switch bits {
  case 3:
    for block in 0..<inputs / 32 {
      for index in 0..<4 * panelRows {
        let place = from + 12 * panelRows * block + index
        let parts = (place[0], place[4 * panelRows], place[8 * panelRows])
        let codes: [8 of UInt8] = [
          parts.0 & 7, parts.0 >> 3 & 7, parts.1 & 7, parts.1 >> 3 & 7, parts.2 & 7, parts.2 >> 3 & 7, parts.0 >> 6 | parts.2 >> 4 & 4,
          parts.1 >> 6 | parts.2 >> 5 & 4,
        ]
        for four in 0..<8 { to[4 * panelRows * (8 * block + four) + index] = codes[four] &+ zero }
      }
    }
  case 4 where isUneven:
    let levels = QuantizedScheme.unevenLevels.map { UInt8(bitPattern: $0) ^ 128 }
    for block in 0..<inputs / 8 {
      for index in 0..<4 * panelRows {
        let byte = from[4 * panelRows * block + index]
        to[8 * panelRows * block + index] = levels[Int(byte & 15)]
        to[8 * panelRows * block + 4 * panelRows + index] = levels[Int(byte >> 4)]
      }
    }
  case 4:
    for block in 0..<inputs / 8 {
      for index in 0..<4 * panelRows {
        let byte = from[4 * panelRows * block + index]
        to[8 * panelRows * block + index] = byte & 15 &+ zero
        to[8 * panelRows * block + 4 * panelRows + index] = byte >> 4 &+ zero
      }
    }
  default:
    for index in 0..<inputs * panelRows { to[index] = from[index] &+ zero }
  }
}
