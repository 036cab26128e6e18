import Compute
import Kernels
import TestSupport
import Testing

/// Floats to codes of 8 bits and back, and floats as two digits.
@Suite struct CodeKernelTests {
  private func kernels(_ name: String) throws -> KernelTable { try KernelChoice.kernels(named: name) }

  @Test(arguments: kernelNames)
  func codesAndBack(_ name: String) throws {
    let codes = try kernels(name).float.codes
    var numbers = SeededNumbers(1)
    for count in Array(1...70) + [128, 256] {
      let x = numbers.floats(count, in: -3...3)
      let greatest = codes.greatestMagnitude(x, count)
      #expect(greatest == x.reduce(0) { max($0, abs($1)) })
      var stored = [UInt8](repeating: 7, count: count + 1)
      var back = [Float](repeating: 7, count: count + 1)
      codes.toCodes(x, count, 127 / greatest, &stored)
      codes.fromCodes(stored, count, greatest / 127, &back)
      let expected = x.map { UInt8(128 + ($0 * (127 / greatest)).rounded(.toNearestOrEven)) }
      #expect(Array(stored[..<count]) == expected && stored[count] == 7)
      #expect(Array(back[..<count]) == expected.map { greatest / 127 * (Float($0) - 128) } && back[count] == 7)
    }
    for odd in [Float.nan, .infinity, -.infinity] {
      for index in [0, 18, 36] {
        var x = [Float](repeating: 2, count: 37)
        x[index] = odd
        #expect(!codes.greatestMagnitude(x, 37).isFinite)
      }
    }
  }

  /// A panel's rows from the columns of `[count][32]`.
  @Test(arguments: kernelNames)
  func codesOfRows(_ name: String) throws {
    let codes = try kernels(name).float.codes
    var numbers = SeededNumbers(3)
    for (count, padded) in [(1, 4), (2, 32), (3, 4), (4, 4), (5, 32), (71, 96), (128, 128)] {
      let x = numbers.floats(32 * count, in: -3...3)
      let columns = (0..<32).map { column in (0..<count).map { x[32 * $0 + column] } }
      var greatest = [Float](repeating: 7, count: 33)
      codes.greatestMagnitudes(x, count, &greatest)
      #expect(greatest == columns.map { $0.reduce(0) { max($0, abs($1)) } } + [7])
      var stored = [UInt8](repeating: 7, count: 32 * padded + 1)
      let inverses = greatest[..<32].map { 127 / $0 }
      codes.toCodesOfRows(x, count, padded, inverses, &stored)
      for (row, column) in columns.enumerated() {
        var expected = [UInt8](repeating: 128, count: padded)
        codes.toCodes(column, count, inverses[row], &expected)
        let found: [UInt8] = (0..<padded).map { (input: Int) -> UInt8 in
          let place = input / 4 * 128 + 4 * row
          return stored[place + input % 4]
        }
        #expect(found == expected)
      }
      #expect(stored[32 * padded] == 7)
    }
    for odd in [Float.nan, .infinity, -.infinity] {
      var x = [Float](repeating: 2, count: 96)
      x[32 + 5] = odd
      var greatest = [Float](repeating: 7, count: 32)
      codes.greatestMagnitudes(x, 3, &greatest)
      for column in 0..<32 { #expect(greatest[column].isFinite == (column != 5)) }
    }
  }

  /// What a digit leaves is what quantizing leaves, to be quantized in turn.
  @Test(arguments: kernelNames)
  func takesDigits(_ name: String) throws {
    let kernels = try kernels(name)
    var numbers = SeededNumbers(2)
    for count in Array(1...40) + [100, 128] {
      let factors = numbers.floats(count, in: 0.5...2)
      let given = numbers.floats(count, in: -1...1)
      var x = given
      var rest = [Float](repeating: 7, count: count + 1)
      kernels.float.codes.takeDigit(&x, factors, count, &rest)
      #expect(x == zip(given, factors).map { $0 * $1 } && rest[count] == 7)
      let scale = x.reduce(0) { max($0, abs($1)) } / 127
      for (value, left) in zip(x, rest) {
        let digit = (Double(value - left) / Double(scale)).rounded()
        #expect(abs(left) <= scale * 0.5001 && abs(digit) <= 127)
        #expect(abs(Double(value) - digit * Double(scale) - Double(left)) <= 1e-6 * Double(scale) * 127)
      }
      // Without factors nothing is multiplied.
      var same = x
      var again = [Float](repeating: 0, count: count)
      kernels.float.codes.takeDigit(&same, nil, count, &again)
      #expect(same == x && again == Array(rest[..<count]))
    }
    var zeros = [Float](repeating: 0, count: 32)
    var rest = [Float](repeating: 7, count: 32)
    kernels.float.codes.takeDigit(&zeros, nil, 32, &rest)
    #expect(rest.allSatisfy { $0 == 0 })
  }

  @Test(arguments: kernelNames)
  func addsDigits(_ name: String) throws {
    let codes = try kernels(name).float.codes
    var numbers = SeededNumbers(3)
    for rows in 1...5 {
      let products = numbers.floats(2 * rows * 32)
      let before = numbers.floats(rows * 40)
      for accumulates in [false, true] {
        var sums = before
        codes.addDigits(rows, products, &sums, 40, accumulates)
        for row in 0..<rows {
          for column in 0..<40 {
            let index = row * 40 + column
            let sum = column < 32 ? products[row * 32 + column] + products[(rows + row) * 32 + column] : 0
            #expect(sums[index] == (column < 32 ? (accumulates ? before[index] + sum : sum) : before[index]))
          }
        }
      }
    }
  }

  @Test(arguments: KeyValueType.allCases, [1, 63, 64, 200])
  func rowsAreKept(type: KeyValueType, columns: Int) throws {
    let engine = try engine(kernelNames[0])
    var numbers = SeededNumbers(4)
    let matrix = try Matrix(6, columns, &numbers, in: -2...2).widened(by: 3)
    let rows = try StoredRows(rows: 9, columns: columns, type: type, on: engine)
    rows.store(matrix, at: 2)
    rows.copyRow(7, to: 8)
    let expected = [Float](repeating: 0, count: 2 * columns) + matrix.values + matrix[rows: 5..<6].values
    let worst = zip(rows.values, expected).reduce(0) { max($0, abs($1.0 - $1.1)) }
    #expect(worst <= (type == .float32 ? 0 : type == .float16 ? 0.001 : 1.01 / 127))
    let scratch = try Matrix(rows: 4, columns: columns)
    #expect(rows.load(3..<6, in: scratch).values == Array(rows.values[3 * columns..<6 * columns]))
    #expect(rows.load(3..<6, in: scratch, pool: engine.pool).values == Array(rows.values[3 * columns..<6 * columns]))
    #expect(rows.bytes.count == StoredRows.byteCount(rows: 9, columns: columns, type: type))
    let copy = try StoredRows(rows: 9, columns: columns, type: type, on: engine)
    copy.bytes.copyMemory(from: UnsafeRawBufferPointer(rows.bytes))
    #expect(copy.values == rows.values)
  }

  @Test func rowsOfTooManyBytes() throws {
    #expect(StoredRows.byteCount(rows: 98_304, columns: 3584, type: .int8) == 98_304 * 56 * 68)
    #expect(StoredRows.byteCount(rows: 1 << 60, columns: 3584, type: .float16) == .max)
    let engine = try engine(kernelNames[0])
    #expect(throws: ComputeError.outOfMemory(bytes: .max)) {
      try StoredRows(rows: 1 << 60, columns: 3584, type: .float16, on: engine)
    }
  }
}
