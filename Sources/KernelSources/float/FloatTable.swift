import CIntrinsics
import Kernels

/// The float kernels as this module's instruction set has them.
package let floatKernels = FloatKernels(
  multiply: { multiply($0, $1, $2, $3, $4, $5, $6, $7, $8) },
  multiplyTransposed: { multiplyTransposed($0, $1, $2, $3, $4, $5, $6, $7, $8) },
  multiplyHalf: { multiplyHalf($0, $1, $2, $3, $4, $5, $6, $7, $8) },
  halfRows: Int(FLOAT_HALF_ROWS),
  packPanel: { packPanel($0, $1, $2, $3, $4, $5) },
  multiplyVector: { multiplyVector($0, $1, $2, $3, $4, $5, $6) },
  toFloat: { toFloat($0, $1, $2, $3) },
  toHalf: { toHalf($0, $1, $2) },
  layerNorm: { layerNorm($0, $1, $2, $3, $4, $5) },
  rmsNorm: { rmsNorm($0, $1, $2, $3, $4) },
  gatedSilu: { gatedSilu($0, $1, $2, $3) },
  addMultiple: { addMultiple($0, $1, $2, $3) },
  scale: { scale($0, $1, $2) },
  maximum: { maximum($0, $1) },
  exponentiate: { exponentiate($0, $1, $2) },
  softmaxColumns: { softmaxColumns($0, $1, $2, $3, $4, $5) },
  rotate: { rotate($0, $1, $2, $3, $4) },
  depthwise7x7: { depthwise7x7($0, $1, $2, $3, $4, $5, $6, $7) },
  finishTile: { finishTile($0, $1, $2, $3, $4, $5, $6, $7) },
  codes: CodeKernels(
    greatestMagnitude: { greatestMagnitude($0, $1) }, toCodes: { toCodes($0, $1, $2, $3) }, fromCodes: { fromCodes($0, $1, $2, $3) },
    greatestMagnitudes: { greatestMagnitudes($0, $1, $2) }, toCodesOfRows: { toCodesOfRows($0, $1, $2, $3, $4) },
    takeDigit: { takeDigit($0, $1, $2, $3) }, addDigits: { addDigits($0, $1, $2, $3, $4) }))

func finishTile(
  _ finish: TileFinish, _ tile: UnsafePointer<Float>, _ tokens: Int, _ columns: Int, _ bias: UnsafePointer<Float>?,
  _ scale: UnsafePointer<Float>?, _ output: UnsafeMutablePointer<Float>, _ stride: Int
) {
  switch finish {
  case .store:
    rows(tile, tokens, columns, bias, output, stride) { product, _, _, _ in product }
  case .activated(.gelu):
    rows(tile, tokens, columns, bias, output, stride) { product, _, _, _ in gaussianErrorLinear(product) }
  case .activated(.geluTanh):
    rows(tile, tokens, columns, bias, output, stride) { product, _, _, _ in gaussianErrorLinearByTanh(product) }
  case .activated(.quickGelu):
    rows(tile, tokens, columns, bias, output, stride) { product, _, _, _ in product.times(sigmoidOf: product * Wide(repeating: 1.702)) }
  case .addTo:
    if let scale {
      rows(tile, tokens, columns, bias, output, stride) { product, before, i, part in
        multiplyAdd(loadWide(scale + i, part), product, loadWide(before, part))
      }
    } else {
      rows(tile, tokens, columns, bias, output, stride) { product, before, _, part in loadWide(before, part) + product }
    }
  }
}

/// Calls `body(product + bias, pointer to the output, column, part)` for each vector of the tile and stores what it returns.
@inline(__always) private func rows(
  _ tile: UnsafePointer<Float>, _ tokens: Int, _ columns: Int, _ bias: UnsafePointer<Float>?,
  _ output: UnsafeMutablePointer<Float>, _ stride: Int, _ body: (Wide, UnsafeMutablePointer<Float>, Int, Int) -> Wide
) {
  for token in 0..<tokens {
    let from = tile + 32 * token
    let to = output + stride * token
    eachWide(columns) { i, part in
      // Past `columns` the tile has values too, so the load may be whole; the store may not.
      var product = loadWide(from + i)
      if let bias { product += loadWide(bias + i, part) }
      store(body(product, to + i, i, part), to + i, part)
    }
  }
}
