import Foundation

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
