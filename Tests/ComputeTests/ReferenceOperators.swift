import Foundation
import Kernels

// The operators in plain loops and double precision.

func referenceGELU(_ x: Double) -> Double { x * 0.5 * erfc(-x / 2.0.squareRoot()) }

func reference(_ activation: Activation, _ x: Double) -> Double {
  switch activation {
  case .gelu: referenceGELU(x)
  case .geluTanh: 0.5 * x * (1 + tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
  case .quickGelu: x / (1 + exp(-1.702 * x))
  }
}

func referenceSiLU(_ x: Double) -> Double { x / (1 + exp(-x)) }

func referenceLayerNorm(_ x: [Float], _ weight: [Float], _ bias: [Float], _ epsilon: Double) -> [Double] {
  let mean = x.reduce(0) { $0 + Double($1) } / Double(x.count)
  let variance = x.reduce(0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / Double(x.count)
  return x.indices.map { (Double(x[$0]) - mean) / (variance + epsilon).squareRoot() * Double(weight[$0]) + Double(bias[$0]) }
}

func referenceRMSNorm(_ x: [Float], _ weight: [Float], _ epsilon: Double) -> [Double] {
  let mean = x.reduce(0) { $0 + Double($1) * Double($1) } / Double(x.count)
  return x.indices.map { Double(x[$0]) / (mean + epsilon).squareRoot() * Double(weight[$0]) }
}

func referenceDepthwise7x7(_ input: [Float], height: Int, width: Int, channels: Int, weights: [Float], bias: [Float]) -> [Double] {
  var result: [Double] = []
  for y in 0..<height {
    for x in 0..<width {
      for c in 0..<channels {
        var sum = Double(bias[c])
        for i in 0..<7 {
          for j in 0..<7 {
            let row = y + i - 3
            let column = x + j - 3
            guard row >= 0, row < height, column >= 0, column < width else { continue }
            sum += Double(input[(row * width + column) * channels + c]) * Double(weights[(7 * i + j) * channels + c])
          }
        }
        result.append(sum)
      }
    }
  }
  return result
}

/// Queries `[tokens][heads][dimension]`, keys and values `[entries][keyHeads][dimension]`.
func referenceAttention(
  _ queries: [Float], _ keys: [Float], _ values: [Float], tokens: Int, heads: Int, keyHeads: Int, dimension: Int, entries: Int,
  causalOffset: Int?
) -> [Double] {
  var result = [Double](repeating: 0, count: tokens * heads * dimension)
  for token in 0..<tokens {
    let visible = min(entries, causalOffset.map { $0 + token + 1 } ?? entries)
    for head in 0..<heads {
      let keyHead = head / (heads / keyHeads)
      let query = (token * heads + head) * dimension
      let scores = (0..<visible).map { entry in
        (0..<dimension).reduce(0.0) {
          $0 + Double(queries[query + $1]) * Double(keys[(entry * keyHeads + keyHead) * dimension + $1])
        } / Double(dimension).squareRoot()
      }
      let greatest = scores.max() ?? 0
      let weights = scores.map { exp($0 - greatest) }
      let sum = weights.reduce(0, +)
      for (entry, weight) in weights.enumerated() {
        for d in 0..<dimension {
          result[query + d] += weight / sum * Double(values[(entry * keyHeads + keyHead) * dimension + d])
        }
      }
    }
  }
  return result
}
