#if Server
  import HTTPTypes
  import NIOCore
  import NIOHTTPTypes
  import Synchronization

  /// The connections that are open. Where they are too many, the one ends that has waited longest for its next request: whoever asks
  /// at once is let in, however many say nothing.
  final class Connections: Sendable {
    private struct State {
      var open = 0
      var next = 0
      /// Those without a request, by the order in which they began to wait.
      var waiting: [Int: any Channel] = [:]
    }
    private let state = Mutex(State())
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    func opened() { state.withLock { $0.open += 1 } }

    func closed() { state.withLock { $0.open -= 1 } }

    /// Waits for a request from now on; the number is to be given back.
    func wait(_ channel: any Channel) -> Int {
      let (number, longest) = state.withLock { state -> (Int, (any Channel)?) in
        var longest: (any Channel)?
        if state.open > limit, let first = state.waiting.keys.min() { longest = state.waiting.removeValue(forKey: first) }
        state.next += 1
        state.waiting[state.next] = channel
        return (state.next, longest)
      }
      longest?.close(promise: nil)
      return number
    }

    func goOn(_ number: Int) { state.withLock { _ = $0.waiting.removeValue(forKey: number) } }
  }

  /// Watches one connection: ends it after an answer that says so, or that came before the request's end, and where an answer is not read.
  final class ConnectionHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private let connections: Connections
    private var number: Int?
    /// Requests that have begun and are not answered.
    private var asked = 0
    private var isReading = false
    private var isInputClosed = false
    private var closes = false
    /// What comes is thrown away: the client is still to read its answer, which a connection that ends at once may take from it.
    private var isLeaving = false
    private var unwritten = 0
    private var written = 0
    private var watch: Scheduled<Void>?

    /// Seconds that a client has to read its answer's end while it still sends.
    private static let leaving = TimeAmount.seconds(10)
    /// A connection that has taken nothing of its answer at so many looks, one after the other, is not read.
    private static let looks = (every: TimeAmount.seconds(20), count: 3)

    init(_ connections: Connections) { self.connections = connections }

    func handlerAdded(context: ChannelHandlerContext) {
      connections.opened()
      number = connections.wait(context.channel)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
      watch?.cancel()
      number.map(connections.goOn)
      connections.closed()
    }

    // MARK: Requests

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      if isLeaving { return }
      switch unwrapInboundIn(data) {
      case .head:
        number.map(connections.goOn)
        number = nil
        asked += 1
        isReading = true
      case .body: break
      case .end: isReading = false
      }
      context.fireChannelRead(data)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
      context.fireChannelReadComplete()
      if isLeaving { context.read() }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
      if event as? ChannelEvent == .inputClosed { isInputClosed = true }
      context.fireUserInboundEventTriggered(event)
      if isInputClosed, isLeaving, unwritten == 0 { context.close(promise: nil) }
    }

    // MARK: Answers

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
      var part = unwrapOutboundIn(data)
      var isLast = false
      switch part {
      case .head(var head) where head.status.kind != .informational:
        // Who answers before the request's end does not wait for it.
        if isReading, asked <= 1 { head.headerFields[.connection] = "close" }
        closes = head.headerFields[.connection]?.lowercased() == "close"
        part = .head(head)
      case .end:
        asked = max(0, asked - 1)
        isLast = closes
        if !closes, asked == 0 { number = connections.wait(context.channel) }
      case .head, .body: break
      }
      let promise = promise ?? context.eventLoop.makePromise()
      unwritten += 1
      promise.futureResult.assumeIsolated().whenComplete { [self] result in
        unwritten -= 1
        written += 1
        if isLast, case .success = result { leave(context) }
      }
      look(context, written: -1, bytes: 0, stuck: 0)
      context.write(wrapOutboundOut(part), promise: promise)
    }

    private func leave(_ context: ChannelHandlerContext) {
      let channel = context.channel
      guard channel.isActive, !isInputClosed else { return context.close(promise: nil) }
      isLeaving = true
      context.close(mode: .output, promise: nil)
      context.eventLoop.scheduleTask(in: Self.leaving) { channel.close(promise: nil) }
      context.read()
    }

    /// Looks after a while whether what was written then has been taken.
    private func look(_ context: ChannelHandlerContext, written before: Int, bytes: Int, stuck: Int) {
      if watch != nil { return }
      watch = context.eventLoop.assumeIsolated().scheduleTask(in: Self.looks.every) { [self] in
        watch = nil
        if unwritten == 0 { return }
        let left = (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
        let stuck = written == before && left >= bytes ? stuck + 1 : 0
        if stuck == Self.looks.count { return context.close(promise: nil) }
        look(context, written: written, bytes: left, stuck: stuck)
      }
    }
  }

  @available(*, unavailable)
  extension ConnectionHandler: Sendable {}
#endif
