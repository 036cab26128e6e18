#if Server
  import Foundation
  import HTTPTypes
  import Hummingbird
  import HummingbirdCore
  import Logging
  import NIOCore
  import ServiceLifecycle
  import SlowFast
  import Synchronization
  import UnixSignals

  /// OpenAI's API over HTTP, about one model.
  public struct HTTPServer: Sendable {
    let answering: Answering
    private let options: ServerOptions
    private let logger: Logger

    /// A server that has a model and listens to nobody yet; no weight is read. `logger`: nil, one that writes to standard error.
    public init(_ model: VideoLanguageModel, _ options: ServerOptions, logger: Logger? = nil) throws(SlowFastError) {
      self.options = options
      for rule in options.rules { try rule.check(model) }
      answering = try Answering(model, options)
      self.logger = logger ?? Logger(label: "slowfast") { StreamLogHandler.standardError(label: $0) }
    }

    /// What the model is called.
    public var name: String { answering.name }

    /// What answers.
    public var runner: ModelRunner { answering.runner }

    /// Answers requests until the process is asked to end or the task is cancelled. `onListening` is told the port when requests are taken.
    ///
    /// Answers that are being made when the end is asked for go on for some seconds at most (`ServerOptions.grace`). Throws `modelChanged`
    /// soon after the model's files are written to: it is to be opened again.
    public func run(
      endingAt signals: [UnixSignal] = [.sigterm], interruptedBy interrupts: [UnixSignal] = [.sigint],
      onListening: @escaping @Sendable (Int) -> Void
    ) async throws {
      var quiet = logger
      // What goes wrong is thrown or answered; the end of a connection is nothing to tell.
      quiet.logLevel = .critical
      let most = Self.mostConnections()
      let connections = Connections(limit: most - most / 8)
      let listening = Mark()
      let application = Application(
        responder: CallbackResponder<BasicRequestContext> { request, _ in await respond(to: request) },
        server: .http1(
          configuration: .init(
            additionalChannelHandlers: [ConnectionHandler(connections)],
            idleTimeout: .seconds(75),
            httpDecoderConfiguration: .init(
              maxHeaderFieldSize: 16 << 10, maxHeaderListSize: 64 << 10,
              maxHeaderFieldCount: 100))),
        configuration: ApplicationConfiguration(
          address: .hostname(options.host, port: options.port), serverName: "slowfast",
          availableConnectionsDelegate: .maximum(most, logger: quiet)),
        onServerRunning: { channel in
          onListening(channel.localAddress?.port ?? options.port)
          listening.set()
        }, logger: quiet)
      let (outcomes, tell) = AsyncStream<Result<Void, any Error>>.makeStream()
      let deadline = Deadline(seconds: options.grace + 5) { tell.yield(.success(())) }
      // A service that has nothing to do would end all.
      var watching: [ServiceGroupConfiguration.ServiceConfiguration] = []
      if !answering.streams.all.isEmpty {
        watching.append(.init(service: OnceListening(listening, StreamLog(streams: answering.streams, logger: logger))))
      }
      if !options.rules.isEmpty {
        watching.append(.init(service: OnceListening(listening, RuleWatch(answering: answering, rules: options.rules, logger: logger))))
      }
      var configuration = ServiceGroupConfiguration(
        // Ended from the last to the first: the deadline begins at once, whoever takes long.
        services: watching + [
          .init(service: application), .init(service: deadline),
          .init(service: ModelWatch(model: answering.model), failureTerminationBehavior: .gracefullyShutdownGroup),
        ], gracefulShutdownSignals: signals, logger: quiet)
      configuration.maximumGracefulShutdownDuration = .seconds(options.grace)
      // Who presses Ctrl-C waits for nothing.
      configuration.cancellationSignals = interrupts
      let group = ServiceGroup(configuration: configuration)
      let work = Task { try await group.run() }
      Task { tell.yield(await work.result) }
      defer {
        answering.uploads.removeAll()
        answering.streams.stop()
      }
      try await withTaskCancellationHandler {
        for await outcome in outcomes {
          if case .failure(let error) = outcome, !(error is CancellationError) { throw error }
          return
        }
      } onCancel: {
        work.cancel()
      }
    }
  }

  /// Ends what does not end by itself after the end was asked for.
  private struct Deadline: Service {
    let seconds: Int
    let pass: @Sendable () -> Void

    func run() async throws {
      try? await gracefulShutdown()
      Task.detached {
        try? await Task.sleep(for: .seconds(seconds))
        pass()
      }
    }
  }

  /// A service that begins when requests are taken: where that is comes first in the log.
  private struct OnceListening: Service {
    private let listening: Mark
    private let service: any Service

    init(_ listening: Mark, _ service: any Service) { (self.listening, self.service) = (listening, service) }

    func run() async throws {
      await cancelWhenGracefulShutdown {
        while !listening.isSet, !Task.isCancelled { try? await Task.sleep(for: .milliseconds(20)) }
      }
      try await service.run()
    }
  }

  /// Fails when the model's files are no longer what they were. Requests are refused from then on by themselves.
  private struct ModelWatch: Service {
    let model: VideoLanguageModel

    func run() async throws {
      try await cancelWhenGracefulShutdown {
        while !Task.isCancelled {
          try model.checkUnchanged()
          try? await Task.sleep(for: .seconds(1))
        }
      }
    }
  }

  extension HTTPServer {
    /// Connections at a time: further ones wait until others end, so that no descriptor is missing for a clip.
    private static func mostConnections() -> Int {
      var limit = rlimit()
      guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 256 }
      limit.rlim_cur = min(limit.rlim_max, 65_536)
      setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
      return Int(max(16, min(4096, limit.rlim_cur / 2)))
    }
  }

  /// Set once, seen by all threads.
  private final class Mark: Sendable {
    private let mark = Atomic(false)
    var isSet: Bool { mark.load(ordering: .relaxed) }
    func set() { mark.store(true, ordering: .relaxed) }
  }

  // MARK: One request

  extension HTTPServer {
    /// The answer to a request, whatever goes wrong.
    @Sendable private func respond(to request: Request) async -> Response {
      let start = ContinuousClock.now
      let route = Route(request.uri.path)
      var response: Response
      do {
        try check(request, route)
        response = try await answer(request, route)
      } catch {
        let error = APIError(any: error)
        response = Self.json(error.json, status: error.status)
        if let seconds = error.retryAfter { response.headers[.retryAfter] = "\(seconds)" }
        if error.status == 401 { response.headers[.wwwAuthenticate] = "Bearer" }
        if error.status == 405 { response.headers[.allow] = route.methods.joined(separator: ", ") }
      }
      if request.method == .head { response.body = ResponseBody() }
      response.headers[.cacheControl] = response.headers[.cacheControl] ?? "no-store"
      if let name = HTTPField.Name("X-Content-Type-Options") { response.headers[name] = "nosniff" }
      answering.metrics.count(method: route.method(request.method.rawValue), route: route.name, status: response.status.code)
      let seconds = (ContinuousClock.now - start) / .seconds(1)
      // Nothing of what was asked or answered.
      logger.info("\(route.method(request.method.rawValue)) \(route.name) \(response.status.code) \(Int(seconds * 1000)) ms")
      return response
    }

    /// Who asks, and whether the way of asking is one.
    private func check(_ request: Request, _ route: Route) throws(APIError) {
      if let key = options.apiKey, !route.isOpen {
        let given = request.headers[.authorization].flatMap { $0.lowercased().hasPrefix("bearer ") ? String($0.dropFirst(7)) : nil }
        guard let given, Self.equal(given, key) else {
          throw APIError(401, "A key is needed here: Authorization: Bearer KEY.", code: "invalid_api_key")
        }
      }
      guard route != .unknown else { throw APIError(404, "There is nothing at this path.", code: "not_found") }
      if route == .ready || route == .chat {
        do throws(SlowFastError) { try answering.model.checkUnchanged() } catch { throw APIError(error) }
      }
      let method = request.method == .head ? "GET" : request.method.rawValue
      guard route.methods.contains(method) else {
        throw APIError(405, "\(route.method(method)) is not done here, expected \(route.methods.joined(separator: " or ")).")
      }
      // A page of another site must not ask through the browser of somebody who can reach this server.
      if let origin = request.headers[.origin], let host = request.head.authority, origin != "null" || method != "GET" {
        let place = origin.split(separator: "/").last.map(String.init) ?? ""
        if place.lowercased() != host.lowercased() {
          throw APIError(403, "Pages of other sites may not ask here.", code: "origin_not_allowed")
        }
      }
    }

    /// Compares all bytes, wherever the first difference is.
    static func equal(_ given: String, _ key: String) -> Bool {
      let (given, key) = (Array(given.utf8), Array(key.utf8))
      guard !key.isEmpty else { return false }
      var difference = given.count ^ key.count
      for index in given.indices { difference |= Int(given[index] ^ key[index % key.count]) }
      return difference == 0
    }

    private func answer(_ request: Request, _ route: Route) async throws -> Response {
      switch route {
      case .page:
        return Response(
          status: .ok, headers: [.contentType: "text/html; charset=utf-8", .contentSecurityPolicy: Self.pagePolicy],
          body: ResponseBody(byteBuffer: ByteBuffer(bytes: PackageResources.page_html)))
      case .document:
        return Response(
          status: .ok, headers: [.contentType: "application/json"],
          body: ResponseBody(byteBuffer: ByteBuffer(bytes: PackageResources.openapi_json)))
      case .health: return Self.json(["status": "ok"])
      case .ready: return Self.json(["status": "ready", "model": .string(answering.name)])
      case .models: return Self.json(["object": "list", "data": [answering.description]])
      case .model(let name):
        guard name == answering.name else {
          throw APIError(404, "There is no model \(JSON.string(name).text) here.", "model", code: "model_not_found")
        }
        return Self.json(answering.description)
      case .chat: return try await chat(request)
      case .metrics:
        let load = answering.load
        let text = answering.metrics.text(
          running: load.running, waiting: load.waiting, uploads: answering.uploads.count, streams: answering.streams.all)
        return Response(
          status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
          body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
      case .files:
        if request.method == .post { return try await upload(request) }
        return Self.json(["object": "list", "data": .array(answering.uploads.all.map(\.json)), "has_more": false])
      case .file(let id):
        if request.method == .delete {
          try answering.uploads.remove(id)
          return Self.json(["id": .string(id), "object": "file", "deleted": true])
        }
        return Self.json(try answering.uploads.upload(id).json)
      case .frames(let id):
        let answering = answering
        let query = Dictionary(request.uri.queryParameters.map { (String($0.key), String($0.value)) }, uniquingKeysWith: { $1 })
        let stop = Mark()
        return try await request.body.consumeWithCancellationOnInboundClose { _ in
          try await withTaskCancellationHandler {
            let place = try await answering.sheets.enter()
            defer { withExtendedLifetime(place) {} }
            var response = Self.json(
              try await Self.apart { () throws(APIError) in try answering.frames(of: id, query, isCancelled: { stop.isSet }) })
            response.headers[.connection] = "close"
            return response
          } onCancel: {
            stop.set()
          }
        }
      case .streams: return Self.json(["object": "list", "data": .array(answering.streams.all.map(\.json))])
      case .stream(let name): return Self.json(try answering.streams.stream(name).json)
      case .streamFrames(let name):
        let answering = answering
        let place = try await answering.sheets.enter()
        defer { withExtendedLifetime(place) {} }
        return Self.json(try await Self.apart { () throws(APIError) in try answering.frames(ofStream: name) })
      case .unknown: throw APIError(404, "There is nothing at this path.")
      }
    }

    /// The page is one file, and asks this server alone.
    private static let pagePolicy =
      "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none'; "
      + "form-action 'none'; frame-ancestors 'none'"

    // MARK: Chat

    private func chat(_ request: Request) async throws -> Response {
      let type = request.headers[.contentType] ?? ""
      guard type.lowercased().hasPrefix("application/json") else {
        throw APIError(415, "The body is \(type.isEmpty ? "of no type" : JSON.string(type).text), expected application/json.")
      }
      var request = request
      let answering = answering
      let asked = try await collect(&request)
      let fetched = try await answering.fetch(asked)
      let prepared = try await Self.apart { () throws(APIError) in try answering.prepare(asked, fetched: fetched) }
      let replies = ChatReplies(asked, model: answering.name, answering.model.tokenizer, prepared.windows)
      return asked.streams ? try await stream(request, prepared, replies) : try await whole(request, prepared, replies)
    }

    private func whole(_ request: Request, _ prepared: Answering.Prepared, _ replies: ChatReplies) async throws -> Response {
      let answering = answering
      let object = try await request.body.consumeWithCancellationOnInboundClose { _ in
        let made = Mutex<[Int: (answer: Answer, statistics: RunStatistics)]>([:])
        try await answering.answers(prepared) { index, event in
          if case .finished(let answer, let statistics) = event { made.withLock { $0[index] = (answer, statistics) } }
        }
        let answers = made.withLock { made in (0..<prepared.count).compactMap { made[$0] } }
        if answers.count < prepared.count { throw CancellationError() }
        return replies.whole(answers)
      }
      var response = Self.json(object)
      // Whoever watches a connection for its end has it to itself.
      response.headers[.connection] = "close"
      return response
    }

    private func stream(_ request: Request, _ prepared: Answering.Prepared, _ replies: ChatReplies) async throws -> Response {
      let answer = AnswerStream(answering, prepared, replies)
      let early = try await answer.begin()
      let body = ResponseBody { writer in
        do {
          try await request.body.consumeWithCancellationOnInboundClose { _ in
            try await answer.write(early) { try await writer.write(ByteBuffer(string: $0)) }
          }
          try await writer.finish(nil)
        } catch is CancellationError {}
      }
      let headers: HTTPFields = [.contentType: "text/event-stream", .connection: "close"]
      return Response(status: .ok, headers: headers, body: body)
    }

    // MARK: Files

    private func upload(_ request: Request) async throws -> Response {
      let type = request.headers[.contentType] ?? ""
      guard var multipart = Multipart(contentType: type) else {
        throw APIError(415, "The body is \(type.isEmpty ? "of no type" : JSON.string(type).text), expected multipart/form-data.")
      }
      var form = UploadForm()
      // The parts around the file are small.
      try await Self.read(request, limit: options.maximumUpload + (1 << 20)) { piece in
        try multipart.read(piece.readableBytesView) { event throws(APIError) in try form.take(event, limit: options.maximumUpload) }
      }
      guard multipart.isOver else { throw Multipart.malformed }
      let finished = form
      let answering = answering
      return Self.json(try await Self.apart { () throws(APIError) in try answering.keep(finished) })
    }

    // MARK: Bodies

    static func json(_ object: JSON, status: Int = 200) -> Response {
      Response(
        status: .init(code: status), headers: [.contentType: "application/json"],
        body: ResponseBody(byteBuffer: ByteBuffer(string: object.text)))
    }

    /// What a request asks; its body is not kept while the answer is made.
    private func collect(_ request: inout Request) async throws -> ChatRequest {
      let share = answering.bodies.share()
      var collected = ByteBuffer()
      try await Self.read(request, limit: options.maximumBody) { piece in
        try share.add(piece.readableBytes)
        collected.writeImmutableBuffer(piece)
      }
      request.body = RequestBody(buffer: ByteBuffer())
      let (body, name) = (collected, answering.name)
      return try await Self.apart { () throws(APIError) in
        defer { withExtendedLifetime(share) {} }
        return try ChatRequest(try JSON(body.readableBytesView), model: name)
      }
    }

    /// Hands on a body as it comes. Whoever sends more than the limit, or too slowly, is refused.
    static func read(_ request: Request, limit: Int, _ take: (ByteBuffer) throws -> Void) async throws {
      let tooLarge = APIError(413, "The body has more than \(limit) bytes.", code: "too_large")
      if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > limit { throw tooLarge }
      var count = 0
      let start = ContinuousClock.now
      var pieces = request.body.makeAsyncIterator()
      while let piece = try await next(&pieces) {
        count += piece.readableBytes
        if count > limit { throw tooLarge }
        // A connection that is silent is closed; this one sends, but would for ever.
        let allowed = Duration.seconds(60 + count >> 13)
        if ContinuousClock.now - start > allowed { throw APIError(408, "The body comes too slowly.", code: "too_slow") }
        try take(piece)
      }
    }

    private static func next(_ pieces: inout RequestBody.AsyncIterator) async throws -> ByteBuffer? {
      do { return try await pieces.next() } catch let error as CancellationError { throw error } catch {
        throw APIError(400, "The body is not as HTTP has it.")
      }
    }

    /// Does what takes the disk's or the processor's time where no other request waits for it.
    static func apart<T: Sendable>(_ body: @escaping @Sendable () throws(APIError) -> T) async throws -> T {
      try await withCheckedThrowingContinuation { continuation in
        DispatchQueue.global().async { continuation.resume(with: Result { try body() }) }
      }
    }
  }
#endif
