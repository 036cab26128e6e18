import Compute
import ModelFile
import Models
import Support

/// Finds factors that make a unit's inputs easier to quantize and its weights not much harder: loud inputs are divided, their weights multiplied, and
/// the layer before divides without rounding. Only where that changes nothing else:
///
/// - a layer's input norm, read by q, k, v and by the slow tokens' keys and values; its second norm, read by gate and up
/// - `up` before `down`: their product is linear in `up`
/// - a tower block's norm before fc1; the last norm before a head that is no embedding
///
/// Factors are powers of the inputs' loudness (as in AWQ, Lin et al. 2023). Which power, the quantized layer itself says: int8 inputs and
/// quantized weights against floats, on inputs that were seen.
struct FoldSearch {
  let engine: Engine
  let encodings: [String: TensorEncoding]

  private static let exponents: [Float] = [0.15, 0.3, 0.45, 0.6]
  /// Rows of a matrix that errors are measured on.
  private static let rowLimit = 512
  /// The error must fall to this part for a fold to be worth its while.
  private static let gain = 0.99

  func search(_ unit: CalibrationUnit, _ prepared: PreparedUnit, _ source: any WeightSource) throws(SlowFastError) {
    let name = unit.prefixes[0]
    switch unit {
    case .downsample, .projector: break
    case .block: try fold(["mlp.fc1.weight"].map { name + $0 }, vectors: ["norm.weight", "norm.bias"].map { name + $0 }, prepared, source)
    case .layer:
      try fold(
        ["self_attn.q_proj.weight", "self_attn.cross_attn_kv_proj.weight"].map { name + $0 }, vectors: [name + "input_layernorm.weight"],
        prepared, source)
      try fold([name + "mlp.gate_proj.weight"], vectors: [name + "post_attention_layernorm.weight"], prepared, source)
      try fold([name + "mlp.down_proj.weight"], rowsOf: name + "mlp.up_proj.weight", prepared, source)
    case .head:
      if source.schema.headName == "lm_head.weight" { try fold(["lm_head.weight"], vectors: ["model.norm.weight"], prepared, source) }
    }
  }

  /// Folds the inputs of the slots that these matrices belong to into `vectors`, or into the rows of a matrix.
  private func fold(
    _ names: [String], vectors: [String] = [], rowsOf matrix: String? = nil, _ prepared: PreparedUnit, _ source: any WeightSource
  ) throws(SlowFastError) {
    let slots = names.compactMap(prepared.slot)
    guard let divisors = try best(slots, source) else { return }
    for slot in slots { slot.divisors = divisors }
    let inverses = divisors.map { 1 / $0 }
    for name in vectors { prepared.vectorFactors[name] = inverses }
    if let matrix { prepared.rowFactors[matrix] = inverses }
  }

  private func best(_ slots: [InputSlot], _ source: any WeightSource) throws(SlowFastError) -> [Float]? {
    var samples: [FoldSample] = []
    for slot in slots {
      for name in slot.names {
        guard case .quantized(let scheme)? = encodings[name], let statistics = slot.statistics, statistics.samples > 0 else { continue }
        let sample = try FoldSample(try source.matrix(name), statistics, scheme, rowLimit: Self.rowLimit, engine)
        // A fold would change a matrix unseen.
        guard let sample else { return nil }
        samples.append(sample)
      }
    }
    guard let count = samples.first?.columns else { return nil }
    // Inputs that go through one norm are as loud as they are on average.
    var moments = [Float](repeating: 0, count: count)
    for slot in slots {
      let own = slot.statistics?.moments ?? []
      let mean = own.reduce(0, +) / Float(max(1, own.count))
      for index in own.indices { moments[index] += own[index] / mean }
    }
    var least = try error(samples, [Float](repeating: 1, count: count)) * Self.gain
    var best: [Float]?
    for exponent in Self.exponents {
      let divisors = Self.divisors(moments, exponent)
      let found = try error(samples, divisors)
      if found < least { (least, best) = (found, divisors) }
    }
    return best
  }

  /// Loudness to a power, about 1.
  static func divisors(_ moments: [Float], _ exponent: Float) -> [Float] {
    let logarithms = moments.map { $0 > 0 ? exponent * 0.5 * logarithm($0) : 0 }
    let mean = logarithms.reduce(0, +) / Float(max(1, logarithms.count))
    return logarithms.map { exponential(min(7, max(-7, $0 - mean))) }
  }

  private func error(_ samples: [FoldSample], _ divisors: [Float]) throws(SlowFastError) -> Double {
    try classified { () throws(ComputeError) in
      var total = 0.0
      for sample in samples { total += try sample.error(divisors, engine) }
      return total
    }
  }
}
