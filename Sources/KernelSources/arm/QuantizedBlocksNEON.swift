import Kernels

/// Many tokens: codes are unpacked to bytes in scratch, a block of inputs at a time, and `multiply` takes each tile of tokens over them.
@inline(__always)
func multiplyUnpacked(
  bits: Int, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutableRawPointer,
  _ multiply: (QuantizedTile) -> Void
) {
  multiplyInBlocks(bits: bits, panel, rows, output, words: 1, scratch: scratch) { first, groups in
    let codes = panel.codes + first * panel.group * panelRows * bits / 8
    if bits == 4 { unpack4(codes, groups * panel.group, scratch) } else { unpack8(codes, groups * panel.group, scratch) }
    return UnsafeRawPointer(scratch)
  } multiply: { tile in
    multiply(tile)
  }
}
