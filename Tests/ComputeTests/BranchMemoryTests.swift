import Compute
import Kernels
import TestSupport
import Testing

/// A perceptron that is computed only where its input has changed.
@Suite struct BranchMemoryTests {
  private static let (rows, columns, inner) = (50, 96, 160)

  /// An input, weights of so many bits (32: floats), and what the branch is added to.
  private struct Branch {
    let norm: RowNorm
    let first: WeightMatrix
    let second: WeightMatrix
    let bias: Matrix
    let scale: Matrix

    init(bits: Int, _ numbers: inout SeededNumbers) throws {
      let (columns, inner) = (BranchMemoryTests.columns, BranchMemoryTests.inner)
      norm = .layer(weight: try Matrix(1, columns, &numbers), bias: try Matrix(1, columns, &numbers), epsilon: 1e-5)
      func weight(_ rows: Int, _ columns: Int) -> WeightMatrix {
        bits == 32
          ? TestWeight(.float32, rows: rows, columns: columns, &numbers).matrix
          : TestWeight(bits: bits, group: 32, asymmetric: false, rows: rows, columns: columns, &numbers).matrix
      }
      (first, second) = (weight(inner, columns), weight(columns, inner))
      bias = try Matrix(1, columns, &numbers)
      scale = try Matrix(1, columns, &numbers)
    }

    func run(_ input: Matrix, to output: Matrix, _ memory: BranchMemory?, on engine: Engine) throws -> Int {
      let (inner, outer) = (
        PerceptronInner.gelu(first, bias: nil), LinearProduct(second, bias: bias, .addTo(scale: scale), to: output)
      )
      guard let memory else {
        try engine.perceptron(input, norm: norm, inner, outer)
        return input.rows
      }
      return try engine.perceptron(
        input.copied(), norm: norm, inner, outer, remembered: memory, spare: Matrix(rows: input.rows, columns: input.columns))
    }
  }

  private func zeros() throws -> Matrix { try Matrix(rows: Self.rows, columns: Self.columns) }

  private func values(_ matrix: Matrix) -> [UInt32] { matrix.buffer.map(\.bitPattern) }

  /// Without a threshold every frame is what it would be, to the bit, and only changed rows are computed.
  @Test(arguments: kernelNames, [32, 8, 4]) func exact(_ kernels: String, _ bits: Int) throws {
    var numbers = SeededNumbers(5)
    let engine = try engine(kernels, threads: 3)
    let branch = try Branch(bits: bits, &numbers)
    let memory = try BranchMemory(rows: Self.rows, columns: Self.columns, threshold: 0)
    let input = try Matrix(Self.rows, Self.columns, &numbers)
    for changed in [[], [], [3], [0], [0, 7, 8, 49], Array(10..<40), Array(0..<50), []] as [[Int]] {
      for row in changed { input.row(row)[row] += 0.25 }
      let (whole, part) = (try zeros(), try zeros())
      _ = try branch.run(input, to: whole, nil, on: engine)
      let isFirst = memory.isEmpty
      let computed = try branch.run(input, to: part, memory, on: engine)
      #expect(values(whole) == values(part), "\(changed)")
      #expect(computed == (isFirst ? 50 : changed.count == 1 ? 2 : changed.count))
    }
    memory.forget()
    #expect(try branch.run(input, to: zeros(), memory, on: engine) == 50)
  }

  /// With one, a change below it is none and leaves what is remembered, so that a slow change is seen once it has gone far enough; channels
  /// that are 64 times as loud count no more than others.
  @Test(arguments: kernelNames, [0, 4]) func threshold(_ kernels: String, _ loud: Int) throws {
    var numbers = SeededNumbers(9)
    let engine = try engine(kernels, threads: 2)
    let branch = try Branch(bits: 8, &numbers)
    let memory = try BranchMemory(rows: Self.rows, columns: Self.columns, threshold: 0.1)
    let input = try Matrix(Self.rows, Self.columns, &numbers)
    for row in 0..<Self.rows { for channel in 0..<loud { input.row(row)[channel] *= 64 } }
    let first = try zeros()
    #expect(try branch.run(input, to: first, memory, on: engine) == 50)
    let original = try input.copied()
    let (again, exact) = (try zeros(), try zeros())
    var counts: [Int] = []
    // Quiet channels move, by so many of their spreads of 1/√3.
    for move in [0.01, 0.02, 0.6] as [Float] {
      for row in 10..<30 {
        for channel in loud..<Self.columns {
          let sign: Float = (row + channel) % 2 == 0 ? 1 : -1
          input.row(row)[channel] = original.row(row)[channel] + sign * move * 0.577
        }
      }
      again.buffer.update(repeating: 0)
      counts.append(try branch.run(input, to: again, memory, on: engine))
    }
    _ = try branch.run(input, to: exact, nil, on: engine)
    #expect(counts == [0, 0, 20], "\(counts)")
    for row in 10..<30 { #expect((0..<Self.columns).allSatisfy { again.row(row)[$0] == exact.row(row)[$0] }) }
    // The others took float16 of what they had.
    for row in 0..<10 {
      for channel in 0..<Self.columns {
        let (kept, was) = (again.row(row)[channel], first.row(row)[channel])
        #expect(abs(kept - was) <= abs(was) / 1024 + 1e-6)
      }
    }
  }

  @Test func bytes() {
    #expect(BranchMemory.bytesPerValue(threshold: 0) == 4 && BranchMemory.bytesPerValue(threshold: 0.1) == 3)
  }
}
