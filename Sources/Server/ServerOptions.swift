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
  /// Threads that compute; nil: as many as processors.
  public var threads: Int?
  /// Bytes of an upload.
  public var maximumUpload = 2 << 30
  /// Seconds that running answers have when the server is to end.
  public var grace = 30

  /// On this machine alone, on port 8080.
  public init() {}

  /// Bytes of a request that is no upload: what is larger comes as a file.
  var maximumBody: Int { min(maximumUpload, 256 << 20) }
}
