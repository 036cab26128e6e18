import Quantization
import Tensors
import TestSupport
import Testing

struct ErrorBoundTests {
  /// Groups, whole and cut short.
  static let shapes: [(Int, Int)] = [32, 64, 96, 128, 256].flatMap { (group: Int) -> [(Int, Int)] in
    [(group, 2 * group), (group, group + group / 2 + 5)]
  }

  /// 8 bits: no value is further off than half a step, of scales rounded to 11 digits.
  @Test(arguments: [true, false], shapes)
  func eightBits(_ symmetric: Bool, _ shape: (group: Int, columns: Int)) throws {
    var numbers = SeededNumbers(8)
    for spread: Float in [1e-3, 0.02, 3, 1000] {
      let values = (0..<32 * shape.columns).map { _ in numbers.normal(spread) + (symmetric ? 0 : spread) }
      let panel = try Panel(values, rows: 32, scheme(8, shape.group, symmetric: symmetric))
      for (row, group) in groups(shape) {
        let range = row * shape.columns + group.lowerBound..<row * shape.columns + group.upperBound
        let part = values[range]
        let step = symmetric ? part.map(\.magnitude).max()! / 127 : (part.max()! - part.min()!) / 255
        // A scale is off by 2⁻¹¹ of itself, which the greatest code multiplies; so is a minimum.
        let bound = step * (0.5 + 0.13) + (symmetric ? 0 : part.min()!.magnitude / 2048) + 0x1p-25 * 255
        for (value, restored) in zip(part, panel.restored[range]) { #expect(abs(value - restored) <= bound) }
      }
    }
  }

  /// 3 and 4 bits: never a greater squared error than the plain schemes', and on normal weights a much smaller one.
  @Test(arguments: [true, false], shapes)
  func fourBits(_ symmetric: Bool, _ shape: (group: Int, columns: Int)) throws {
    for bits in [3, 4] { try checkFewBits(bits, symmetric, shape) }
  }

  private func checkFewBits(_ bits: Int, _ symmetric: Bool, _ shape: (group: Int, columns: Int)) throws {
    var numbers = SeededNumbers(4)
    for spread: Float in [1e-3, 0.02, 3, 1000] {
      let values = (0..<32 * shape.columns).map { _ in numbers.normal(spread) + (symmetric ? 0 : 2 * spread) }
      let panel = try Panel(values, rows: 32, scheme(bits, shape.group, symmetric: symmetric))
      var (total, plainTotal) = (0.0, 0.0)
      for (row, group) in groups(shape) {
        let range = row * shape.columns + group.lowerBound..<row * shape.columns + group.upperBound
        let part = Array(values[range])
        let found = zip(part, panel.restored[range]).reduce(0.0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }
        let plain = plainError(part, bits, symmetric: symmetric)
        #expect(found <= plain * 1.0001)
        total += found
        plainTotal += plain
      }
      #expect(total < plainTotal * (symmetric ? 0.76 : 0.97))
    }
  }

  /// Constant groups, zeros, one weight among zeros, weights near the end of float16 on either side.
  @Test(arguments: [3, 4, 8], [true, false])
  func unusualGroups(_ bits: Int, _ symmetric: Bool) throws {
    let scheme = scheme(bits, 32, symmetric: symmetric)
    let layout = try #require(QuantizedLayout(rows: 1, columns: 32, scheme: scheme))
    var single = [Float](repeating: 0, count: 32)
    single[7] = -0.25
    let cases: [([Float], Float)] = [
      ([Float](repeating: 0, count: 32), 0), ([Float](repeating: 0.5, count: 32), 0x1p-12), (single, 0x1p-12),
      ([Float](repeating: 1e-9, count: 32), 2e-9), ([Float](repeating: -1e-6, count: 32), 1e-6),
      ((0..<32).map { Float($0 % 2) * 6e-8 }, 6e-8), ((0..<32).map { Float($0 % 2 * 2 - 1) * 60000 }, 60000 / (bits == 3 ? 6 : 14)),
      ((0..<32).map { Float($0 % 2 * 2 - 1) * layout.greatestMagnitude }, layout.greatestMagnitude / (bits == 3 ? 3 : 7)),
    ]
    for (values, bound) in cases {
      let panel = try Panel(values, rows: 1, scheme)
      for (value, restored) in zip(values, panel.restored) { #expect(abs(value - restored) <= bound, "\(values.prefix(2))") }
    }
  }

  @Test(arguments: [3, 4, 8], [true, false])
  func refusals(_ bits: Int, _ symmetric: Bool) throws {
    let scheme = scheme(bits, 32, symmetric: symmetric)
    let limit = try #require(QuantizedLayout(rows: 1, columns: 70, scheme: scheme)).greatestMagnitude
    for (value, isFinite) in [(Float.nan, false), (.infinity, false), (-.infinity, false), (3e38, true), (-limit * 1.01, true)] {
      for column in [0, 33, 69] {
        var values = [Float](repeating: 0.5, count: 3 * 70)
        values[2 * 70 + column] = value
        do throws(QuantizationError) {
          _ = try Panel(values, rows: 3, scheme)
          Issue.record("no error for \(value)")
        } catch {
          switch error {
          case .notFinite(let row, let found, _): #expect(!isFinite && row == 2 && found == column)
          case .tooLarge(let row, let found, let number, let most):
            #expect(isFinite && row == 2 && found == column && number == value && most == limit)
          }
          #expect(error.description.hasPrefix("weight [2, \(column)] is \(value)"))
        }
      }
    }
  }

  private func groups(_ shape: (group: Int, columns: Int)) -> [(row: Int, columns: Range<Int>)] {
    (0..<32).flatMap { row in
      stride(from: 0, to: shape.columns, by: shape.group).map { (row, $0..<min($0 + shape.group, shape.columns)) }
    }
  }

  /// max / 7, or the whole range in 15 steps, with the numbers that float16 leaves of it.
  private func plainError(_ values: [Float], _ bits: Int, symmetric: Bool) -> Double {
    let minimum = symmetric ? 0 : Float(Float16(values.min()!))
    let last = Float(1 << bits - 1)
    let half = Float(1 << (bits - 1) - 1)
    let scale = Float(Float16(symmetric ? values.map(\.magnitude).max()! / half : (values.max()! - minimum) / last))
    return values.reduce(0) { sum, value in
      let nearest = ((value - minimum) / scale).rounded(.toNearestOrEven)
      let code = symmetric ? min(half, max(-half - 1, nearest)) : min(last, max(0, nearest))
      let error = Double(value - minimum - scale * code)
      return sum + error * error
    }
  }
}
