import Kernels
import TestSupport
import Testing

struct QuantizeRowTests {
  /// Values, scales and sums are those of the definition, for every place in a tile and rows that end inside a group.
  @Test(arguments: tableNames, [32, 64, 96, 128, 256])
  func asDocumented(_ table: String, _ group: Int) throws {
    let kernels = try quantizedKernels(table)
    var numbers = SeededNumbers(UInt64(group))
    let panel = ReferencePanel(bits: 4, groups: 3, group: group, hasMinima: false, &numbers)
    for columns in [3 * group, 3 * group - 1, 2 * group + 17, 2 * group + 8, 2 * group, group + 1, 5] {
      for count in [1, 2, 11, 12, 13, 25] {
        let tokens = (0..<count).map { index in
          (0..<columns).map { _ in Float.random(in: -1...1, using: &numbers) * (index % 3 == 0 ? 1e-3 : 50) }
        }
        check(kernels, panel, tokens)
      }
    }
  }

  /// Halves go to the even neighbour.
  @Test(arguments: tableNames)
  func ties(_ table: String) throws {
    let kernels = try quantizedKernels(table)
    var numbers = SeededNumbers(1)
    let panel = ReferencePanel(bits: 4, groups: 1, group: 32, hasMinima: false, &numbers)
    // The greatest magnitude is 127, so that values are what they are quantized to.
    let token: [Float] = [127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5, -126.5, 3.4999998, 3.5, -3.5, 0, -0.0]
    let run = KernelRun(kernels, panel, [token])
    #expect(run.token(0).values[..<14] == [127, 0, 2, 2, 0, -2, -2, 126, -126, 3, 4, -4, 0, 0])
    #expect(run.token(0).scales == [1])
  }

  @Test(arguments: tableNames)
  func unusualNumbers(_ table: String) throws {
    let kernels = try quantizedKernels(table)
    var numbers = SeededNumbers(1)
    let panel = ReferencePanel(bits: 4, groups: 2, group: 32, hasMinima: false, &numbers)
    for special: Float in [
      .nan, .infinity, -.infinity, .signalingNaN, .greatestFiniteMagnitude, -.greatestFiniteMagnitude, .leastNonzeroMagnitude, 0x1p-116,
      -0x1p-116, 0x1.fffffep-117, 0,
    ] {
      for place in [0, 7, 8, 31] {
        var token = [Float](repeating: 0, count: 40)
        token[place] = special
        check(kernels, panel, [token])
        check(kernels, panel, [token, token.map { $0 == 0 ? 0.25 : $0 }])
        // Beside three usual tokens of whole groups.
        let usual = (0..<64).map { Float($0) }
        let whole = usual.indices.map { $0 == place ? special : usual[$0] }
        check(kernels, panel, [usual, usual, whole, usual, whole])
        check(kernels, panel, [[Float](repeating: special, count: 64), usual, usual, usual])
      }
    }
  }

  private func check(_ kernels: QuantizedKernels, _ panel: ReferencePanel, _ tokens: [[Float]]) {
    let run = KernelRun(kernels, panel, tokens[...])
    #expect(run.isIntact)
    for (index, token) in tokens.enumerated() {
      let expected = ReferenceRow(token, groups: panel.groups, group: panel.group)
      let found = run.token(index)
      #expect(found.values == expected.values)
      #expect(found.scales.map(\.bits) == expected.scales.map(\.bits))
      #expect(found.sums.map(\.bits) == zip(expected.scales, expected.sums).map { ($0 * Float($1)).bits })
    }
  }
}

extension Float {
  /// All NaN alike.
  fileprivate var bits: UInt32 { isNaN ? Float.nan.bitPattern : self == 0 ? 0 : bitPattern }
}
