import CIntrinsics
import Kernels

/// The float kernels as this module's instruction set has them.
public let floatKernels = FloatKernels(
  multiply: { multiply($0, $1, $2, $3, $4, $5, $6, $7, $8) },
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
  rotate: { rotate($0, $1, $2, $3, $4) },
  depthwise7x7: { depthwise7x7($0, $1, $2, $3, $4, $5, $6, $7) },
  finishTile: { finishTile($0, $1, $2, $3, $4, $5, $6, $7) })
