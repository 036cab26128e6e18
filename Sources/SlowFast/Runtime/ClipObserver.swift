import Compute
import Video

/// Sees a clip on its way through the tower, frame by frame. Matrices are good for the length of the call.
protocol ClipObserver: AnyObject {
  func see(_ event: FrameEvent<EncodedFrame>)
  func finishClip(_ tokens: SlowFastTokens)
}

/// What the tower made of a frame.
struct EncodedFrame {
  /// `[S², 3]`, normalised, channels last.
  let pixels: Matrix
  /// Of the tower, `[n, C]`.
  let features: Matrix
  /// Of the projector, `[n, hidden]`.
  let projected: Matrix
}
