import Compute
import Foundation
import Kernels
import TestSupport
import Testing

/// The float kernels of each table by themselves: accuracy over their whole range, values that are no numbers, and counts that are no
/// multiple of a vector.
@Suite struct FloatKernelTests {
  static let counts = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127]

  private func kernels(_ name: String) throws -> FloatKernels { try KernelChoice.kernels(named: name).float }

  @Test(arguments: kernelNames, Activation.allCases) func activationIsAccurate(_ name: String, _ activation: Activation) throws {
    let kernels = try kernels(name)
    let x = stride(from: Float(-60), through: 60, by: 1 / 4096).map { $0 }
    let y = activated(x, activation, kernels)
    for (value, result) in zip(x, y) {
      let expected = reference(activation, Double(value))
      // 1e-6, and no more than the last place of a large result.
      let error = abs(Double(result) - expected)
      if !(error <= max(1e-6, abs(expected) * 1e-7)) { Issue.record("\(activation)(\(value)) = \(result), not \(expected)") }
    }
    let great = Float.greatestFiniteMagnitude
    let special = activated(
      [.nan, .infinity, -.infinity, great, -great, 1e30, -1e30, 0, -0.0, .leastNonzeroMagnitude], activation, kernels)
    #expect(special[0].isNaN && special[1] == .infinity && special[3] == great && special[5] == 1e30)
    if activation == .gelu {
      #expect([2, 4, 6].allSatisfy { abs(special[$0]) < 1e-6 })
    } else {
      #expect([2, 4, 6].allSatisfy { special[$0] == 0 })
    }
    #expect(special[7] == 0 && special[8] == 0 && abs(special[9]) < 1e-30)
  }

  /// Values of all magnitudes, to the last bit.
  @Test(arguments: fusingKernelNames, Activation.allCases) func activationsAreTheSame(_ name: String, _ activation: Activation) throws {
    var numbers = SeededNumbers(4)
    let x =
      (0..<100_000).map { _ in Float(bitPattern: UInt32.random(in: 0...UInt32.max, using: &numbers)) } + numbers.floats(100_000, in: -9...9)
    let (best, other) = try (activated(x, activation, kernels(kernelNames[0])), activated(x, activation, kernels(name)))
    for (index, (a, b)) in zip(best, other).enumerated() where a.bitPattern != b.bitPattern && !(a.isNaN && b.isNaN && x[index].isNaN) {
      Issue.record("\(activation)(\(x[index])) is \(a) and \(b)")
    }
  }

  /// Activations are only there as a finish of products.
  private func activated(_ x: [Float], _ activation: Activation, _ kernels: FloatKernels) -> [Float] {
    let rows = (x.count + 31) / 32
    var y = [Float](repeating: 0, count: 32 * rows)
    kernels.finishTile(.activated(activation), x + y, rows, 32, nil, nil, &y, 32)
    return Array(y[..<x.count])
  }

  @Test(arguments: kernelNames) func exponentialIsAccurate(_ name: String) throws {
    let kernels = try kernels(name)
    let x = stride(from: Float(-87), through: 88, by: 1 / 512).map { $0 }
    var y = x
    _ = kernels.exponentiate(&y, 0, y.count)
    for (value, result) in zip(x, y) {
      let expected = exp(Double(value))
      if !(abs(Double(result) - expected) <= 1e-6 * expected) { Issue.record("exp(\(value)) = \(result), not \(expected)") }
    }
    var special: [Float] = [.nan, -.infinity, -88, -1e30, 0]
    let sum = kernels.exponentiate(&special, 0, special.count)
    #expect(special[0].isNaN && special[1] == 0 && special[2] == 0 && special[3] == 0 && special[4] == 1 && sum.isNaN)
  }

  @Test(arguments: kernelNames) func siluIsAccurate(_ name: String) throws {
    let kernels = try kernels(name)
    let x = stride(from: Float(-100), through: 100, by: 1 / 64).map { $0 }
    var y = x
    kernels.gatedSilu(x, [Float](repeating: 2, count: x.count), x.count, &y)
    for (value, result) in zip(x, y) {
      let expected = 2 * referenceSiLU(Double(value))
      if !(abs(Double(result) - expected) <= 2e-6 * max(1e-3, abs(expected))) {
        Issue.record("silu(\(value)) = \(result), not \(expected)")
      }
    }
    var special = [Float](repeating: 1, count: 5)
    kernels.gatedSilu([.nan, .infinity, 1, -.infinity, -3e38], [1, 1, .nan, 1, 1], 5, &special)
    #expect(special[0].isNaN && special[1] == .infinity && special[2].isNaN && special[3] == 0 && special[4] == 0)
  }

  /// Every float16 value there is, and every way of rounding to one.
  @Test(arguments: kernelNames) func halves(_ name: String) throws {
    let kernels = try kernels(name)
    let all = (0...UInt16.max).map { $0 }
    var floats = [Float](repeating: 0, count: all.count)
    kernels.toFloat(.float16, all, all.count, &floats)
    var back = [UInt16](repeating: 0, count: all.count)
    kernels.toHalf(floats, all.count, &back)
    for (index, bits) in all.enumerated() {
      let expected = Float(Float16(bitPattern: bits))
      if expected.isNaN {
        #expect(floats[index].isNaN && Float16(bitPattern: back[index]).isNaN)
      } else if floats[index] != expected || back[index] != bits || floats[index].sign != expected.sign {
        Issue.record("\(bits): \(floats[index]), \(back[index])")
      }
    }
    var numbers = SeededNumbers(1)
    // Bits of any kind, and values near the borders: the smallest, the largest, halfway between two.
    var values = (0..<20_000).map { _ in Float(bitPattern: UInt32.random(in: 0...UInt32.max, using: &numbers)) }
    values += (0..<20_000).map { _ in
      Float.random(in: -1...1, using: &numbers) * Float(pow(2.0, Double(Int.random(in: -27...17, using: &numbers))))
    }
    values += all.map { bits in
      let value = Float16(bitPattern: bits)
      return value.isFinite && value.nextUp.isFinite ? (Float(value) + Float(value.nextUp)) / 2 : 0
    }
    values += [65504, 65519.99, 65520, 65536, .infinity, -65520, 5.9e-8, 2.9e-8, 2.98e-8, 3e-8]
    var halves = [UInt16](repeating: 0, count: values.count)
    kernels.toHalf(values, values.count, &halves)
    for (value, half) in zip(values, halves) {
      let expected = Float16(value)
      if value.isNaN ? !Float16(bitPattern: half).isNaN : half != expected.bitPattern { Issue.record("\(value): \(half), not \(expected)") }
    }
  }

  @Test(arguments: kernelNames) func bfloats(_ name: String) throws {
    let kernels = try kernels(name)
    let all = (0...UInt16.max).map { $0 }
    var floats = [Float](repeating: 0, count: all.count)
    kernels.toFloat(.bfloat16, all, all.count, &floats)
    #expect(zip(all, floats).allSatisfy { $1.bitPattern == UInt32($0) << 16 })
  }

  /// Nothing beyond the last value is written, and each count gives what single values give.
  @Test(arguments: kernelNames) func anyCount(_ name: String) throws {
    let kernels = try kernels(name)
    var numbers = SeededNumbers(2)
    for count in FloatKernelTests.counts {
      let x = numbers.floats(count + 1)
      let other = numbers.floats(count + 1)
      let start = numbers.floats(count) + [99]
      func check(_ what: Comment, _ expected: [Float], tolerance: Float = 0, _ body: (UnsafeMutablePointer<Float>) -> Void) {
        var y = start
        body(&y)
        #expect(y[count] == 99, what)
        for i in 0..<count where abs(y[i] - expected[i]) > tolerance { Issue.record("\(what) of \(count): \(y[i]), not \(expected[i])") }
      }
      let places = 0..<count
      check("scale", places.map { start[$0] * 3 }) { kernels.scale($0, 3, count) }
      check("addMultiple", places.map { start[$0] + 2 * x[$0] }, tolerance: 1e-6) { kernels.addMultiple(2, x, count, $0) }
      check("silu", places.map { Float(referenceSiLU(Double(x[$0]))) * other[$0] }, tolerance: 1e-6) {
        kernels.gatedSilu(x, other, count, $0)
      }
      check("toFloat", places.map { x[$0] }) { kernels.toFloat(.float32, x, count, $0) }
      let exponentials = start[..<count].map { exp(Double($0) - 1) }
      check("exponentiate", places.map { Float(exponentials[$0]) }, tolerance: 1e-6) {
        let sum = kernels.exponentiate($0, 1, count)
        #expect(abs(Double(sum) - exponentials.reduce(0, +)) < 1e-5)
      }
      if count > 0 {
        #expect(kernels.maximum(x, count) == x[..<count].max())
        // The greatest in each place.
        for place in 0..<count {
          var peak = x
          peak[place] = 7
          #expect(kernels.maximum(peak, count) == 7)
        }
      }
    }
  }

  /// Every width of the last panel, with and without a bias and a scale.
  @Test(arguments: kernelNames) func finishesTiles(_ name: String) throws {
    let kernels = try kernels(name)
    var numbers = SeededNumbers(3)
    let (tokens, stride) = (3, 40)
    for columns in 1...32 {
      let tile = numbers.floats(tokens * 32)
      let before = numbers.floats(tokens * stride)
      let bias = numbers.floats(columns)
      let scale = numbers.floats(columns)
      for finish in [.store, .addTo] + Activation.allCases.map(TileFinish.activated) {
        for (usedBias, usedScale) in [(nil, nil), (bias, nil), (nil, scale), (bias, scale)] as [([Float]?, [Float]?)] {
          var output = before
          usedBias.withPointer { bias in
            usedScale.withPointer { scale in kernels.finishTile(finish, tile, tokens, columns, bias, scale, &output, stride) }
          }
          var expected = before.map(Double.init)
          for token in 0..<tokens {
            for column in 0..<columns {
              let product = Double(tile[token * 32 + column]) + Double(usedBias?[column] ?? 0)
              let at = token * stride + column
              switch finish {
              case .store: expected[at] = product
              case .activated(let activation): expected[at] = reference(activation, product)
              case .addTo: expected[at] += product * Double(usedScale?[column] ?? 1)
              }
            }
          }
          expectClose(output, expected, within: 1e-6, "\(finish), \(columns) columns")
        }
      }
    }
  }

  /// What a NaN in the input does: it comes out, and the neighbours are as they were.
  @Test(arguments: kernelNames) func normsKeepNaN(_ name: String) throws {
    let kernels = try kernels(name)
    let ones = [Float](repeating: 1, count: 40)
    var x = ones
    x[37] = .nan
    var y = ones
    kernels.layerNorm(x, 40, ones, ones, 1e-5, &y)
    #expect(y.allSatisfy { $0.isNaN })
    kernels.rmsNorm(x, 40, ones, 1e-5, &y)
    #expect(y.allSatisfy { $0.isNaN })
  }
}

extension [Float]? {
  /// Calls `body` with the values, or with nil.
  fileprivate func withPointer(_ body: (UnsafePointer<Float>?) -> Void) {
    if let self { self.withUnsafeBufferPointer { body($0.baseAddress) } } else { body(nil) }
  }
}
