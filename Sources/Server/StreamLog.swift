#if Server
  import Logging
  import ServiceLifecycle
  import SlowFast

  /// Tells the log what becomes of streams: when one comes, breaks off, and comes again, and when the tower falls behind.
  struct StreamLog: Service {
    let streams: Streams
    let logger: Logger

    func run() async throws {
      await cancelWhenGracefulShutdown {
        var known: [String: Known] = [:]
        while !Task.isCancelled {
          for stream in streams.all {
            known[stream.name, default: Known()].tell(stream.watch.status, of: stream.name, logger)
          }
          try? await Task.sleep(for: .milliseconds(500))
        }
      }
    }

    /// What was told of one.
    private struct Known {
      private var connections = 0
      private var problem: String?
      private var dropped = 0

      mutating func tell(_ status: LiveStatus, of name: String, _ logger: Logger) {
        if status.connections > connections { logger.info("stream \(name): frames come") }
        // Of a source that is not there, once.
        if let found = status.problem, found != problem || status.connections > connections {
          logger.warning("stream \(name): \(found)\(status.state == .waiting ? "; it is tried again" : "")")
        }
        if dropped == 0, status.dropped > 0 {
          logger.warning("stream \(name): the tower is slower than frames come, some are left out; /v1/streams counts them")
        }
        // One that has come lately may break off for the same reason again.
        problem = status.problem ?? (status.connections > connections ? nil : problem)
        (connections, dropped) = (status.connections, status.dropped)
      }
    }
  }
#endif
