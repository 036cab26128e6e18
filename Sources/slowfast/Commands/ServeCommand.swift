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

    @Argument(help: "An .sfq file or a checkpoint directory.", completion: .file())
    var model: String
    @Option(help: "The address to listen at; 0.0.0.0 for all.")
    var host = ServerOptions().host
    @Option(help: "The port to listen at; 0 for one that is free.")
    var port = ServerOptions().port
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
    @Option(
      help: ArgumentHelp("Keep what clips become in this directory. Default: in memory, until the end.", valueName: "directory"),
      completion: .directory)
    var cache: String?
    @Option(
      help: ArgumentHelp(
        "Bytes that clips may take there, such as 500M or 8G. Default: 4G, in memory a quarter of what is free.", valueName: "bytes"))
    var cacheSize: ByteCount?
    @Option(help: "Answers that are made at the same time.")
    var parallel = ServerOptions().parallel
    @Option(help: "Requests that may wait for their turn; further ones are refused, to come again.")
    var queue = ServerOptions().queue
    @Option(help: "Frames to take from a video unless the request says otherwise. Default: the model's own number.")
    var frames: Int?
    @Option(help: "Threads. Default: as many as processors.")
    var threads: Int?
    @Option(help: ArgumentHelp("Bytes of a file that is sent.", valueName: "bytes"))
    var maxUpload = ByteCount(bytes: ServerOptions().maximumUpload)
    @Option(
      help: ArgumentHelp(
        "Of a checkpoint: the directory of its vision transformer, where it is not inside under the configuration's name.",
        valueName: "directory"),
      completion: .directory)
    var tower: String?

    func validate() throws {
      if !(0...65_535).contains(port) { throw ValidationError("--port is \(port), expected 0 to 65535") }
      if !(1...64).contains(parallel) { throw ValidationError("--parallel is \(parallel), expected 1 to 64") }
      if !(0...100_000).contains(queue) { throw ValidationError("--queue is \(queue), expected 0 to 100000") }
      if let frames { try SamplingArguments.check(frames) }
      try SessionArguments.check(threads: threads)
      if apiKey?.isEmpty == true { throw ValidationError("--api-key is empty, expected a key") }
    }

    func run() throws {
      var options = ServerOptions()
      (options.host, options.port, options.name) = (host, port, name)
      options.apiKey = apiKey ?? ProcessInfo.processInfo.environment["SLOWFAST_API_KEY"].flatMap { $0.isEmpty ? nil : $0 }
      options.media = try media.map(Self.directory)
      (options.cache, options.cacheSize) = (cache, cacheSize?.bytes)
      (options.parallel, options.queue, options.frames, options.threads) = (parallel, queue, frames, threads)
      options.maximumUpload = maxUpload.bytes
      let server = try HTTPServer(try VideoLanguageModel(path: model, tower: tower), options)
      try Self.wait(for: server, at: host)
    }

    /// As it is without links, which is how files are compared with it.
    private static func directory(_ path: String) throws -> String {
      guard let resolved = realpath(path, nil) else { throw ValidationError("--media \(path.escaped()): \(SystemError().message)") }
      defer { free(resolved) }
      guard FileStatus(path: path)?.kind == .directory else { throw ValidationError("--media \(path.escaped()): not a directory") }
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
        throw SlowFastError(.invalidOption, "cannot listen at \(host): \(error)")
      }
    }
  }
#endif
