import Foundation
import Support
import Video

/// Hands frames from the thread that decodes them to the one that encodes them. Holds a few at most: who is ahead waits.
package final class FrameQueue: @unchecked Sendable {
  package enum Item: Sendable {
    /// Frames as the model sees them, before their bytes become numbers.
    case event(FrameEvent<RGBImage>)
    /// Nothing comes after it.
    case end(Result<SamplingReport, SlowFastError>, StageTimes)
  }

  /// Frames that wait: with the one that is being decoded enough to keep the tower busy, few enough to be no burden.
  package static let capacity = 2

  // All under the condition's lock.
  private let condition = NSCondition()
  private var items: [Item] = []
  private var stopped = false
  private var ended = false

  package var isStopped: Bool { locked { stopped } }

  /// Waits for room; what comes after `stop` is dropped.
  package func put(_ item: Item) {
    locked {
      if case .event(.restart) = item { items = [] }
      while items.count >= Self.capacity && !stopped { condition.wait() }
      if case .end = item { ended = true }
      if !stopped { items.append(item) }
      condition.broadcast()
    }
  }

  /// Waits for the next item; not to be called after the end.
  package func take() -> Item {
    locked {
      while items.isEmpty { condition.wait() }
      condition.broadcast()
      return items.removeFirst()
    }
  }

  /// Wants nothing more, and returns when the other thread has put its end.
  package func stop() {
    locked {
      stopped = true
      items = []
      condition.broadcast()
      while !ended { condition.wait() }
    }
  }

  private func locked<T>(_ body: () -> T) -> T {
    condition.lock()
    defer { condition.unlock() }
    return body()
  }
}
