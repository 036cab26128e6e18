import CIntrinsics

/// What a squared error in each of a group's values counts.
protocol ErrorWeights {
  /// Of four values from `index` on.
  func four(_ index: Int) -> SIMD4<Float>
  func one(_ index: Int) -> Float
}

/// All values count the same: loops over it are those without weights.
struct EqualWeights: ErrorWeights {
  @inline(__always) func four(_ index: Int) -> SIMD4<Float> { SIMD4(repeating: 1) }
  @inline(__always) func one(_ index: Int) -> Float { 1 }
}

/// Second moments of the inputs that the values are multiplied with; none negative.
struct InputMoments: ErrorWeights {
  let values: UnsafePointer<Float>
  @inline(__always) func four(_ index: Int) -> SIMD4<Float> { quantizer_load(values + index) }
  @inline(__always) func one(_ index: Int) -> Float { values[index] }
}
