import CIntrinsics
import Kernels

/// A group's sums of all 32 rows and one token.
@inline(__always)
func addGroup(
  bits: Int, _ sums: InlineArray<24, neon_int32>, _ panel: QuantizedPanel, _ rows: QuantizedRows, _ group: Int,
  _ output: UnsafeMutablePointer<Float>
) {
  let halves = panel.scales + group * panelRows
  for index in 0..<8 {
    neon_add_scaled(output + 4 * index, sums[unchecked: index], neon_load_halves(halves + 4 * index), rows.scales[group])
  }
  if let minima = panel.minima {
    for index in 0..<8 {
      let row = 4 * index
      let minima = neon_minima(minima + group * panelRows + row, neon_load_halves(halves + row), bits == 4 ? 8 : 128)
      neon_add_minima(output + row, minima, rows.sums[group])
    }
  }
}
