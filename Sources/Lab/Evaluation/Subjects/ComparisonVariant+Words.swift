import Conversion

extension ComparisonVariant {
  /// What the name stands for.
  var words: String {
    var parts: [String] = []
    let isQuantized = conversion.bits <= 8
    switch conversion.bits {
    case 16: parts.append("floats of 16 bits, as stored")
    case 32: parts.append("floats of 32 bits")
    case 4 where conversion.keep.isEmpty && target == nil: parts.append("4 bits, tower and projector 8")
    default: parts.append("\(conversion.bits) bits")
    }
    for rule in conversion.keep {
      let name =
        rule.pattern == "*" ? "everything" : ConversionPlan.matrixParts.contains(rule.pattern) ? rule.pattern : "tensors \(rule.pattern)"
      parts.append("\(name) \(rule.bits)")
    }
    if let target { parts.append("bits and groups chosen by error, \(target) at most") }
    if conversion.isAsymmetric { parts.append("a minimum for each group") }
    if let group = conversion.group { parts.append("\(group) inputs share a scale") }
    if isQuantized || !conversion.keep.isEmpty || target != nil {
      switch conversion.method {
      case .rtn: parts.append("rounded to nearest")
      case .search: parts.append(isCalibrated ? "scales of the least error on calibration data" : "scales of the least squared error")
      case .gptq: parts.append("GPTQ: later inputs make up for earlier errors, on calibration data")
      }
    }
    if hasFloatInputs { parts.append("inputs stay floats: to measure, not to use") }
    return parts.joined(separator: "; ")
  }
}
