/// The most of what others count, where several places must agree.
package enum Limits {
  /// Frames of a clip: more than any model takes, and few enough for their positions to be listed.
  package static let frames = 65_536
  /// Tokens: more than any model's positions, and few enough that sums with it cannot overflow.
  package static let tokens = 1 << 24
}
