import Compute
import Models
import Video

/// Sees a clip on its way through the tower, frame by frame. Matrices are good for the length of the call.
package protocol ClipObserver: AnyObject {
  func see(_ event: FrameEvent<EncodedFrame>)
  func finishClip(_ tokens: SlowFastTokens)
}

/// What the tower made of a frame.
package struct EncodedFrame {
  /// `[S², 3]`, normalised, channels last.
  package let pixels: Matrix
  /// Of the tower, `[n, C]`.
  package let features: Matrix
  /// Of the projector, `[n, hidden]`.
  package let projected: Matrix
}
