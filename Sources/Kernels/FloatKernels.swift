import Tensors

/// Loops over 32-bit floats. One source for all instruction sets (`KernelSources/float`), compiled once for each.
package struct FloatKernels: Sendable {
  /// The inner product of matrices: `c[i · cStride + j] (+)= Σ_p a[i · aStride + p] · b[p · bStride + j]` for `i < m`, `j < 32`, `p < k`.
  /// `accumulate` adds to what `c` holds. Always 32 columns: callers pad.
  package var multiply:
    @Sendable (
      _ m: Int, _ k: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ b: UnsafePointer<Float>, _ bStride: Int,
      _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ accumulate: Bool
    ) -> Void

  /// The same with `a` the other way round: `c[i · cStride + j] (+)= Σ_p a[p · aStride + i] · b[p · bStride + j]`.
  package var multiplyTransposed:
    @Sendable (
      _ m: Int, _ k: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ b: UnsafePointer<Float>, _ bStride: Int,
      _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ accumulate: Bool
    ) -> Void

  /// The same with float16 bits as `b`, of which nothing is kept as floats: for few rows, which take less time than memory does.
  package var multiplyHalf:
    @Sendable (
      _ m: Int, _ k: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ b: UnsafePointer<UInt16>, _ bStride: Int,
      _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ accumulate: Bool
    ) -> Void
  /// Rows up to which `multiplyHalf` is better than `toFloat` and `multiply`; it can do any number.
  package var halfRows: Int

  /// `rows ≤ 32` rows of a row-major weight matrix, `columns` values of each, as a `[columns][32]` panel of floats, zero-filled on the
  /// right. `rowStride` is in values of the stored type.
  package var packPanel:
    @Sendable (
      _ type: ScalarType, _ weights: UnsafeRawPointer, _ rowStride: Int, _ rows: Int, _ columns: Int, _ panel: UnsafeMutablePointer<Float>
    ) -> Void

  /// `output[r] = Σ_k weights[r · rowStride + k] · x[k]` for `r < rows`: one token against a stored matrix, without packing.
  package var multiplyVector:
    @Sendable (
      _ type: ScalarType, _ weights: UnsafeRawPointer, _ rowStride: Int, _ rows: Int, _ columns: Int, _ x: UnsafePointer<Float>,
      _ output: UnsafeMutablePointer<Float>
    ) -> Void

  /// `count` stored values to floats.
  package var toFloat: @Sendable (_ type: ScalarType, _ from: UnsafeRawPointer, _ count: Int, _ to: UnsafeMutablePointer<Float>) -> Void
  /// `count` floats to float16, rounded to nearest even.
  package var toHalf: @Sendable (_ from: UnsafePointer<Float>, _ count: Int, _ to: UnsafeMutablePointer<UInt16>) -> Void

  /// `y = (x − mean) / √(variance + epsilon) · weight + bias` over `count` values; `y` may be `x`.
  package var layerNorm:
    @Sendable (
      _ x: UnsafePointer<Float>, _ count: Int, _ weight: UnsafePointer<Float>, _ bias: UnsafePointer<Float>, _ epsilon: Float,
      _ y: UnsafeMutablePointer<Float>
    ) -> Void
  /// `y = x / √(mean(x²) + epsilon) · weight` over `count` values; `y` may be `x`.
  package var rmsNorm:
    @Sendable (
      _ x: UnsafePointer<Float>, _ count: Int, _ weight: UnsafePointer<Float>, _ epsilon: Float, _ y: UnsafeMutablePointer<Float>
    ) -> Void

  /// `y = silu(gate) · up`; `y` may be either.
  package var gatedSilu:
    @Sendable (
      _ gate: UnsafePointer<Float>, _ up: UnsafePointer<Float>, _ count: Int, _ y: UnsafeMutablePointer<Float>
    ) -> Void

  /// `y += a · x`.
  package var addMultiple: @Sendable (_ a: Float, _ x: UnsafePointer<Float>, _ count: Int, _ y: UnsafeMutablePointer<Float>) -> Void
  /// `x *= a` in place.
  package var scale: @Sendable (_ x: UnsafeMutablePointer<Float>, _ a: Float, _ count: Int) -> Void
  /// The greatest of `count ≥ 1` values.
  package var maximum: @Sendable (_ x: UnsafePointer<Float>, _ count: Int) -> Float
  /// `x = exp(x − maximum)` in place (relative error ≤ 1e-6; 0 below −87); returns the sum.
  package var exponentiate: @Sendable (_ x: UnsafeMutablePointer<Float>, _ maximum: Float, _ count: Int) -> Float

  /// A step of 32 softmaxes under way, side by side: takes in `count ≥ 1` scores of each, `scores` `[count][32]`, which become weights
  /// `exp(score − greatest)`. `greatest` `[32]` (−∞ before the first step) and the sum of `weights` `[32]` follow, and what was summed
  /// with the weights so far, `sums` `[rows][32]`, is brought to the new greatest score.
  package var softmaxColumns:
    @Sendable (
      _ scores: UnsafeMutablePointer<Float>, _ count: Int, _ greatest: UnsafeMutablePointer<Float>, _ weights: UnsafeMutablePointer<Float>,
      _ sums: UnsafeMutablePointer<Float>, _ rows: Int
    ) -> Void

  /// Rotary embedding of `heads` heads of `2 · half` values in place, by rotating halves:
  /// `(x[i], x[i + half]) → (x[i]·cos[i] − x[i+half]·sin[i], x[i+half]·cos[i] + x[i]·sin[i])`.
  package var rotate:
    @Sendable (
      _ x: UnsafeMutablePointer<Float>, _ heads: Int, _ half: Int, _ cos: UnsafePointer<Float>, _ sin: UnsafePointer<Float>
    ) -> Void

  /// A depthwise 7×7 convolution, padded by 3 with zeros: `rows` output rows from `firstRow` on, for the `depthwiseBlockChannels` channels
  /// from `firstChannel` on (fewer where the map ends):
  /// `output[y][x][c] = bias[c] + Σ_{i,j} map[y + i − 3][x + j − 3][c] · weights[7·i + j][c]`.
  /// `weights` `[49][channels]`, `bias` `[channels]`, `output` `[height][width][channels]`; `scratch` as `depthwiseScratchCount` says.
  package var depthwise7x7:
    @Sendable (
      _ map: ChannelsLastMap, _ firstRow: Int, _ rows: Int, _ firstChannel: Int, _ weights: UnsafePointer<Float>,
      _ bias: UnsafePointer<Float>,
      _ output: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutablePointer<Float>
    ) -> Void

  /// What happens to a tile of products `[tokens][32]` on its way to memory: `p = tile + bias`, then `output = p`,
  /// `output = activation(p)` (within 1e-6) or `output += scale · p`, for `columns ≤ 32` columns. Nil bias is 0, nil scale is 1. `stride`
  /// is the output's.
  package var finishTile:
    @Sendable (
      _ finish: TileFinish, _ tile: UnsafePointer<Float>, _ tokens: Int, _ columns: Int, _ bias: UnsafePointer<Float>?,
      _ scale: UnsafePointer<Float>?, _ output: UnsafeMutablePointer<Float>, _ stride: Int
    ) -> Void

  package var codes: CodeKernels

  package init(
    multiply:
      @escaping @Sendable (
        Int, Int, UnsafePointer<Float>, Int, UnsafePointer<Float>, Int, UnsafeMutablePointer<Float>, Int, Bool
      ) -> Void,
    multiplyTransposed:
      @escaping @Sendable (
        Int, Int, UnsafePointer<Float>, Int, UnsafePointer<Float>, Int, UnsafeMutablePointer<Float>, Int, Bool
      ) -> Void,
    multiplyHalf:
      @escaping @Sendable (
        Int, Int, UnsafePointer<Float>, Int, UnsafePointer<UInt16>, Int, UnsafeMutablePointer<Float>, Int, Bool
      ) -> Void,
    halfRows: Int,
    packPanel: @escaping @Sendable (ScalarType, UnsafeRawPointer, Int, Int, Int, UnsafeMutablePointer<Float>) -> Void,
    multiplyVector:
      @escaping @Sendable (
        ScalarType, UnsafeRawPointer, Int, Int, Int, UnsafePointer<Float>, UnsafeMutablePointer<Float>
      ) -> Void,
    toFloat: @escaping @Sendable (ScalarType, UnsafeRawPointer, Int, UnsafeMutablePointer<Float>) -> Void,
    toHalf: @escaping @Sendable (UnsafePointer<Float>, Int, UnsafeMutablePointer<UInt16>) -> Void,
    layerNorm:
      @escaping @Sendable (
        UnsafePointer<Float>, Int, UnsafePointer<Float>, UnsafePointer<Float>, Float, UnsafeMutablePointer<Float>
      ) -> Void,
    rmsNorm: @escaping @Sendable (UnsafePointer<Float>, Int, UnsafePointer<Float>, Float, UnsafeMutablePointer<Float>) -> Void,
    gatedSilu: @escaping @Sendable (UnsafePointer<Float>, UnsafePointer<Float>, Int, UnsafeMutablePointer<Float>) -> Void,
    addMultiple: @escaping @Sendable (Float, UnsafePointer<Float>, Int, UnsafeMutablePointer<Float>) -> Void,
    scale: @escaping @Sendable (UnsafeMutablePointer<Float>, Float, Int) -> Void,
    maximum: @escaping @Sendable (UnsafePointer<Float>, Int) -> Float,
    exponentiate: @escaping @Sendable (UnsafeMutablePointer<Float>, Float, Int) -> Float,
    softmaxColumns:
      @escaping @Sendable (
        UnsafeMutablePointer<Float>, Int, UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>, Int
      ) -> Void,
    rotate: @escaping @Sendable (UnsafeMutablePointer<Float>, Int, Int, UnsafePointer<Float>, UnsafePointer<Float>) -> Void,
    depthwise7x7:
      @escaping @Sendable (
        ChannelsLastMap, Int, Int, Int, UnsafePointer<Float>, UnsafePointer<Float>, UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>
      ) -> Void,
    finishTile:
      @escaping @Sendable (
        TileFinish, UnsafePointer<Float>, Int, Int, UnsafePointer<Float>?, UnsafePointer<Float>?, UnsafeMutablePointer<Float>, Int
      ) -> Void,
    codes: CodeKernels
  ) {
    self.multiply = multiply
    self.multiplyTransposed = multiplyTransposed
    self.multiplyHalf = multiplyHalf
    self.halfRows = halfRows
    self.packPanel = packPanel
    self.multiplyVector = multiplyVector
    self.toFloat = toFloat
    self.toHalf = toHalf
    self.layerNorm = layerNorm
    self.rmsNorm = rmsNorm
    self.gatedSilu = gatedSilu
    self.addMultiple = addMultiple
    self.scale = scale
    self.maximum = maximum
    self.exponentiate = exponentiate
    self.softmaxColumns = softmaxColumns
    self.rotate = rotate
    self.depthwise7x7 = depthwise7x7
    self.finishTile = finishTile
    self.codes = codes
  }
}

/// `[height][width][channels]` floats.
package struct ChannelsLastMap {
  package var values: UnsafePointer<Float>
  package var height: Int
  package var width: Int
  package var channels: Int

  package init(values: UnsafePointer<Float>, height: Int, width: Int, channels: Int) {
    self.values = values
    self.height = height
    self.width = width
    self.channels = channels
  }
}

/// Channels that one call of `depthwise7x7` covers: a cache line of them.
@inlinable package var depthwiseBlockChannels: Int { 16 }

/// Floats of scratch that `depthwise7x7` needs for `rows` rows of a map of this width.
package func depthwiseScratchCount(rows: Int, width: Int) -> Int {
  ((rows + 6) * (width + 6) + 49) * depthwiseBlockChannels
}

/// See `FloatKernels.finishTile`.
package enum TileFinish: Sendable {
  case store
  case activated(Activation)
  case addTo
}

/// What follows the first layer of a perceptron that has no gate. Each is `x` for great x, 0 for very negative ones, and keeps NaN.
package enum Activation: Sendable, CaseIterable {
  /// `x · Φ(x)`, by erf.
  case gelu
  /// `x · (1 + tanh(√(2/π) · (x + 0.044715 · x³))) / 2`.
  case geluTanh
  /// `x · σ(1.702 · x)`.
  case quickGelu
}

/// What attention needs around products of 8-bit codes: floats to codes, and floats as two digits.
///
/// A row of floats becomes two rows of int8: what `QuantizedKernels.quantizeRows` makes of it, and what it makes of the rest that this
/// leaves. Products with both, added up, are as exact as if the row had some 15 bits.
package struct CodeKernels: Sendable {
  /// The greatest magnitude of `count` values; not finite where one of them is not.
  package var greatestMagnitude: @Sendable (_ x: UnsafePointer<Float>, _ count: Int) -> Float

  /// `codes = 128 + x · inverse`, rounded to nearest, ties to even; the products are within −127 ... 127.
  package var toCodes: @Sendable (_ x: UnsafePointer<Float>, _ count: Int, _ inverse: Float, _ codes: UnsafeMutablePointer<UInt8>) -> Void

  /// `x = scale · (codes − 128)`.
  package var fromCodes: @Sendable (_ codes: UnsafePointer<UInt8>, _ count: Int, _ scale: Float, _ x: UnsafeMutablePointer<Float>) -> Void

  /// The greatest magnitudes of the 32 columns of `x` `[count][32]`; not finite where a value of a column is not.
  package var greatestMagnitudes: @Sendable (_ x: UnsafePointer<Float>, _ count: Int, _ greatest: UnsafeMutablePointer<Float>) -> Void

  /// A group of a panel, whose rows are the columns of `x` `[count][32]`: `codes` `[padded / 4][32 rows][4]`, of `toCodes` with each row's
  /// inverse, and 128 from `count` on. `padded` is a multiple of 4.
  package var toCodesOfRows:
    @Sendable (
      _ x: UnsafePointer<Float>, _ count: Int, _ padded: Int, _ inverses: UnsafePointer<Float>, _ codes: UnsafeMutableRawPointer
    ) -> Void

  /// `x *= factors`, where there are any, and `rest = x −` what `quantizeRows` makes of `x` as one group.
  package var takeDigit:
    @Sendable (_ x: UnsafeMutablePointer<Float>, _ factors: UnsafePointer<Float>?, _ count: Int, _ rest: UnsafeMutablePointer<Float>) ->
      Void

  /// `c[i · cStride + j] (+)= a[i][j] + a[m + i][j]` for `i < m`, `j < 32`: the two digits' products, `[2 · m][32]`, become one.
  /// `accumulate` adds to what `c` holds.
  package var addDigits:
    @Sendable (_ m: Int, _ a: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>, _ cStride: Int, _ accumulate: Bool) -> Void

  package init(
    greatestMagnitude: @escaping @Sendable (UnsafePointer<Float>, Int) -> Float,
    toCodes: @escaping @Sendable (UnsafePointer<Float>, Int, Float, UnsafeMutablePointer<UInt8>) -> Void,
    fromCodes: @escaping @Sendable (UnsafePointer<UInt8>, Int, Float, UnsafeMutablePointer<Float>) -> Void,
    greatestMagnitudes: @escaping @Sendable (UnsafePointer<Float>, Int, UnsafeMutablePointer<Float>) -> Void,
    toCodesOfRows: @escaping @Sendable (UnsafePointer<Float>, Int, Int, UnsafePointer<Float>, UnsafeMutableRawPointer) -> Void,
    takeDigit: @escaping @Sendable (UnsafeMutablePointer<Float>, UnsafePointer<Float>?, Int, UnsafeMutablePointer<Float>) -> Void,
    addDigits: @escaping @Sendable (Int, UnsafePointer<Float>, UnsafeMutablePointer<Float>, Int, Bool) -> Void
  ) {
    self.greatestMagnitude = greatestMagnitude
    self.toCodes = toCodes
    self.fromCodes = fromCodes
    self.greatestMagnitudes = greatestMagnitudes
    self.toCodesOfRows = toCodesOfRows
    self.takeDigit = takeDigit
    self.addDigits = addDigits
  }
}
