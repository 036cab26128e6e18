#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The loops that this thread is inside of: which team's, and as which worker. A list on the thread's stack, the innermost first.
struct LoopFrame {
  private let team: ObjectIdentifier
  private let worker: Int
  private let outer: UnsafeMutableRawPointer?

  /// Calls `body` inside a loop of `team`.
  static func enter(_ team: ThreadTeam, worker: Int, _ body: () -> Void) {
    let outer = pthread_getspecific(key)
    var frame = LoopFrame(team: ObjectIdentifier(team), worker: worker, outer: outer)
    withUnsafeMutablePointer(to: &frame) { pointer in
      pthread_setspecific(key, pointer)
      body()
      pthread_setspecific(key, outer)
    }
  }

  /// The worker that this thread is in a loop of `team`; nil outside of one.
  static func worker(of team: ThreadTeam) -> Int? {
    var frame = pthread_getspecific(key)
    while let pointer = frame {
      let current = pointer.load(as: LoopFrame.self)
      if current.team == ObjectIdentifier(team) { return current.worker }
      frame = current.outer
    }
    return nil
  }
}

private let key: pthread_key_t = {
  var key = pthread_key_t()
  pthread_key_create(&key, nil)
  return key
}()
