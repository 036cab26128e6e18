import ModelFile
import Models
import Parallel
import Quantization
import Safetensors
import Support
import Tensors

/// What a model file may take.
public enum SizeTarget: Sendable, Equatable {
  /// Bits a weight in memory, over all tensors: codes, scales, vectors, padding.
  case bits(Double)
  /// Bytes of the file before compression, which can only make it smaller.
  case bytes(Int)

  /// Bits that make sense; what a model can be stored with is less.
  public static let bitRange = 1.0...32.0
}

extension SizeTarget: CustomStringConvertible {
  public var description: String {
    switch self {
    case .bits(let bits):
      let hundredths = Int((bits * 100).rounded(.up))
      return "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100) bits a weight"
    case .bytes(let bytes): return "\(bytes) bytes"
    }
  }
}

/// One way to store a matrix, and what it costs.
struct StorageChoice: Equatable {
  var encoding: TensorEncoding
  var byteCount: Int
  /// The squared error of the layer's outputs, as a part of their squares, times what such an error costs in this part of a model.
  var cost: Double
}

/// Gives each matrix one of its choices so that all together take `budget` bytes at most and cost as little as can be.
enum BitAllocation {
  /// The index of each matrix's choice; nil where even the smallest are too many bytes.
  ///
  /// Each matrix starts with its smallest choice. Steps to a larger one, best gain for a byte first, are taken while they fit; only choices
  /// on the lower hull of cost over bytes are steps, so that gains fall from step to step and the order is right.
  static func choose(_ matrices: [[StorageChoice]], budget: Int) -> [Int]? {
    struct Step {
      var matrix: Int
      var choice: Int
      var bytes: Int
      var gain: Double
      var rate: Double { gain / Double(bytes) }
    }
    var chosen: [Int] = []
    var steps: [Step] = []
    var used = 0
    for (matrix, choices) in matrices.enumerated() {
      var place = choices.indices.min { (choices[$0].byteCount, choices[$0].cost) < (choices[$1].byteCount, choices[$1].cost) } ?? 0
      chosen.append(place)
      used += choices[place].byteCount
      while true {
        let from = choices[place]
        let larger = choices.indices.filter { choices[$0].byteCount > from.byteCount && choices[$0].cost < from.cost }
        func rate(_ index: Int) -> Double { (from.cost - choices[index].cost) / Double(choices[index].byteCount - from.byteCount) }
        guard let next = larger.max(by: { rate($0) < rate($1) }) else { break }
        steps.append(
          Step(matrix: matrix, choice: next, bytes: choices[next].byteCount - from.byteCount, gain: from.cost - choices[next].cost))
        place = next
      }
    }
    guard used <= budget else { return nil }
    // Of one matrix the rates fall, so a stable order keeps its steps in order; one that does not fit ends its matrix's climb.
    var ended = Set<Int>()
    for step in steps.enumerated().sorted(by: { ($1.element.rate, $0.offset) < ($0.element.rate, $1.offset) }).map(\.element) {
      guard !ended.contains(step.matrix), used + step.bytes <= budget else {
        ended.insert(step.matrix)
        continue
      }
      used += step.bytes
      chosen[step.matrix] = step.choice
    }
    return chosen
  }
}

extension Converter {
  /// The converter whose matrices have the bits and groups that cost least within the target: what measurements of the weights, and of
  /// their inputs where `moments` knows them by a matrix's name, say; the file will have `calibration` in it. Matrices that a keep rule
  /// fits keep what it says. Throws `targetTooSmall`.
  package func allocated(
    to target: SizeTarget, calibration: CalibrationRecord? = nil, moments: (String) -> [Float]? = { _ in nil },
    progress: (Int, Int) -> Void = { _, _ in }, isCancelled: () -> Bool = { false }
  ) throws(SlowFastError) -> Converter {
    let plan = try plan()
    try classified { () throws(ConversionError) in try plan.check(ignoringUnknown: options.ignoresUnknown) }
    let meter = SensitivityMeter(checkpoint: checkpoint, options: options, pool: ThreadPool(threadCount: options.threadCount))
    let free = free(plan)
    var choices: [[StorageChoice]] = []
    for (index, tensor) in free.enumerated() {
      if isCancelled() { throw .cancelled }
      progress(index, free.count)
      choices.append(try meter.choices(tensor, moments: moments(tensor.requirement.name)))
    }
    // Where tensors begin in the file depends on their lengths: what that adds is found out by looking.
    var budget = try budget(target, plan, free)
    while let chosen = BitAllocation.choose(choices, budget: budget) {
      let result = assigned(target, free, choices, chosen)
      let excess = try excess(target, try result.plan(calibration))
      if excess <= 0 { return result }
      budget -= excess
    }
    throw .conversion(.targetTooSmall(target, least: try size(target, try smallest(plan))))
  }

  /// Throws `targetTooSmall` where not even the smallest choices fit. Measures nothing.
  package func checkReachable(_ target: SizeTarget) throws(SlowFastError) {
    let plan = try plan()
    try classified { () throws(ConversionError) in try plan.check(ignoringUnknown: options.ignoresUnknown) }
    let smallest = try smallest(plan)
    guard try excess(target, try smallest.plan()) <= 0 else {
      throw .conversion(.targetTooSmall(target, least: try size(target, smallest)))
    }
  }

  /// Matrices whose encoding no rule says.
  private func free(_ plan: ConversionPlan) -> [ConversionPlan.Stored] {
    plan.stored.filter { $0.requirement.role.isMatrix && StorageDefaults.rule($0.requirement, options) == nil }
  }

  /// Every free matrix with the encoding of fewest bytes.
  private func smallest(_ plan: ConversionPlan) throws(SlowFastError) -> Converter {
    var options = options
    for tensor in free(plan) {
      var least: (encoding: TensorEncoding, byteCount: Int)?
      for encoding in SensitivityMeter.encodings(tensor.requirement, options) {
        let byteCount = try tensor.byteCount(as: encoding)
        if least.map({ byteCount < $0.byteCount }) ?? true { least = (encoding, byteCount) }
      }
      options.assignments[tensor.requirement.name] = least?.encoding
    }
    return Converter(self, options: options)
  }

  private func assigned(
    _ target: SizeTarget, _ free: [ConversionPlan.Stored], _ choices: [[StorageChoice]], _ chosen: [Int]
  ) -> Converter {
    var options = options
    options.target = target
    for (index, tensor) in free.enumerated() { options.assignments[tensor.requirement.name] = choices[index][chosen[index]].encoding }
    return Converter(self, options: options)
  }

  /// Bytes that the free matrices may take.
  private func budget(_ target: SizeTarget, _ plan: ConversionPlan, _ free: [ConversionPlan.Stored]) throws(SlowFastError) -> Int {
    let own = free.reduce(0) { $0 + $1.byteCount }
    return own - (try excess(target, plan))
  }

  /// Bytes that a plan is beyond the target; negative below it.
  private func excess(_ target: SizeTarget, _ plan: ConversionPlan) throws(SlowFastError) -> Int {
    switch target {
    case .bytes(let bytes): return plan.fileByteCount - bytes
    case .bits(let bits):
      guard let total = plan.parts.last else { return 0 }
      return total.byteCount - Int(bits * Double(total.weightCount) / 8)
    }
  }

  /// What a converter's plan comes to, in the target's terms.
  private func size(_ target: SizeTarget, _ converter: Converter) throws(SlowFastError) -> SizeTarget {
    let plan = try converter.plan()
    switch target {
    case .bytes: return .bytes(plan.fileByteCount)
    case .bits: return .bits(plan.parts.last?.bitsPerWeight ?? 0)
    }
  }
}

/// Measures on some rows of a matrix what each way to store it costs.
struct SensitivityMeter {
  let checkpoint: Checkpoint
  let options: ConversionOptions
  let pool: ThreadPool

  /// Panels of 32 rows, evenly spread, that are measured.
  private static let panels = 8

  /// Encodings to choose from.
  static func encodings(_ requirement: TensorRequirement, _ options: ConversionOptions) -> [TensorEncoding] {
    let columns = StorageDefaults.columns(requirement)
    return QuantizedScheme.bitChoices.flatMap { bits in
      // Beside 8 bits the default group alone.
      let padding = bits < 8 ? StorageDefaults.groups : [StorageDefaults.group(columns: columns, longest: StorageDefaults.groups[0])]
      return (options.group.map { [$0] } ?? padding).map { options.encoding(bits: bits, group: $0) }
    }
  }

  /// `moments`: mean squares of the matrix's inputs; nil where they are not known and all count the same.
  func choices(_ tensor: ConversionPlan.Stored, moments: [Float]?) throws(SlowFastError) -> [StorageChoice] {
    guard let source = RowSource(checkpoint, tensor.source, tensor.requirement) else {
      throw .conversion(.unsupportedType(tensor: tensor.source.name, type: tensor.source.type))
    }
    let all = QuantizedLayout.panels(rows: source.rows)
    let count = min(Self.panels, all)
    let encodings = Self.encodings(tensor.requirement, options)
    var sums = [(error: Double, energy: Double)](repeating: (0, 0), count: count * encodings.count)
    try sums.withUnsafeMutableBufferPointer { sums throws(SlowFastError) in
      nonisolated(unsafe) let sums = sums
      try pool.forEach(count) { index, _ throws(SlowFastError) in
        let first = index * all / count * QuantizedLayout.panelRows
        let rows = first..<min(source.rows, first + QuantizedLayout.panelRows)
        let scratch = ConversionScratch()
        let values = try scratch.block(count: rows.count * source.columns)
        if try !source.floats(rows, to: values, stride: source.columns, scratch: scratch) {
          for index in 0..<rows.count * source.columns where !values[index].isFinite { values[index] = 0 }
        }
        for (number, encoding) in encodings.enumerated() {
          sums[index * encodings.count + number] = Self.error(values, rows.count, source.columns, encoding, moments)
        }
      }
    }
    let importance = RolePolicy(tensor.requirement.role).importance
    var choices: [StorageChoice] = []
    for (number, encoding) in encodings.enumerated() {
      let (error, energy) = (0..<count).reduce((0.0, 0.0)) {
        ($0.0 + sums[$1 * encodings.count + number].error, $0.1 + sums[$1 * encodings.count + number].energy)
      }
      choices.append(
        StorageChoice(encoding: encoding, byteCount: try tensor.byteCount(as: encoding), cost: energy > 0 ? importance * error / energy : 0)
      )
    }
    return choices
  }

  /// The weighted squared error of a panel's rows, and their weighted squares. Rows that do not fit cost all they are.
  private static func error(
    _ values: UnsafePointer<Float>, _ rows: Int, _ columns: Int, _ encoding: TensorEncoding, _ moments: [Float]?
  ) -> (error: Double, energy: Double) {
    guard case .quantized(let scheme) = encoding, let layout = QuantizedLayout(rows: rows, columns: columns, scheme: scheme)
    else { return (0, 0) }
    var codes = [UInt8](repeating: 0, count: layout.panelCodeBytes)
    var scales = [UInt16](repeating: 0, count: layout.panelScaleCount)
    var minima = scales
    var restored = [Float](repeating: 0, count: rows * columns)
    codes.withUnsafeMutableBytes { codes in
      (moments ?? []).withUnsafeBufferPointer { weights in
        guard let base = codes.baseAddress else { return }
        do throws(QuantizationError) {
          try layout.quantize(
            values, stride: columns, rows: rows, PanelQuantizer(.search, moments: moments == nil ? nil : weights.baseAddress), codes: base,
            scales: &scales, minima: &minima)
        } catch { return }
        layout.dequantize(codes: base, scales: scales, minima: minima, rows: rows, to: &restored, stride: columns)
      }
    }
    var (error, energy) = (0.0, 0.0)
    for row in 0..<rows {
      for column in 0..<columns {
        let weight = Double(moments?[column] ?? 1)
        let value = values[row * columns + column]
        let difference = Double(value - restored[row * columns + column])
        error += weight * difference * difference
        energy += weight * Double(value) * Double(value)
      }
    }
    return (error, energy)
  }
}
