import Compute
import Quantization
import Support

/// One input of a unit: what was seen of it, and what it will be divided by before it reaches its weights.
final class InputSlot {
  /// Matrices that take this input.
  let names: [String]
  /// The one whose products are watched.
  let weight: WeightMatrix
  private(set) var statistics: InputStatistics?
  /// By which the layer before divides each input, and which the weights' columns are multiplied with.
  var divisors: [Float]?
  private var factor: HessianFactor?
  private var moments: [Float] = []
  private var left: Set<String>

  init(names: [String], weight: WeightMatrix, statistics: InputStatistics) {
    self.names = names
    self.weight = weight
    self.statistics = statistics
    left = Set(names)
  }

  /// Mean squares of the inputs as the stored matrices take them.
  func storedMoments() -> [Float] {
    if moments.isEmpty, let statistics {
      moments = zip(statistics.moments, divisors ?? [Float](repeating: 1, count: statistics.count)).map { $0 / ($1 * $1) }
    }
    return moments
  }

  func treatment(of name: String, _ calibrator: Calibrator) throws(SlowFastError) -> TensorTreatment {
    var treatment = TensorTreatment()
    treatment.columnFactors = divisors
    treatment.moments = storedMoments()
    if calibrator.method == .gptq, let hessian = statistics?.hessian {
      let (kernels, options) = (calibrator.engine.kernels.float, calibrator.options)
      if factor == nil {
        factor = HessianFactor(
          hessian, factors: divisors?.map { 1 / $0 }, damping: options.damping, ordersByActivation: options.ordersByActivation, kernels,
          calibrator.engine.pool)
      }
      guard let factor else { throw SlowFastError(ComputeError.outOfMemory(bytes: Hessian.byteCount(hessian.count))) }
      treatment.compensation = .init(factor: factor, kernels: kernels)
    }
    left.remove(name)
    return treatment
  }

  /// Gives its memory back when no matrix needs it any more.
  func releaseIfDone() {
    guard left.isEmpty else { return }
    statistics = nil
    factor = nil
  }
}

/// What is known of a unit's inputs before any of it is stored.
final class PreparedUnit {
  private(set) var slots: [InputSlot] = []
  /// What vectors are multiplied with, value by value, and matrices row by row, by name.
  var vectorFactors: [String: [Float]] = [:]
  var rowFactors: [String: [Float]] = [:]

  /// Watches products of the slots' weights.
  func see(_ slots: [InputSlot], on engine: Engine) {
    self.slots = slots
    let byAddress = Dictionary(slots.map { ($0.weight.identity, $0) }, uniquingKeysWith: { first, _ in first })
    engine.observer = { weight, input throws(ComputeError) in
      try byAddress[weight.identity]?.statistics?.add(input, on: engine)
    }
  }

  func slot(of name: String) -> InputSlot? { slots.first { $0.names.contains(name) } }

  func treatment(of name: String, _ calibrator: Calibrator) throws(SlowFastError) -> TensorTreatment {
    for slot in slots { slot.releaseIfDone() }
    var treatment = try slot(of: name)?.treatment(of: name, calibrator) ?? TensorTreatment()
    if let factors = vectorFactors[name] { treatment.columnFactors = factors }
    treatment.rowFactors = rowFactors[name]
    return treatment
  }
}
