import ModelFile
import Parallel

extension Converter {
  /// The converter whose matrices have the bits and groups that cost least within the target: what measurements of the weights, and of
  /// their inputs where `moments` knows them by a matrix's name, say. Matrices that a keep rule fits keep what it says. Throws
  /// `targetTooSmall`.
  package func allocated(
    to target: SizeTarget, moments: (String) -> [Float]? = { _ in nil }, progress: (Int, Int) -> Void = { _, _ in },
    isCancelled: () -> Bool = { false }
  ) throws(ConversionError) -> Converter {
    let plan = try plan()
    try plan.check(ignoringUnknown: options.ignoresUnknown)
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
      let result = try assigned(target, free, choices, chosen)
      let excess = try excess(target, try result.plan())
      if excess <= 0 { return result }
      budget -= excess
    }
    throw .targetTooSmall(target, least: try size(target, try smallest(plan)))
  }

  /// Throws `targetTooSmall` where not even the smallest choices fit. Measures nothing.
  package func checkReachable(_ target: SizeTarget) throws(ConversionError) {
    let plan = try plan()
    try plan.check(ignoringUnknown: options.ignoresUnknown)
    let smallest = try smallest(plan)
    guard try excess(target, try smallest.plan()) <= 0 else { throw .targetTooSmall(target, least: try size(target, smallest)) }
  }

  /// Matrices whose encoding no rule says.
  private func free(_ plan: ConversionPlan) -> [ConversionPlan.Stored] {
    plan.stored.filter { $0.requirement.role.isMatrix && StorageDefaults.rule($0.requirement, options) == nil }
  }

  /// Every free matrix with the encoding of fewest bytes.
  private func smallest(_ plan: ConversionPlan) throws(ConversionError) -> Converter {
    var options = options
    for tensor in free(plan) {
      var least: (encoding: TensorEncoding, byteCount: Int)?
      for encoding in SensitivityMeter.encodings(tensor.requirement, options) {
        let byteCount = try tensor.byteCount(as: encoding)
        if least.map({ byteCount < $0.byteCount }) ?? true { least = (encoding, byteCount) }
      }
      options.assignments[tensor.requirement.name] = least?.encoding
    }
    return try Converter(checkpoint: checkpoint, options: options)
  }

  private func assigned(
    _ target: SizeTarget, _ free: [ConversionPlan.Stored], _ choices: [[StorageChoice]], _ chosen: [Int]
  ) throws(ConversionError) -> Converter {
    var options = options
    options.target = target
    for (index, tensor) in free.enumerated() { options.assignments[tensor.requirement.name] = choices[index][chosen[index]].encoding }
    return try Converter(checkpoint: checkpoint, options: options)
  }

  /// Bytes that the free matrices may take.
  private func budget(_ target: SizeTarget, _ plan: ConversionPlan, _ free: [ConversionPlan.Stored]) throws(ConversionError) -> Int {
    let own = free.reduce(0) { $0 + $1.byteCount }
    return own - (try excess(target, plan))
  }

  /// Bytes that a plan is beyond the target; negative below it.
  private func excess(_ target: SizeTarget, _ plan: ConversionPlan) throws(ConversionError) -> Int {
    switch target {
    case .bytes(let bytes): return plan.fileByteCount - bytes
    case .bits(let bits):
      guard let total = plan.parts.last else { return 0 }
      return total.byteCount - Int(bits * Double(total.weightCount) / 8)
    }
  }

  /// What a converter's plan comes to, in the target's terms.
  private func size(_ target: SizeTarget, _ converter: Converter) throws(ConversionError) -> SizeTarget {
    let plan = try converter.plan()
    switch target {
    case .bytes: return .bytes(plan.fileByteCount)
    case .bits: return .bits(plan.parts.last?.bitsPerWeight ?? 0)
    }
  }
}
