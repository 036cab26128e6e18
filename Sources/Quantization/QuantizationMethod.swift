/// How codes and scales are chosen. All write the same format.
public enum QuantizationMethod: String, Sendable, Codable, CaseIterable {
  /// Round to nearest: each group's scale is such that its extreme values fit.
  case rtn
  /// The scale (and minimum) of the least squared error found, weighted by the inputs' second moments where they are known.
  case search
  /// `search`, and each input's rounding error is compensated by the inputs that are quantized after it (needs the inputs' Hessian).
  case gptq
}
