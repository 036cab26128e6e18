import Kernels
import TestSupport
import Testing

struct QuantizedMultiplyTests {
  struct Shape: CustomTestStringConvertible, Sendable {
    var bits: Int
    var group: Int
    var groups: Int
    var isUneven = false
    var testDescription: String { "\(bits) bits\(isUneven ? ", uneven" : ""), \(groups) groups of \(group)" }
    /// Uneven levels have no minima.
    var minima: [Bool] { isUneven ? [false] : [false, true] }

    static let all = [(3, false), (4, false), (8, false), (4, true)].flatMap { bits, isUneven in
      [32, 64, 96, 128, 256].flatMap { group in [1, 2, 3, 5].map { Shape(bits: bits, group: group, groups: $0, isUneven: isUneven) } }
    }

    func panel(hasMinima: Bool, _ numbers: inout SeededNumbers) -> ReferencePanel {
      ReferencePanel(bits: bits, isUneven: isUneven, groups: groups, group: group, hasMinima: hasMinima, &numbers)
    }
  }

  /// Each number of tokens from 1 to 40, each result to the last bit as the documentation says: so all tables agree.
  @Test(arguments: tableNames, Shape.all)
  func asDocumented(_ table: String, _ shape: Shape) throws {
    let kernels = try quantizedKernels(table)
    var numbers = SeededNumbers(UInt64(shape.bits * 1000 + shape.group * 10 + shape.groups))
    for hasMinima in shape.minima {
      let panel = shape.panel(hasMinima: hasMinima, &numbers)
      let tokens = (0..<40).map { _ in (0..<panel.columns).map { _ in Float.random(in: -3...3, using: &numbers) } }
      let expected = tokens.map { panel.product(ReferenceRow($0, groups: panel.groups, group: panel.group)) }
      for count in 1...40 {
        let run = KernelRun(kernels, panel, tokens[..<count])
        #expect(run.output == Array(expected[..<count]), "\(count) tokens")
        #expect(run.isIntact)
      }
    }
  }

  /// The default by way of 8-bit codes: without minima the result of the codes' own width to the last bit, with minima that of the same
  /// codes in 8 bits.
  @Test(arguments: tableNames, Shape.all)
  func decodedCodes(_ table: String, _ shape: Shape) throws {
    let kernels = try quantizedKernels(table)
    var numbers = SeededNumbers(UInt64(shape.bits * 1000 + shape.group * 10 + shape.groups))
    for hasMinima in shape.minima {
      let panel = shape.panel(hasMinima: hasMinima, &numbers)
      let tokens = (0..<13).map { _ in (0..<panel.columns).map { _ in Float.random(in: -3...3, using: &numbers) } }
      var definition = panel
      if hasMinima { definition.bits = 8 }
      let expected = tokens.map { definition.product(ReferenceRow($0, groups: panel.groups, group: panel.group)) }
      for count in [1, 2, 5, 13] {
        let run = KernelRun(kernels, panel, tokens[..<count], isDefault: true)
        #expect(run.output == Array(expected[..<count]), "\(count) tokens")
        #expect(run.isIntact)
      }
    }
  }

  /// What is documented is the sum of products, as far as floats go.
  @Test(arguments: tableNames, Shape.all.filter { $0.group == 64 && $0.groups == 5 })
  func nearPlainSum(_ table: String, _ shape: Shape) throws {
    let kernels = try quantizedKernels(table)
    var numbers = SeededNumbers(7)
    for hasMinima in shape.minima {
      let panel = shape.panel(hasMinima: hasMinima, &numbers)
      let tokens = (0..<13).map { _ in (0..<panel.columns).map { _ in Float.random(in: -3...3, using: &numbers) } }
      let run = KernelRun(kernels, panel, tokens[...])
      for (token, output) in zip(tokens, run.output) {
        let plain = panel.plainProduct(ReferenceRow(token, groups: panel.groups, group: panel.group))
        for (value, exact) in zip(output, plain) { #expect(abs(Double(value) - exact.sum) <= 1e-6 * exact.magnitude) }
      }
    }
  }

  /// The greatest and least codes with the greatest values: nothing saturates or wraps, in any accumulator.
  @Test(arguments: tableNames, Shape.all.filter { $0.groups == 2 })
  func extremes(_ table: String, _ shape: Shape) throws {
    let (bits, group) = (shape.bits, shape.group)
    let kernels = try quantizedKernels(table)
    var numbers = SeededNumbers(3)
    let signs: [(Int) -> Float] = [
      { _ in 1 }, { _ in -1 }, { $0 % 2 == 0 ? 1 : -1 }, { $0 / 2 % 2 == 0 ? 1 : -1 }, { $0 % 5 == 0 ? 1 : -1 },
    ]
    let tokens = (0..<15).map { index in (0..<2 * group).map { signs[index % signs.count]($0) } }
    for pattern in 0..<4 {
      var panel = shape.panel(hasMinima: pattern == 3 && !shape.isUneven, &numbers)
      let greatest = UInt8((1 << bits) - 1)
      for index in panel.codes.indices {
        panel.codes[index] = [0, greatest, index % 2 == 0 ? 0 : greatest, index % 32 < 16 ? greatest : 0][pattern]
      }
      let expected = tokens.map { panel.product(ReferenceRow($0, groups: 2, group: group)) }
      for count in [1, 2, 3, 4, 5, 12, 15] { #expect(KernelRun(kernels, panel, tokens[..<count]).output == Array(expected[..<count])) }
    }
  }

  /// A token whose activations are not numbers has products that are none, and spoils no other token's.
  @Test(arguments: tableNames, [3, 4, 8])
  func notNumbers(_ table: String, _ bits: Int) throws {
    let kernels = try quantizedKernels(table)
    var numbers = SeededNumbers(11)
    let panel = ReferencePanel(bits: bits, groups: 2, group: 64, hasMinima: true, &numbers)
    for count in [1, 3, 12, 14] {
      var tokens = (0..<count).map { _ in (0..<panel.columns).map { _ in Float.random(in: -1...1, using: &numbers) } }
      tokens[count / 2][5] = .nan
      let run = KernelRun(kernels, panel, tokens[...])
      for (index, output) in run.output.enumerated() {
        #expect(output.allSatisfy { $0.isNaN == (index == count / 2) })
      }
    }
  }
}
