/// What a packet's bytes promise, without decoding it.
enum PacketFinding: Equatable {
  /// Exactly one picture that will be shown. `isStart`: decoding can begin with it, and everything shown after it comes out exactly;
  /// `isDisposable`: no other picture is predicted from it.
  case picture(isStart: Bool, isDisposable: Bool)
  /// Decoded, never shown.
  case hidden
  /// It may be in order, but how many pictures come of it only decoding tells.
  case uncertain(String)
  /// Its parts do not fit into it.
  case damaged
}
