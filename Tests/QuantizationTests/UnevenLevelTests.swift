import Quantization
import Tensors
import TestSupport
import Testing

struct UnevenLevelTests {
  static let methods: [QuantizationMethod] = [.rtn, .search]

  /// Each value has the level that is nearest to it with the scale that was found, by rounding to nearest as by search.
  @Test(arguments: methods, ErrorBoundTests.shapes)
  func nearestLevels(_ method: QuantizationMethod, _ shape: (group: Int, columns: Int)) throws {
    var numbers = SeededNumbers(21)
    for spread: Float in [1e-3, 0.02, 3, 1000] {
      let values = (0..<32 * shape.columns).map { _ in numbers.normal(spread) }
      let panel = try Panel(values, rows: 32, unevenScheme(shape.group), method)
      for row in 0..<32 {
        for column in 0..<shape.columns {
          let value = values[row * shape.columns + column]
          let scale = Float(Float16(bitPattern: panel.scales[column / shape.group * 32 + row]))
          let least = QuantizedScheme.unevenLevels.map { abs(value - scale * Float($0)) }.min() ?? 0
          let found = abs(value - panel.restored[row * shape.columns + column])
          #expect(found <= least + abs(scale) * 1e-4, "\(value) of \(scale)")
        }
      }
    }
  }

  /// Rounding to nearest takes the sign with the lesser scale, and cuts nothing off.
  @Test func roundingToNearestKeepsExtremes() throws {
    for (values, scale) in [([-3.1, 2.6], 0.1), ([3.1, -2.6], -0.1), ([-3.1, 0.5], 0.1), ([1.3, -0.1], -1.3 / 31)] as [([Float], Float)] {
      let panel = try Panel(values + [Float](repeating: 0, count: 30), rows: 1, unevenScheme(32), .rtn)
      #expect(Float16(bitPattern: panel.scales[0]) == Float16(scale))
      for (value, restored) in zip(values, panel.restored) { #expect(abs(value - restored) <= abs(scale) * 3.1) }
      #expect(abs(values[0] - panel.restored[0]) < 0.002 * abs(values[0]))
    }
  }

  /// Less error than even levels: on normal weights, and more so where tails are long; without data and with moments of the inputs.
  @Test(arguments: [32, 64, 128], [false, true])
  func lessErrorThanEvenLevels(_ group: Int, _ hasMoments: Bool) throws {
    var numbers = SeededNumbers(22)
    let columns = 4 * group
    let normal = (0..<32 * columns).map { _ in numbers.normal(0.02) }
    let long = normal.map { $0 * (1 + 2500 * $0 * $0) }
    let moments = hasMoments ? (0..<columns).map { _ in Float.random(in: 0.5...2, using: &numbers) } : nil
    for (values, bound) in [(normal, 0.86), (long, 0.75)] {
      let uneven = try Panel(values, rows: 32, unevenScheme(group), moments: moments).squaredError(values, moments)
      let even = try Panel(values, rows: 32, scheme(4, group, symmetric: true), moments: moments).squaredError(values, moments)
      #expect(uneven < bound * even, "\(uneven / even)")
    }
  }

  /// The search is never worse than rounding to nearest.
  @Test(arguments: ErrorBoundTests.shapes)
  func searchGains(_ shape: (group: Int, columns: Int)) throws {
    var numbers = SeededNumbers(23)
    let values = (0..<32 * shape.columns).map { _ in numbers.normal(0.02) }
    let searched = try Panel(values, rows: 32, unevenScheme(shape.group)).squaredError(values)
    let rounded = try Panel(values, rows: 32, unevenScheme(shape.group), .rtn).squaredError(values)
    #expect(searched < 0.9 * rounded, "\(searched / rounded)")
  }

  /// Constant groups, zeros, one weight among zeros, weights near the end of float16 on either side.
  @Test func unusualGroups() throws {
    let layout = try #require(QuantizedLayout(rows: 1, columns: 32, scheme: unevenScheme(32)))
    var single = [Float](repeating: 0, count: 32)
    single[7] = -0.25
    let cases: [([Float], Float)] = [
      ([Float](repeating: 0, count: 32), 0), ([Float](repeating: 0.5, count: 32), 0x1p-11), (single, 0x1p-11),
      ([Float](repeating: 1e-9, count: 32), 2e-9), ([Float](repeating: -1e-6, count: 32), 1e-6),
      ((0..<32).map { Float($0 % 2 * 2 - 1) * 60000 }, 60000 / 16),
      ((0..<32).map { Float($0 % 2 * 2 - 1) * layout.greatestMagnitude }, layout.greatestMagnitude / 6),
    ]
    for (values, bound) in cases {
      for method in Self.methods {
        let panel = try Panel(values, rows: 1, unevenScheme(32), method)
        for (value, restored) in zip(values, panel.restored) { #expect(abs(value - restored) <= bound, "\(values.prefix(2)) \(method)") }
      }
    }
    #expect(throws: QuantizationError.self) {
      _ = try Panel([Float](repeating: layout.greatestMagnitude * 1.01, count: 32), rows: 1, unevenScheme(32))
    }
  }
}
