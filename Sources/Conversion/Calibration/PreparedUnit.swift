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

/// What one linear layer, or several that share their input, was seen to take.
final class InputStatistics {
  /// Inputs of the layer.
  let count: Int
  private(set) var samples = 0
  /// Where GPTQ is to compensate errors.
  let hessian: Hessian?
  /// Some of the inputs, `[rowLimit][count]`, chosen evenly among all.
  private(set) var rows: [[Float]] = []

  private var sums: [Double]
  private var generator: UInt64

  /// Inputs that are kept as they are.
  static let rowLimit = 192
  /// Second moments are at least this part of their mean: an input that was silent may speak another time.
  private static let floor: Float = 1e-3

  init(count: Int, needsHessian: Bool, seed: UInt64) throws(ComputeError) {
    self.count = count
    if needsHessian {
      guard let hessian = Hessian(count: count) else { throw .outOfMemory(bytes: Hessian.byteCount(count)) }
      self.hessian = hessian
    } else {
      hessian = nil
    }
    sums = [Double](repeating: 0, count: count)
    generator = seed
  }

  func add(_ input: Matrix, on engine: Engine) throws(ComputeError) {
    keep(input)
    samples += input.rows
    if let hessian {
      guard hessian.add(input.pointer, rowStride: input.stride, tokens: input.rows, engine.kernels.float, engine.pool) else {
        throw .outOfMemory(bytes: Hessian.byteCount(count))
      }
      return
    }
    let strip = 512
    let count = count
    sums.withUnsafeMutableBufferPointer { sums in
      nonisolated(unsafe) let sums = sums
      engine.pool.forEach((count + strip - 1) / strip) { index, _ in
        let columns = index * strip..<min(count, (index + 1) * strip)
        for row in 0..<input.rows {
          let values = input.row(row)
          for column in columns { sums[column] += Double(values[column] * values[column]) }
        }
      }
    }
  }

  /// Each row has the same chance to be among those kept, by a generator of fixed seed.
  private func keep(_ input: Matrix) {
    for row in 0..<input.rows {
      let seen = samples + row
      var place = seen
      if seen >= Self.rowLimit {
        generator = generator &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        place = Int(truncatingIfNeeded: (generator >> 33) % UInt64(seen + 1))
      }
      guard place < Self.rowLimit else { continue }
      let values = Array(UnsafeBufferPointer(start: input.row(row), count: count))
      if place < rows.count { rows[place] = values } else { rows.append(values) }
    }
  }

  /// Mean squares of the inputs, none of them 0 unless all are.
  var moments: [Float] {
    let scale = 1 / Double(max(1, samples))
    let values = (hessian?.diagonal.map(Double.init) ?? sums).map { Float($0 * scale) }
    let mean = values.reduce(0, +) / Float(max(1, count))
    return mean > 0 ? values.map { max($0, Self.floor * mean) } : [Float](repeating: 1, count: count)
  }
}
