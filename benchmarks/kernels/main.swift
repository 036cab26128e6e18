import Kernels
import KernelsAVX2
import Parallel

// kernel-bench: the quantized kernels beside the limits of this machine.

struct SplitMix64: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}

func best(_ repeats: Int, _ body: () -> Void) -> Double {
  var least = Double.infinity
  for _ in 0..<repeats {
    let time = ContinuousClock().measure(body)
    least = min(least, Double(time.components.attoseconds) * 1e-18 + Double(time.components.seconds))
  }
  return least
}

let kernels = quantizedKernelsAVX2
let K = 3584, N = 1024
var rng = SplitMix64(state: 1)
for threads in [1, 2] {
  let pool = ThreadPool(threadCount: threads)
  for bits in [4, 8] {
    for group in [32, 64, 128] {
      let panels = N / 32
      let codeBytes = K * 32 * bits / 8
      let codes = AlignedMemory(byteCount: panels * codeBytes)!
      for i in 0..<panels * codeBytes / 8 { codes.base.storeBytes(of: rng.next(), toByteOffset: 8 * i, as: UInt64.self) }
      let groups = K / group
      let scales = AlignedMemory(byteCount: panels * groups * 64)!
      for i in 0..<panels * groups * 32 { scales.base.storeBytes(of: Float16(0.01).bitPattern, toByteOffset: 2 * i, as: UInt16.self) }
      for count in [1, 4, 12, 96, 512] {
        let memory = AlignedMemory(byteCount: QuantizedRows.byteCount(count: count, groups: groups, group: group))!
        let rows = QuantizedRows(memory: memory.base, count: count, groups: groups, group: group)
        let x = (0..<K).map { _ in Float.random(in: -1...1, using: &rng) }
        for t in 0..<count { kernels.quantizeRow(x, K, rows, t) }
        let output = (0..<threads).map { _ in AlignedMemory(byteCount: count * 128)! }
        let scratch = (0..<threads).map { _ in AlignedMemory(byteCount: kernels.scratchBytes)! }
        let multiply = bits == 4 ? kernels.multiply4 : kernels.multiply8
        let seconds = best(max(3, 2000 / count)) {
          pool.forEach(panels) { panel, worker in
            let p = QuantizedPanel(
              codes: codes.base + panel * codeBytes,
              scales: UnsafePointer((scales.base + panel * groups * 64).assumingMemoryBound(to: UInt16.self)), minima: nil, groups: groups, group: group)
            multiply(p, rows, output[worker].base.assumingMemoryBound(to: Float.self), scratch[worker].base)
          }
        }
        print("threads \(threads) bits \(bits) group \(group) tokens \(count): \(Double(K * N * count) / seconds / 1e9) GMAC/s  \(Double(panels * codeBytes) / seconds / 1e9) GB/s")
      }
    }
  }
}
