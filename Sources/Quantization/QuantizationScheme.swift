/// How the weights of a matrix become small integers: how many bits, how many inputs share a scale, and whether 0 is a fixed code.
package struct QuantizationScheme: Hashable, Sendable {
  /// Bits of a code: 4 or 8.
  package let bits: Int
  /// Inputs of a row that share a scale: a multiple of 32, at most 256.
  package let group: Int
  /// `weight = scale · (code − zero)`; else `weight = scale · code + minimum`.
  package let isSymmetric: Bool

  /// nil where bits or group are not allowed.
  package init?(bits: Int, group: Int, isSymmetric: Bool) {
    guard bits == 4 || bits == 8, group > 0, group <= 256, group % 32 == 0 else { return nil }
    self.bits = bits
    self.group = group
    self.isSymmetric = isSymmetric
  }

  package var greatestCode: Int { 1 << bits - 1 }

  /// The code of padding: what stands for 0 where codes are symmetric, else 0.
  package var paddingCode: Int { isSymmetric ? 1 << (bits - 1) : 0 }
}
