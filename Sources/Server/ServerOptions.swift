import SlowFast

/// A camera or a stream under the name that requests have for it.
public struct NamedSource: Sendable, Equatable {
  /// Letters, digits, `-`, `_` and `.`, a letter or a digit first.
  public let name: String
  /// What is watched.
  public let source: LiveSource

  /// Throws where the address is none that can be watched.
  public init(name: String, address: String) throws(SlowFastError) { (self.name, source) = (name, try LiveSource(address)) }

  /// Whether it can be named in a request.
  public static func isName(_ text: String) -> Bool {
    let scalars = text.unicodeScalars
    guard let first = scalars.first, first.properties.isAlphabetic || ("0"..."9").contains(first) else { return false }
    return (1...64).contains(scalars.count)
      && scalars.allSatisfy { $0.isASCII && ($0.properties.isAlphabetic || ("0"..."9").contains($0) || "-_.".unicodeScalars.contains($0)) }
  }
}

/// How a server answers, and whom.
public struct ServerOptions: Sendable {
  /// The model that a configuration names; whoever makes the server opens it.
  public var model: String?
  /// Where it listens.
  public var host = "127.0.0.1"
  /// 0 takes one that is free.
  public var port = 8080
  /// What the model is called; nil: its file's name without the ending.
  public var name: String?
  /// What a client must show; nil: nothing.
  public var apiKey: String?
  /// Directories whose files requests may name.
  public var media: [String] = []
  /// Which addresses of the web requests may name; nil: none.
  public var fetch: FetchRule?
  /// Where clips are kept; nil: in memory, a quarter of what is free.
  public var cache: String?
  /// Bytes that clips may take there.
  public var cacheSize: Int?
  /// Answers at a time.
  public var parallel = 4
  /// Requests that wait for one of these.
  public var queue = 64
  /// Frames of a clip unless the request says otherwise; nil: the model's own number.
  public var frames: Int?
  /// Of so many frames at most fast tokens stand in a prompt; nil: in the model's own way.
  public var fastFrames: Int?
  /// Difference below which a ConvNeXt tower's blocks take again what they made: see `SessionOptions.reuse`.
  public var reuse = 0.0
  /// Threads that compute; nil: as many as processors.
  public var threads: Int?
  /// Bytes of an upload.
  public var maximumUpload = 2 << 30
  /// Sources that are watched, which requests ask about as `stream:NAME`.
  public var streams: [NamedSource] = []
  /// A directory of the server's own for what their frames become; nil: that is kept in memory.
  public var streamCache: String?
  /// How they are watched.
  public var live = LiveOptions()
  /// What is asked of their newest frames without a request.
  public var rules: [Rule] = []
  /// The file that a configuration names for them.
  public var ruleFile: String?
  /// Seconds that running answers have when the server is to end.
  public var grace = 30

  /// On this machine alone, on port 8080.
  public init() {}

  /// How the model is run.
  public var session: SessionOptions {
    var session = SessionOptions()
    session.threads = threads
    session.reuse = reuse
    session.fastFrames = fastFrames
    session.keepsWeights = true
    session.marksAreText = true
    if let cache {
      session.clipCache = ClipCacheOptions(directory: cache, limit: cacheSize ?? ClipCacheOptions.defaultLimit)
    } else {
      session.clipMemory = cacheSize ?? max(64 << 20, (MemoryPlan.availableBytes() ?? 4 << 30) / 4)
    }
    session.streamCache = streamCache
    return session
  }

  /// Bytes of a request that is no upload: what is larger comes as a file.
  var maximumBody: Int { min(maximumUpload, 256 << 20) }
}
