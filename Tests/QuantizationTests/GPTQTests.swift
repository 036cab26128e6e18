import Compute
import Foundation
import Kernels
import Parallel
import Quantization
import Tensors
import TestSupport
import Testing

/// Weights and inputs as trained layers have them: inputs of low rank with some channels far louder than the others.
struct StructuredLayer {
  let rows: Int
  let columns: Int
  var weights: [Float]
  /// `[samples][columns]`.
  var inputs: [Float]
  let samples: Int

  init(rows: Int, columns: Int, samples: Int, seed: UInt64) {
    var numbers = SeededNumbers(seed)
    let rank = max(2, columns / 6)
    let basis = (0..<rank * columns).map { _ in numbers.normal(1) }
    let loudness = (0..<columns).map { $0 % 37 == 5 ? Float(12) : exp(numbers.normal(0.6)) }
    var inputs: [Float] = []
    for _ in 0..<samples {
      let factors = (0..<rank).map { _ in numbers.normal(1) }
      for column in 0..<columns {
        var value = numbers.normal(0.3)
        for k in 0..<rank { value += factors[k] * basis[k * columns + column] / Float(rank).squareRoot() }
        inputs.append(value * loudness[column])
      }
    }
    self.inputs = inputs
    weights = (0..<rows * columns).map { _ in numbers.normal(0.05) }
    (self.rows, self.columns, self.samples) = (rows, columns, samples)
  }

  /// Σ ‖(W − Ŵ) x‖² over the inputs.
  func outputError(_ restored: [Float]) -> Double {
    var total = 0.0
    for row in 0..<rows {
      let difference = (0..<columns).map { Double(weights[row * columns + $0]) - Double(restored[row * columns + $0]) }
      for sample in 0..<samples {
        var sum = 0.0
        for column in 0..<columns { sum += difference[column] * Double(inputs[sample * columns + column]) }
        total += sum * sum
      }
    }
    return total
  }
}

/// Planes of a whole matrix and what they stand for.
struct QuantizedMatrix {
  let layout: QuantizedLayout
  var restored: [Float]
  var codes: [UInt8]
  var scales: [UInt16]
  var minima: [UInt16]

  init(
    _ layer: StructuredLayer, _ scheme: QuantizedScheme,
    _ fill: (QuantizedLayout, UnsafeMutableRawPointer, inout [UInt16], inout [UInt16]) throws -> Void
  )
    throws
  {
    let layout = try #require(QuantizedLayout(rows: layer.rows, columns: layer.columns, scheme: scheme))
    let panels = QuantizedLayout.panels(rows: layer.rows)
    var codes = [UInt8](repeating: 0xee, count: panels * layout.panelCodeBytes)
    var scales = [UInt16](repeating: 0xeeee, count: panels * layout.panelScaleCount)
    var minima = scales
    try codes.withUnsafeMutableBytes { bytes in try fill(layout, try #require(bytes.baseAddress), &scales, &minima) }
    var restored = [Float](repeating: .nan, count: layer.rows * layer.columns)
    codes.withUnsafeBytes { bytes in
      for panel in 0..<panels {
        let first = panel * QuantizedLayout.panelRows
        restored.withUnsafeMutableBufferPointer { values in
          scales.withUnsafeBufferPointer { scales in
            minima.withUnsafeBufferPointer { minima in
              layout.dequantize(
                codes: bytes.baseAddress! + panel * layout.panelCodeBytes, scales: scales.baseAddress! + panel * layout.panelScaleCount,
                minima: minima.baseAddress! + panel * layout.panelScaleCount, rows: min(32, layer.rows - first),
                to: values.baseAddress! + first * layer.columns, stride: layer.columns)
            }
          }
        }
      }
    }
    (self.layout, self.restored, self.codes, self.scales, self.minima) = (layout, restored, codes, scales, minima)
  }

  /// Without a Hessian.
  static func nearest(_ layer: StructuredLayer, _ scheme: QuantizedScheme, _ method: QuantizationMethod, moments: [Float]? = nil) throws
    -> Self
  {
    try Self(layer, scheme) { layout, codes, scales, minima in
      for panel in 0..<QuantizedLayout.panels(rows: layer.rows) {
        let first = panel * QuantizedLayout.panelRows
        try (moments ?? []).withUnsafeBufferPointer { weights in
          try scales.withUnsafeMutableBufferPointer { scales in
            try minima.withUnsafeMutableBufferPointer { minima in
              try layer.weights.withUnsafeBufferPointer { values in
                try layout.quantize(
                  values.baseAddress! + first * layer.columns, stride: layer.columns, rows: min(32, layer.rows - first),
                  PanelQuantizer(method, moments: moments == nil ? nil : weights.baseAddress), codes: codes + panel * layout.panelCodeBytes,
                  scales: scales.baseAddress! + panel * layout.panelScaleCount, minima: minima.baseAddress! + panel * layout.panelScaleCount
                )
              }
            }
          }
        }
      }
    }
  }

  static func compensated(
    _ layer: StructuredLayer, _ scheme: QuantizedScheme, ordersByActivation: Bool = false, threads: Int = 2, blocks: Int = 1
  ) throws -> Self {
    let kernels = try KernelChoice.kernelsFromEnvironment().float
    let pool = ThreadPool(threadCount: threads)
    let hessian = try hessian(layer, kernels, pool)
    let factor = try #require(HessianFactor(hessian, damping: 0.01, ordersByActivation: ordersByActivation, kernels, pool))
    return try Self(layer, scheme) { layout, codes, scales, minima in
      let gptq = GPTQ(layout, factor, kernels)
      var weights = [Float](repeating: .nan, count: layer.rows * gptq.stride)
      for row in 0..<layer.rows {
        for column in 0..<layer.columns { weights[row * gptq.stride + column] = layer.weights[row * layer.columns + column] }
      }
      let isDone = try gptq.quantize(&weights, rows: layer.rows, codes: codes, scales: &scales, minima: &minima, pool)
      #expect(isDone)
    }
  }

  static func hessian(_ layer: StructuredLayer, _ kernels: FloatKernels, _ pool: ThreadPool) throws -> Hessian {
    let hessian = try #require(Hessian(count: layer.columns))
    // In two parts, as clips come.
    let half = layer.samples / 3
    layer.inputs.withUnsafeBufferPointer { x in
      #expect(hessian.add(x.baseAddress!, rowStride: layer.columns, tokens: half, kernels, pool))
      #expect(
        hessian.add(x.baseAddress! + half * layer.columns, rowStride: layer.columns, tokens: layer.samples - half, kernels, pool))
    }
    #expect(hessian.samples == layer.samples)
    return hessian
  }
}

struct GPTQTests {
  static let schemes = [(3, 64, true), (3, 128, false), (4, 32, true), (4, 64, true), (4, 128, false), (8, 64, true)]

  /// What it is for: with inputs that hang together, a much smaller error of the outputs than rounding to nearest.
  @Test(arguments: schemes)
  func beatsRoundingToNearest(_ bits: Int, _ group: Int, _ symmetric: Bool) throws {
    let layer = StructuredLayer(rows: 70, columns: 200, samples: 700, seed: 3)
    let scheme = scheme(bits, group, symmetric: symmetric)
    let rtn = layer.outputError(try QuantizedMatrix.nearest(layer, scheme, .rtn).restored)
    let moments = (0..<layer.columns).map { column in
      (0..<layer.samples).reduce(Float(0)) { $0 + layer.inputs[$1 * layer.columns + column] * layer.inputs[$1 * layer.columns + column] }
    }
    let searched = layer.outputError(try QuantizedMatrix.nearest(layer, scheme, .search, moments: moments).restored)
    let gptq = layer.outputError(try QuantizedMatrix.compensated(layer, scheme).restored)
    let ordered = layer.outputError(try QuantizedMatrix.compensated(layer, scheme, ordersByActivation: true).restored)
    #expect(bits == 8 || searched < 0.8 * rtn)
    #expect(gptq < 0.35 * rtn, "\(gptq / rtn)")
    #expect(ordered < 0.35 * rtn, "\(ordered / rtn)")
  }

  /// The same with uneven levels, whose error is less than even ones'.
  @Test func unevenLevels() throws {
    let layer = StructuredLayer(rows: 70, columns: 200, samples: 700, seed: 3)
    let rtn = layer.outputError(try QuantizedMatrix.nearest(layer, unevenScheme(32), .rtn).restored)
    let even = layer.outputError(try QuantizedMatrix.compensated(layer, scheme(4, 32, symmetric: true)).restored)
    for ordersByActivation in [false, true] {
      let found = try QuantizedMatrix.compensated(layer, unevenScheme(32), ordersByActivation: ordersByActivation)
      let error = layer.outputError(found.restored)
      #expect(error < 0.35 * rtn && error < 0.95 * even, "\(error / rtn) \(error / even)")
    }
  }

  /// The published algorithm, written down plainly in double precision: inverse of the Hessian, its upper Cholesky factor, one column after
  /// the other. Scales are taken from what is tested; codes must be the same but where a value lies between two.
  @Test(arguments: [
    scheme(3, 32, symmetric: true), scheme(4, 32, symmetric: true), scheme(4, 64, symmetric: false), scheme(8, 32, symmetric: true),
    unevenScheme(32),
  ])
  func agreesWithThePublishedForm(_ scheme: QuantizedScheme) throws {
    let layer = StructuredLayer(rows: 33, columns: 96, samples: 300, seed: 11)
    let found = try QuantizedMatrix.compensated(layer, scheme)
    let expected = reference(layer, scheme, found)
    var different = 0
    for (a, b) in zip(found.restored, expected) where abs(a - b) > 1e-4 { different += 1 }
    #expect(different * 100 <= expected.count, "\(different) of \(expected.count)")
    let (mine, reference) = (layer.outputError(found.restored), layer.outputError(expected))
    #expect(abs(mine - reference) < 0.02 * reference)
  }

  private func reference(_ layer: StructuredLayer, _ scheme: QuantizedScheme, _ found: QuantizedMatrix) -> [Float] {
    let n = layer.columns
    var h = [[Double]](repeating: [Double](repeating: 0, count: n), count: n)
    for sample in 0..<layer.samples {
      for i in 0..<n {
        for j in 0..<n { h[i][j] += Double(layer.inputs[sample * n + i]) * Double(layer.inputs[sample * n + j]) }
      }
    }
    let mean = (0..<n).reduce(0.0) { $0 + h[$1][$1] } / Double(n)
    for i in 0..<n { h[i][i] += 0.01 * mean }
    let u = upperCholesky(inverse(h))
    var result = [Float](repeating: 0, count: layer.weights.count)
    for row in 0..<layer.rows {
      var w = (0..<n).map { Double(layer.weights[row * n + $0]) }
      for j in 0..<n {
        let place = (row / 32 * found.layout.groups + j / scheme.group) * 32 + row % 32
        let scale = Double(Float(Float16(bitPattern: found.scales[place])))
        let minimum = scheme.isSymmetric ? 0 : Double(Float(Float16(bitPattern: found.minima[place])))
        let least = scheme.isSymmetric ? (scheme.bits == 8 ? -127.0 : -Double(scheme.zero)) : 0
        let greatest = scheme.isSymmetric ? Double(scheme.greatestCode - scheme.zero) : Double(scheme.greatestCode)
        let x = (w[j] - minimum) / scale
        let level = QuantizedScheme.unevenLevels.map(Double.init).min { abs($0 - x) < abs($1 - x) } ?? 0
        let q = scale == 0 ? 0 : scheme.isUneven ? level : min(greatest, max(least, x.rounded(.toNearestOrEven)))
        let value = minimum + scale * q
        result[row * n + j] = Float(value)
        let error = (w[j] - value) / u[j][j]
        for k in j + 1..<max(j + 1, n) { w[k] -= error * u[j][k] }
      }
    }
    return result
  }

  private func inverse(_ matrix: [[Double]]) -> [[Double]] {
    let n = matrix.count
    var a = matrix
    var b = (0..<n).map { i in (0..<n).map { $0 == i ? 1.0 : 0 } }
    for p in 0..<n {
      let pivot = a[p][p]
      for j in 0..<n {
        a[p][j] /= pivot
        b[p][j] /= pivot
      }
      for i in 0..<n where i != p {
        let factor = a[i][p]
        for j in 0..<n {
          a[i][j] -= factor * a[p][j]
          b[i][j] -= factor * b[p][j]
        }
      }
    }
    return b
  }

  /// `matrix = uᵀ·u`.
  private func upperCholesky(_ matrix: [[Double]]) -> [[Double]] {
    let n = matrix.count
    var u = [[Double]](repeating: [Double](repeating: 0, count: n), count: n)
    for i in 0..<n {
      for j in i..<n {
        var sum = matrix[i][j]
        for k in 0..<i { sum -= u[k][i] * u[k][j] }
        u[i][j] = i == j ? sum.squareRoot() : sum / u[i][i]
      }
    }
    return u
  }

  /// The same bytes with any number of threads, and from rows in any number of calls.
  @Test func isDeterministic() throws {
    let layer = StructuredLayer(rows: 64, columns: 130, samples: 150, seed: 5)
    let one = try QuantizedMatrix.compensated(layer, scheme(4, 64, symmetric: true), threads: 1)
    let three = try QuantizedMatrix.compensated(layer, scheme(4, 64, symmetric: true), threads: 3)
    #expect(one.codes == three.codes && one.scales == three.scales)
  }

  /// Inputs that were never seen, and fewer samples than inputs: still a sane matrix.
  @Test func degenerateInputs() throws {
    var layer = StructuredLayer(rows: 32, columns: 100, samples: 9, seed: 6)
    for sample in 0..<layer.samples {
      for column in 40..<60 { layer.inputs[sample * layer.columns + column] = 0 }
    }
    for ordered in [false, true] {
      let found = try QuantizedMatrix.compensated(layer, scheme(4, 32, symmetric: true), ordersByActivation: ordered)
      #expect(zip(found.restored, layer.weights).allSatisfy { $0.isFinite && abs($0 - $1) < 0.2 })
      let rtn = try QuantizedMatrix.nearest(layer, scheme(4, 32, symmetric: true), .rtn)
      #expect(layer.outputError(found.restored) < layer.outputError(rtn.restored))
    }
    layer.inputs = layer.inputs.map { _ in 0 }
    let blind = try QuantizedMatrix.compensated(layer, scheme(4, 32, symmetric: true))
    let searched = try QuantizedMatrix.nearest(layer, scheme(4, 32, symmetric: true), .search)
    #expect(zip(blind.restored, searched.restored).allSatisfy { abs($0 - $1) < 0.05 })
  }

  @Test func refusesWhatDoesNotFit() throws {
    var layer = StructuredLayer(rows: 40, columns: 64, samples: 20, seed: 7)
    layer.weights[35 * 64 + 33] = 1e30
    #expect(throws: QuantizationError.self) { try QuantizedMatrix.compensated(layer, scheme(4, 32, symmetric: true)) }
  }
}
