import Compute
import Kernels
import Measurement
import Parallel
import Support
import Tensors

/// A layer of a vision transformer as wide as SigLIP so400m at 384 pixels, 8-bit weights with groups of 128, and its parts one by one;
/// before it the patches, whose weights are floats.
struct VisionLayer {
  let pixels = 384
  let patch = 14
  let tokens = 729
  let width = 1152
  let heads = 16
  let inner = 4304

  struct Part {
    let name: String
    let seconds: Double
    /// Multiply-adds, and whether of floats; nil where the part is none.
    let products: (count: Int, areFloats: Bool)?
  }

  private let engine: Engine

  init(_ kernels: KernelTable, _ pool: ThreadPool) throws { engine = try Engine(pool: pool, kernels: kernels) }

  func measure() throws -> [Part] {
    let x = try random(tokens, width)
    let (queries, keys, values) = try (zeros(width), zeros(width), zeros(width))
    let attended = try random(tokens, width)
    let norm = RowNorm.layer(weight: try random(1, width), bias: try random(1, width), epsilon: 1e-6)
    let square = try (0..<4).map { _ in try weight(rows: width, columns: width) }
    let (fc1, fc2) = try (weight(rows: inner, columns: width), weight(rows: width, columns: inner))
    let (bias, innerBias) = try (random(1, width), random(1, inner))
    let scale = try random(1, width)
    let cache = try KeyValueCache(heads: heads, headDimension: width / heads, capacity: tokens, type: .float32)
    let narrow = try zeros(width)

    let picture = try random(pixels * pixels, 3)
    let inputs = try Matrix(rows: tokens, columns: 3 * patch * patch)
    let patches = WeightMatrix(try random(width, 3 * patch * patch))
    let embed = { () throws(ComputeError) in
      engine.gatherPatches(picture, side: pixels, patch: patch, to: inputs)
      try engine.linear(inputs, [LinearProduct(patches, bias: bias, to: attended)])
    }
    let project = { () throws(ComputeError) in
      try engine.linear(
        x, norm: norm,
        [
          LinearProduct(square[0], bias: bias, to: queries), LinearProduct(square[1], bias: bias, to: keys),
          LinearProduct(square[2], bias: bias, to: values),
        ])
    }
    let attend = { () throws(ComputeError) in try engine.attention(queries, heads: heads, keys: keys, values: values, to: attended) }
    let attendAsCodes = { () throws(ComputeError) in
      try engine.attention(queries, heads: heads, keys: keys, values: values, asCodes: true, to: attended)
    }
    let attendOverCache = { () throws(ComputeError) in
      cache.count = 0
      cache.append(keys: keys, values: values, interleaved: false, using: engine)
      try engine.attention(queries, heads: heads, over: cache, causalOffset: nil, to: narrow)
    }
    let join = { () throws(ComputeError) in
      try engine.linear(attended, [LinearProduct(square[3], bias: bias, .addTo(scale: scale), to: x)])
    }
    let perceptron = { (activation: Activation) throws(ComputeError) in
      try engine.perceptron(
        x, norm: norm, .activated(fc1, bias: innerBias, by: activation), LinearProduct(fc2, bias: bias, .addTo(scale: scale), to: x))
    }

    let attention = 2 * tokens * tokens * width
    let projections = tokens * width * width
    let perceptronProducts = 2 * tokens * width * inner
    return try [
      Part(name: "patches", seconds: time(embed), products: (tokens * width * 3 * patch * patch, true)),
      Part(name: "LayerNorm, q, k, v", seconds: time(project), products: (3 * projections, false)),
      Part(name: "attention, floats", seconds: time(attend), products: (attention, true)),
      Part(name: "attention, int8", seconds: time(attendAsCodes), products: (attention, false)),
      Part(name: "attention over a cache", seconds: time(attendOverCache), products: (attention, true)),
      Part(name: "out", seconds: time(join), products: (projections, false)),
    ]
      + Activation.allCases.map { activation in
        let run = { () throws(ComputeError) in try perceptron(activation) }
        return Part(name: "LayerNorm, fc1, \(activation), fc2", seconds: try time(run), products: (perceptronProducts, false))
      }
      + [
        Part(
          name: "a layer with geluTanh",
          seconds: time { () throws(ComputeError) in
            try project()
            try attendAsCodes()
            try join()
            try perceptron(.geluTanh)
          }, products: nil)
      ]
  }

  /// Values a second of an activation, of which each processor has a tile of 32 columns in its first-level cache.
  static func activationsPerSecond(_ activation: Activation, _ kernels: FloatKernels, _ pool: ThreadPool) -> Double {
    let (rows, repetitions) = (64, 500)
    let tiles = (0..<pool.threadCount).compactMap { _ in AlignedMemory(byteCount: 2 * rows * panelRows * 4) }
    let seconds = fastest(budget: 0.2) {
      pool.forEach(pool.threadCount) { _, worker in
        let tile = tiles[worker].base.assumingMemoryBound(to: Float.self)
        for _ in 0..<repetitions {
          kernels.finishTile(.activated(activation), tile, rows, panelRows, nil, nil, tile + rows * panelRows, panelRows)
        }
      }
    }
    return Double(pool.threadCount * repetitions * rows * panelRows) / seconds
  }

  private func time(_ body: () throws(ComputeError) -> Void) throws -> Double {
    try body()
    var failure: (any Error)?
    let seconds = fastest(budget: 1) {
      do { try body() } catch { failure = error }
    }
    if let failure { throw failure }
    return seconds
  }

  private func zeros(_ columns: Int) throws -> Matrix { try Matrix(rows: tokens, columns: columns) }

  private func random(_ rows: Int, _ columns: Int) throws -> Matrix {
    let matrix = try Matrix(rows: rows, columns: columns)
    var state: UInt32 = 1
    for index in 0..<rows * columns {
      state = state &* 1_664_525 &+ 1_013_904_223
      matrix.pointer[index] = Float(Int32(bitPattern: state)) / 0x1p31
    }
    return matrix
  }

  private func weight(rows: Int, columns: Int) throws -> WeightMatrix {
    let scheme = QuantizedScheme(bits: 8, group: 128, isSymmetric: true)
    guard let layout = QuantizedLayout(rows: rows, columns: columns, scheme: scheme),
      let memory = AlignedMemory(byteCount: layout.codeBytes + layout.scaleBytes)
    else { throw ComputeError.outOfMemory(bytes: .max) }
    var state: UInt64 = 1
    for place in 0..<layout.codeBytes / 8 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      memory.base.storeBytes(of: state ^ state >> 29, toByteOffset: 8 * place, as: UInt64.self)
    }
    let scales = (memory.base + layout.codeBytes).initializeMemory(as: UInt16.self, repeating: 0x0a00, count: layout.scaleBytes / 2)
    return WeightMatrix(
      rows: rows, columns: columns,
      storage: .quantized(layout, QuantizedPlanes(codes: UnsafeRawPointer(memory.base), scales: UnsafePointer(scales), minima: nil)),
      owner: memory)
  }
}
