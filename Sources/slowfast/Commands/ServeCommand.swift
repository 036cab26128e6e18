#if Server
  import ArgumentParser
  import Foundation
  import Server
  import SlowFast
  import Support
  import Synchronization

  struct ServeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "serve",
      abstract: "Answer over HTTP, with OpenAI's API.",
      usage: "slowfast serve MODEL [OPTIONS]",
      discussion: """
          slowfast serve model.sfq --media ~/clips --cache ~/.cache/slowfast
          curl http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' -d '{"messages": [{"role": "user", "content": [
            {"type": "video_url", "video_url": "file:///home/me/clips/clip.mp4"}, {"type": "text", "text": "What happens?"}]}]}'

        Clips come inside requests as data: addresses, or as files of a --media directory. What cannot be seen is an error with a \
        sentence, never an answer without the clip. Says where it listens when it does; Ctrl-C ends it at once, SIGTERM when what is being \
        said is said.
        """)

    @Argument(help: "An .sfq file or a checkpoint directory; --config may name it instead, as model.", completion: .file())
    var model: String?
    @Option(help: "The address to listen at; 0.0.0.0 for all. Default: \(ServerOptions().host).")
    var host: String?
    @Option(help: "The port to listen at; 0 for one that is free. Default: \(ServerOptions().port).")
    var port: Int?
    @Option(help: "What the model is called in requests. Default: its file's name without .sfq.")
    var name: String?
    @Option(
      help: ArgumentHelp(
        "What a client must show, as Authorization: Bearer KEY. Others see what is given here; the variable SLOWFAST_API_KEY says it "
          + "unseen. Default: nothing.", valueName: "key"))
    var apiKey: String?
    @Option(
      help: ArgumentHelp(
        "Requests may name files of this directory, as file:///PATH. May be repeated. Default: none.", valueName: "directory"),
      completion: .directory)
    var media: [String] = []
    @Flag(help: "Requests may name http: and https: addresses, which are fetched; never those of this machine or of private networks.")
    var fetch = false
    @Option(
      help: ArgumentHelp("Keep what clips become in this directory. Default: in memory, until the end.", valueName: "directory"),
      completion: .directory)
    var cache: String?
    @Option(
      help: ArgumentHelp(
        "Bytes that clips may take there, such as 500M or 8G. Default: 4G, in memory a quarter of what is free.", valueName: "bytes"))
    var cacheSize: ByteCount?
    @Option(help: "Answers that are made at the same time. Default: \(ServerOptions().parallel).")
    var parallel: Int?
    @Option(help: "Requests that may wait for their turn; further ones are refused, to come again. Default: \(ServerOptions().queue).")
    var queue: Int?
    @Option(help: "Frames to take from a video unless the request says otherwise. Default: the model's own number.")
    var frames: Int?
    @OptionGroup var fastFrames: FastFramesArguments
    @Option(
      help: ArgumentHelp(
        "Compute of a frame only where it has changed by more than this: as in slowfast run. Default: 0.", valueName: "difference"))
    var reuse: Double?
    @Option(help: "Threads. Default: as many as processors.")
    var threads: Int?
    @Option(help: ArgumentHelp("Bytes of a file that is sent. Default: 2G.", valueName: "bytes"))
    var maxUpload: ByteCount?
    @Option(
      help: ArgumentHelp(
        "Watch a camera or a stream, which requests then ask about as stream:NAME. May be repeated. Its address is as in slowfast watch.",
        valueName: "name=address"))
    var watch: [String] = []
    @Option(help: "Seconds between two frames of what is watched. Default: \(Printing.fixed(LiveOptions().every, 0)).")
    var every: Double?
    @Option(help: "Frames of what is watched that a question is about. Default: as --frames.")
    var window: Int?
    @OptionGroup var streamCache: StreamCacheArguments
    @Option(
      help: ArgumentHelp(
        "Ask what this file says of each new window of what is watched, and tell its webhooks and files the answers.", valueName: "file"),
      completion: .file())
    var rule: String?
    @Option(
      help: ArgumentHelp(
        "Take what is not said here from this file: these options' names and values in YAML, as port: 8080.", valueName: "file"),
      completion: .file())
    var config: String?
    @Flag(help: "Print what a question about a clip needs, and whether tower and decoder are in memory together; answer nothing.")
    var plan = false
    @Option(
      help: ArgumentHelp(
        "Of a checkpoint: the directory of its vision transformer, where it is not inside under the configuration's name.",
        valueName: "directory"),
      completion: .directory)
    var tower: String?

    func validate() throws {
      if model == nil, config == nil { throw ValidationError("Missing expected argument '<model>'") }
      if let port, !(0...65_535).contains(port) { throw ValidationError("--port is \(port), expected 0 to 65535") }
      if let parallel, !(1...64).contains(parallel) { throw ValidationError("--parallel is \(parallel), expected 1 to 64") }
      if let queue, !(0...100_000).contains(queue) { throw ValidationError("--queue is \(queue), expected 0 to 100000") }
      if let frames { try SamplingArguments.check(frames) }
      try SessionArguments.check(threads: threads)
      if let reuse { try FrameReuseArguments.check(reuse) }
      if apiKey?.isEmpty == true { throw ValidationError("--api-key is empty, expected a key") }
    }

    func run() throws {
      var options = ServerOptions()
      if let config { try read(config, to: &options) }
      if let host { options.host = host }
      if let port { options.port = port }
      if let name { options.name = name }
      if let key = apiKey ?? ProcessInfo.processInfo.environment["SLOWFAST_API_KEY"], !key.isEmpty { options.apiKey = key }
      if !media.isEmpty { options.media = media }
      if fetch { options.fetch = .publicAddresses }
      if let cache { options.cache = cache }
      if let cacheSize { options.cacheSize = cacheSize.bytes }
      if let parallel { options.parallel = parallel }
      if let queue { options.queue = queue }
      if let frames { options.frames = frames }
      if let fastFrames = fastFrames.fastFrames { options.fastFrames = fastFrames }
      if let reuse { options.reuse = reuse }
      if let threads { options.threads = threads }
      if let maxUpload { options.maximumUpload = maxUpload.bytes }
      if !watch.isEmpty { options.streams = try watch.map(Self.source) }
      if let every { options.live.every = every }
      if let window { options.live.window = window }
      if let directory = streamCache.streamCache { options.streamCache = directory }
      let needless = [("--every", every != nil), ("--window", window != nil), ("--stream-cache", streamCache.streamCache != nil)]
      if options.streams.isEmpty, let needless = needless.first(where: \.1)?.0 {
        throw ValidationError("\(needless) needs --watch.")
      }
      try Self.checkNames(options.streams)
      if let path = rule ?? options.ruleFile { options.rules = try rules(path, options.streams.map(\.name)) }
      guard let model = model ?? options.model else {
        throw SlowFastError.badFile(
          path: config ?? "", problem: "names no model, expected a line such as model: /var/lib/slowfast/model.sfq")
      }
      options.media = try options.media.map(Self.directory)
      if plan {
        var session = options.session
        // No directory is made, and none loses anything.
        (session.clipCache, session.streamCache) = (nil, nil)
        let runner = try ModelRunner(try VideoLanguageModel(path: model, tower: tower), options: session)
        return try Display.print(Printing.plan(runner.plan(frames: options.frames), of: runner))
      }
      DecoderProcesses.standard?.prepare()
      // Other requests go on, and this one is told.
      MappedFiles.outliveLostPages()
      let server = try HTTPServer(try VideoLanguageModel(path: model, tower: tower), options)
      try Self.checkDecoders()
      if server.runner.weightsTakeTurns {
        Display.printError("tower and decoder take turns in memory, which together need \(formatBytes(server.runner.bytesOfBoth))")
      }
      try Self.wait(for: server, at: options.host)
    }

    /// Clips come from anybody: what holds the processes that decode them is tried, and said where something is missing.
    private static func checkDecoders() throws(SlowFastError) {
      guard let held = try DecoderProcesses.standard?.confinement() else { return }
      if !held.filtersCalls {
        Display.printError("warning: this system filters no calls (seccomp): clips are decoded within limits of memory and time only")
      }
    }

    private func read(_ path: String, to options: inout ServerOptions) throws {
      let text = try Self.text(path)
      do throws(ServerOptions.ConfigurationError) {
        try options.read(yaml: text) { ByteCount(argument: $0)?.bytes }
      } catch { throw SlowFastError.badFile(path: path, problem: "\(error)") }
    }

    private func rules(_ path: String, _ streams: [String]) throws -> [Rule] {
      if streams.isEmpty { throw ValidationError("--rule needs --watch.") }
      let text = try Self.text(path)
      do throws(ServerOptions.ConfigurationError) { return try Rule.read(yaml: text, streams: streams) } catch {
        throw SlowFastError.badFile(path: path, problem: "\(error)")
      }
    }

    private static func text(_ path: String) throws -> String {
      guard let data = FileManager.default.contents(atPath: path) else {
        throw SlowFastError.badFile(path: path, problem: "cannot be read")
      }
      guard let text = String(validating: data, as: UTF8.self) else { throw SlowFastError.badFile(path: path, problem: "is not UTF-8") }
      return text
    }

    /// Of what is written as `door=rtsp://…`.
    private static func source(_ text: String) throws -> NamedSource {
      let name = text.prefix { $0 != "=" }
      guard name.count + 1 < text.count, NamedSource.isName(String(name)) else {
        // An address may have a password.
        let shown = String(text.prefix { $0 != ":" && $0 != "@" }).escaped()
        throw ValidationError("--watch is \(shown)…, expected NAME=ADDRESS, the name of letters, digits, -, _ and .")
      }
      return try NamedSource(name: String(name), address: String(text.dropFirst(name.count + 1)))
    }

    private static func checkNames(_ streams: [NamedSource]) throws {
      var names: Set<String> = []
      for stream in streams where !names.insert(stream.name).inserted {
        throw ValidationError("--watch names two sources \(stream.name), expected a name for each")
      }
    }

    /// As it is without links, which is how files are compared with it.
    private static func directory(_ path: String) throws -> String {
      guard let resolved = realpath(path, nil) else { throw SlowFastError(.invalidFile, "\(path.escaped()): \(SystemError().message)") }
      defer { free(resolved) }
      guard FileStatus(path: path)?.kind == .directory else { throw SlowFastError(.invalidFile, "\(path.escaped()): not a directory") }
      return String(cString: resolved)
    }

    /// Until the process is asked to end.
    private static func wait(for server: HTTPServer, at host: String) throws {
      Interrupt.leaveToServer()
      let result = Mutex<Result<Void, any Error>>(.success(()))
      let end = DispatchSemaphore(value: 0)
      Task {
        do {
          try await server.run { port in
            let shown = host.contains(":") ? "[\(host)]" : host
            Display.printError("\(server.name) is asked at http://\(shown):\(port)/v1")
          }
        } catch { result.withLock { $0 = .failure(error) } }
        end.signal()
      }
      end.wait()
      do { try result.withLock { try $0.get() } } catch let error as SlowFastError { throw error } catch {
        throw SlowFastError(.invalidFile, "cannot listen at \(host): \(error)")
      }
    }
  }
#endif
