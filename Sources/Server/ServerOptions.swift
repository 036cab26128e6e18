import Foundation
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
  /// Difference below which a ConvNeXt tower's blocks take again what they made: see `SessionOptions.reuse`.
  public var reuse = 0.0
  /// Threads that compute; nil: as many as processors.
  public var threads: Int?
  /// Bytes of an upload.
  public var maximumUpload = 2 << 30
  /// Sources that are watched, which requests ask about as `stream:NAME`.
  public var streams: [NamedSource] = []
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

  /// Bytes of a request that is no upload: what is larger comes as a file.
  var maximumBody: Int { min(maximumUpload, 256 << 20) }
}

/// Which places the addresses of requests are fetched from.
public struct FetchRule: Sendable {
  /// Whether an address, as numbers, may be connected to.
  public var allows: @Sendable (_ address: String) -> Bool

  /// A rule of one's own.
  public init(allows: @escaping @Sendable (_ address: String) -> Bool) { self.allows = allows }

  /// What everybody can reach: no address of this machine, of a private network, of a link, or that stands for another.
  public static let publicAddresses = FetchRule(allows: isPublic)

  /// By the registries of special addresses (RFC 6890 and its successors).
  @Sendable public static func isPublic(_ address: String) -> Bool {
    var four = in_addr()
    if inet_pton(AF_INET, address, &four) == 1 { return isPublic(UInt32(bigEndian: four.s_addr)) }
    var six = in6_addr()
    guard inet_pton(AF_INET6, address, &six) == 1 else { return false }
    let bytes = withUnsafeBytes(of: &six) { Array($0) }
    let high = bytes[..<4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    // What is global unicast, but for documentation, tunnels and what else is set apart in it.
    return high >> 29 == 0b001 && high >> 9 != 0x2001_0000 >> 9 && high != 0x2001_0DB8 && high >> 16 != 0x2002 && high >> 12 != 0x3FFF_0
  }

  private static func isPublic(_ address: UInt32) -> Bool {
    let special: [(UInt32, Int)] = [
      (0x0000_0000, 8), (0x0A00_0000, 8), (0x6440_0000, 10), (0x7F00_0000, 8), (0xA9FE_0000, 16), (0xAC10_0000, 12), (0xC000_0000, 24),
      (0xC000_0200, 24), (0xC058_6300, 24), (0xC0A8_0000, 16), (0xC612_0000, 15), (0xC633_6400, 24), (0xCB00_7100, 24), (0xE000_0000, 3),
    ]
    return !special.contains { address >> (32 - $0.1) == $0.0 >> (32 - $0.1) }
  }
}
