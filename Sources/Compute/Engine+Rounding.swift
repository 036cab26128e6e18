import Kernels

extension Engine {
  /// For each weight that asks for it, the input rounded to int8 and back; nil for the others.
  func roundedInputs(_ input: Matrix, _ weights: [WeightMatrix]) throws(ComputeError) -> [Matrix?] {
    var byGroup: [Int: Matrix] = [:]
    var result: [Matrix?] = []
    for weight in weights {
      guard case .rounded(let group) = weight.input else {
        result.append(nil)
        continue
      }
      if byGroup[group] == nil { byGroup[group] = try rounded(input, group: group) }
      result.append(byGroup[group])
    }
    return result
  }

  /// What a quantized weight would see of `input`: its values after rounding to int8 by groups.
  private func rounded(_ input: Matrix, group: Int) throws(ComputeError) -> Matrix {
    let output = try Matrix(rows: input.rows, columns: input.columns)
    guard let rows = try quantize(input, groups: [group]).first else { return output }
    for row in 0..<input.rows {
      let (tile, lane) = row.quotientAndRemainder(dividingBy: tileTokens)
      let width = min(tileTokens, rows.count - tile * tileTokens)
      let values = rows.values + tile * tileTokens * rows.columns
      let scales = rows.scales + tile * tileTokens * rows.groups
      let target = output.row(row)
      for k in 0..<input.columns {
        target[k] = scales[k / group * width + lane] * Float(values[(k / 4 * width + lane) * 4 + k % 4])
      }
    }
    return output
  }
}
