import ModelFile

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
