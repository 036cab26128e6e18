import Kernels
import Measurement
import Parallel
import Support

/// A quantized matrix of random codes, larger than the caches in 8 bits as in 4: several copies, read in turn.
struct RandomMatrix {
  private let rows: Int
  private let columns: Int
  private let bits: Int
  private let isUneven: Bool
  private let group: Int
  private let codes: AlignedMemory
  private let scales: AlignedMemory
  private let copies: Int

  private var groups: Int { columns / group }
  private var panels: Int { rows / panelRows }
  private var codesPerPanel: Int { columns * panelRows * bits / 8 }
  private var scalesPerPanel: Int { groups * panelRows * 2 }

  init(rows: Int, columns: Int, bits: Int, isUneven: Bool, group: Int) {
    (self.rows, self.columns, self.bits, self.isUneven, self.group) = (rows, columns, bits, isUneven, group)
    copies = (200 << 20) / (rows * columns * bits / 8)
    let codeBytes = copies * rows * columns * bits / 8
    let scaleCount = copies * rows * columns / group
    guard let codes = AlignedMemory(byteCount: codeBytes), let scales = AlignedMemory(byteCount: scaleCount * 2) else {
      preconditionFailure("no memory")
    }
    var state: UInt64 = 1
    for place in 0..<codeBytes / 8 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      codes.base.storeBytes(of: state ^ state >> 29, toByteOffset: 8 * place, as: UInt64.self)
    }
    scales.base.initializeMemory(as: UInt16.self, repeating: 0x2000, count: scaleCount)
    self.codes = codes
    self.scales = scales
  }

  private func panel(_ index: Int) -> QuantizedPanel {
    QuantizedPanel(
      codes: codes.base + index * codesPerPanel,
      scales: UnsafePointer((scales.base + index * scalesPerPanel).assumingMemoryBound(to: UInt16.self)), minima: nil, groups: groups,
      group: group)
  }

  /// One token, all copies one after the other: from memory.
  func bytesPerSecond(_ kernels: QuantizedKernels, _ pool: ThreadPool) -> Double {
    let seconds = time(kernels, pool, tokens: 1, panels: copies * panels)
    return Double(copies * panels * (codesPerPanel + scalesPerPanel)) / seconds
  }

  /// Many tokens, some of the panels: they stay in the second-level cache.
  func productsPerSecond(_ kernels: QuantizedKernels, _ pool: ThreadPool, tokens: Int) -> Double {
    let some = min(panels, max(2 * pool.threadCount, 192 / tokens))
    return Double(some * panelRows * columns * tokens) / time(kernels, pool, tokens: tokens, panels: some)
  }

  /// All copies one after the other, so that codes come from memory while others are multiplied.
  func productsPerSecondFromMemory(_ kernels: QuantizedKernels, _ pool: ThreadPool, tokens: Int) -> Double {
    Double(copies * panels * panelRows * columns * tokens) / time(kernels, pool, tokens: tokens, panels: copies * panels)
  }

  private func time(_ kernels: QuantizedKernels, _ pool: ThreadPool, tokens: Int, panels count: Int) -> Double {
    let x = (0..<columns).map { Float($0 % 255 - 127) }
    guard let memory = AlignedMemory(byteCount: QuantizedRows.byteCount(count: tokens, groups: groups, group: group)) else {
      return .infinity
    }
    let activations = QuantizedRows(memory: memory.base, count: tokens, groups: groups, group: group)
    kernels.quantizeRows(x, 0, columns, activations, 0..<tokens, 0..<activations.groups)
    let outputs = (0..<pool.threadCount).compactMap { _ in AlignedMemory(byteCount: tokens * panelRows * 4) }
    let scratch = (0..<pool.threadCount).compactMap { _ in AlignedMemory(byteCount: kernels.scratchBytes(bits: bits, columns: columns)) }
    return fastest {
      pool.forEachInRuns(count) { index, worker in
        let output = outputs[worker].base.assumingMemoryBound(to: Float.self)
        kernels.multiply(bits: bits, isUneven: isUneven, panel(index), activations, output, scratch[worker].base)
      }
    }
  }
}
