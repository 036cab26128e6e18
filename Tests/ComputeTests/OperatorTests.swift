import Compute
import Foundation
import TestSupport
import Testing

@Suite struct OperatorTests {
  @Test(arguments: kernelNames, [1, 2, 15, 64, 100, 384, 3587])
  func norms(_ kernels: String, _ columns: Int) throws {
    var numbers = SeededNumbers(1)
    let engine = try engine(kernels)
    let rows = 9
    let input = try Matrix(rows, columns, &numbers, in: -3...7).widened(by: 1)
    let weight = try Matrix(1, columns, &numbers)
    let bias = try Matrix(1, columns, &numbers)
    let output = try Matrix(rows: rows, columns: columns)
    engine.normalize(input, .layer(weight: weight, bias: bias, epsilon: 1e-5), to: output)
    for row in 0..<rows {
      let x = input[rows: row..<row + 1].values
      expectClose(output[rows: row..<row + 1].values, referenceLayerNorm(x, weight.values, bias.values, 1e-5), within: 5e-6)
    }
    engine.normalize(input, .rms(weight: weight, epsilon: 1e-6), to: output)
    let first = referenceRMSNorm(input[rows: 0..<1].values, weight.values, 1e-6)
    expectClose(output[rows: 0..<1].values, first, within: 3e-6)
    // In place.
    engine.normalize(input, .rms(weight: weight, epsilon: 1e-6), to: input)
    #expect(input.values == output.values)
  }

  struct MapShape: Sendable {
    let height: Int
    let width: Int
    let channels: Int
  }

  @Test(
    arguments: kernelNames,
    [
      MapShape(height: 1, width: 1, channels: 1), MapShape(height: 2, width: 3, channels: 5), MapShape(height: 9, width: 9, channels: 32),
      MapShape(height: 18, width: 18, channels: 40), MapShape(height: 5, width: 23, channels: 67),
      MapShape(height: 40, width: 19, channels: 33),
      MapShape(height: 3, width: 1100, channels: 3),
    ])
  func depthwise(_ kernels: String, _ shape: MapShape) throws {
    var numbers = SeededNumbers(2)
    let input = try Matrix(shape.height * shape.width, shape.channels, &numbers)
    let weights = try Matrix(49, shape.channels, &numbers)
    let bias = try Matrix(1, shape.channels, &numbers)
    let output = try Matrix(rows: input.rows, columns: shape.channels)
    try engine(kernels).depthwise7x7(input, height: shape.height, width: shape.width, weights: weights, bias: bias, to: output)
    let expected = referenceDepthwise7x7(
      input.values, height: shape.height, width: shape.width, channels: shape.channels, weights: weights.values, bias: bias.values)
    expectClose(output.values, expected, within: 2e-5)
  }

  @Test(arguments: kernelNames, [2, 10, 24, 128])
  func rotation(_ kernels: String, _ dimension: Int) throws {
    var numbers = SeededNumbers(3)
    let engine = try engine(kernels)
    let half = dimension / 2
    for (position, theta) in [(0, Float(1e6)), (9000, 1e4), (9003, 1e4)] {
      let before = try Matrix(6, 3 * dimension, &numbers)
      let x = try before.widened(by: 4)
      try engine.rotate(x, headDimension: dimension, position: position, theta: theta)
      var expected: [Double] = []
      for token in 0..<6 {
        for head in 0..<3 {
          let values = (0..<dimension).map { Double(before.row(token)[head * dimension + $0]) }
          // The angle in floats, as PyTorch has it; all else in doubles.
          let angles = (0..<half).map { i in
            Double(Float(position + token) * (1 / Float(pow(Double(theta), Double(Float(2 * i) / Float(dimension))))))
          }
          expected += (0..<half).map { values[$0] * cos(angles[$0]) - values[$0 + half] * sin(angles[$0]) }
          expected += (0..<half).map { values[$0 + half] * cos(angles[$0]) + values[$0] * sin(angles[$0]) }
        }
      }
      expectClose(x.values, expected, within: 5e-7)
    }
  }

  @Test(arguments: kernelNames)
  func gather(_ kernels: String) throws {
    var numbers = SeededNumbers(4)
    let ids: [Int32] = [70, 0, 33, 70, 31]
    let tables = [
      TestWeight(.float32, rows: 71, columns: 90, &numbers), TestWeight(.float16, rows: 71, columns: 90, &numbers),
      TestWeight(.bfloat16, rows: 71, columns: 90, &numbers),
      TestWeight(bits: 4, group: 32, asymmetric: false, rows: 71, columns: 90, &numbers),
      TestWeight(bits: 4, group: 64, asymmetric: true, rows: 71, columns: 90, &numbers),
      TestWeight(bits: 8, group: 32, asymmetric: false, rows: 71, columns: 90, &numbers),
    ]
    for table in tables {
      let output = try Matrix(rows: ids.count, columns: 90)
      try engine(kernels).gatherRows(ids, of: table.matrix, to: output)
      expectClose(output.values, ids.flatMap { table.values[Int($0) * 90..<Int($0) * 90 + 90] }, within: 1e-6)
    }
  }
}
