import Kernels

/// Up to this many tokens are multiplied straight from the packed codes: each code is read once, from memory, and unpacked in registers.
/// Nothing is asked for ahead: each thread reads from front to back, which the hardware's own prefetching follows best undisturbed (Zen 4: with
/// requests 2 KiB ahead a core reads 29 GB/s, without 32; also where pages are small, 25 and 28).
let directTokens = 4

func multiplyDirectly4(_ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>) {
  clear(output, rows.count)
  switch rows.count {
  case 1: direct4x1(panel, rows, output)
  case 2: direct4x2(panel, rows, output)
  case 3: direct4x3(panel, rows, output)
  default: direct4x4(panel, rows, output)
  }
}

func multiplyDirectly8(_ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>) {
  clear(output, rows.count)
  switch rows.count {
  case 1: direct8x1(panel, rows, output)
  case 2: direct8x2(panel, rows, output)
  case 3: direct8x3(panel, rows, output)
  default: direct8x4(panel, rows, output)
  }
}
