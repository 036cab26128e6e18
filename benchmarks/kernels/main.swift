// kernel-bench [KERNELS]: the quantized kernels and a layer of a vision transformer beside the limits of this machine, as tables.
//
// Rates are the best of many short runs: on a machine that others use too, that is what the code can do.
import Compute
import Foundation
import Kernels
import Measurement
import Parallel
import Support

let tables = KernelChoice.available.filter { CommandLine.arguments.count < 2 || CommandLine.arguments[1] == $0.name }
if tables.isEmpty {
  print("kernel-bench [\(KernelChoice.available.map(\.name).joined(separator: "|"))]")
  exit(2)
}
let processors = Resources.processors
for table in tables {
  for threads in Set([1, processors]).sorted() {
    let pool = ThreadPool(threadCount: threads)
    guard let limits = MachineLimits(table, pool) else { preconditionFailure("no memory") }
    print(
      "\n\(table.name), \(threads) threads: multiply-adds in registers \(format(limits.products)) GMAC/s, of floats in cache "
        + "\(format(limits.floatProducts)) GMAC/s, reading memory \(format(limits.bytes)) GB/s")
    print("bits group |  1 token: GB/s  %  | GMAC/s (% of the multiply-adds) at 4, 12, 96, 512 tokens | from memory at 48, 96")
    for (bits, isUneven) in [(3, false), (4, false), (4, true), (8, false)] {
      for group in [32, 64, 128] {
        let matrix = RandomMatrix(rows: 3584, columns: 3584, bits: bits, isUneven: isUneven, group: group)
        let bandwidth = matrix.bytesPerSecond(table.quantized, pool) / 1e9
        let rates = [4, 12, 96, 512].map { matrix.productsPerSecond(table.quantized, pool, tokens: $0) / 1e9 }
        let streamed = [48, 96].map { matrix.productsPerSecondFromMemory(table.quantized, pool, tokens: $0) / 1e9 }
        print(
          "\(bits)\(isUneven ? "u" : " ")   \(pad(group, 4)) | \(format(bandwidth)) \(percent(bandwidth, limits.bytes)) | "
            + rates.map { "\(format($0)) (\(percent($0, limits.products)))" }.joined(separator: "  ") + " | "
            + streamed.map { "\(format($0)) (\(percent($0, limits.products)))" }.joined(separator: "  "))
      }
    }
    print("SigLIP so400m's layer at 384 pixels |     ms   GMAC/s (% of the multiply-adds)")
    for part in try VisionLayer(table, pool).measure() {
      let rate = part.products.map { count, areFloats in
        let rate = Double(count) / part.seconds / 1e9
        return "\(format(rate)) (\(percent(rate, areFloats ? limits.floatProducts : limits.products))\(areFloats ? " of floats'" : ""))"
      }
      print("\(part.name.padding(toLength: 35, withPad: " ", startingAt: 0)) | \(format(1000 * part.seconds))   \(rate ?? "")")
    }
    for shape in CacheAttention.shapes {
      let contexts = CacheAttention.contexts(tokens: shape.tokens).map(String.init).joined(separator: ", ")
      print(
        "attention of \(shape.tokens) tokens, \(shape.heads)/\(shape.keyHeads) heads of \(shape.dimension), over \(contexts): "
          + "GMAC/s (% of floats')")
      for type in KeyValueType.allCases {
        let rates = try CacheAttention(table, pool).rates(shape, type).map { $0 / 1e9 }
        print(
          "\(type)".padding(toLength: 10, withPad: " ", startingAt: 0) + "| "
            + rates.map { "\(format($0)) (\(percent($0, limits.floatProducts)))" }.joined(separator: "  "))
      }
    }
    let activations = Activation.allCases.map { activation in
      "\(activation) \(format(VisionLayer.activationsPerSecond(activation, table.float, pool) / 1e9))"
    }
    print("activations in cache, 10⁹ values/s: " + activations.joined(separator: " "))
  }
}

func pad(_ value: Int, _ width: Int) -> String { String(repeating: " ", count: max(0, width - "\(value)".count)) + "\(value)" }
func format(_ value: Double) -> String { String(format: "%6.1f", value) }
func percent(_ value: Double, _ limit: Double) -> String { String(format: "%3.0f %%", 100 * value / limit) }
