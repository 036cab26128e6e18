import Compute

/// Sees a clip on its way through the tower, frame by frame. Matrices are good for the length of the call.
protocol ClipObserver: AnyObject {
  /// A frame's `pixels` `[S², 3]`, normalised, channels last, and what the tower `[n, C]` and the projector `[n, hidden]` made of it.
  func add(pixels: Matrix, features: Matrix, projected: Matrix)
  /// The last frame once more.
  func repeatFrame()
  /// All frames so far are void.
  func restart()
  func finishClip(_ tokens: SlowFastTokens)
}
