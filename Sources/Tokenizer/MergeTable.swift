/// The merges of a BPE model: which two tokens become which one, and how early (its rank; lower is earlier).
///
/// Kept by left token and sorted by right token, so that a look-up is a binary search among the pairs of one left token: quick to
/// build, and no choice of tokens makes it slow, as it could a hash table.
struct MergeTable: Sendable {
  struct Merge: Equatable, Sendable {
    var left: UInt32
    var right: UInt32
    /// The token that the two become.
    var result: UInt32
  }

  /// Ranks fit in 24 bits (see `BytePairEncoder`).
  static let maximumCount = 1 << 22
  /// The rank of a pair that does not merge: above every other.
  static let none = UInt32.max

  /// By rank.
  let merges: [Merge]
  /// Per left token: where its pairs begin in `pairs`; one more entry than tokens.
  private let starts: [UInt32]
  /// Right token << 32 | rank, sorted within each left token.
  private let pairs: [UInt64]
  /// The ranks of the pairs of single bytes, which are what every text begins with: `left << 8 | right`.
  private let byteRanks: [UInt32]

  /// `merges` by rank; their ids are below `tokens.count`. Gives the rank of the second of two merges of the same pair as the error.
  init(_ merges: [Merge], tokens: TokenTable) throws(Repeated) {
    var starts = [UInt32](repeating: 0, count: tokens.count + 1)
    for merge in merges { starts[Int(merge.left) + 1] += 1 }
    for index in 0..<tokens.count { starts[index + 1] += starts[index] }
    var next = starts
    var pairs = [UInt64](repeating: 0, count: merges.count)
    for (rank, merge) in merges.enumerated() {
      pairs[Int(next[Int(merge.left)])] = UInt64(merge.right) << 32 | UInt64(rank)
      next[Int(merge.left)] += 1
    }
    for left in 0..<tokens.count {
      let range = Int(starts[left])..<Int(starts[left + 1])
      if range.count < 2 { continue }
      pairs[range].sort()
      for index in range.dropFirst() where pairs[index] >> 32 == pairs[index - 1] >> 32 {
        throw Repeated(rank: Int(UInt32(truncatingIfNeeded: pairs[index])))
      }
    }
    self.merges = merges
    self.starts = starts
    self.pairs = pairs

    var byteOfId: [UInt32: Int] = [:]
    for (byte, id) in tokens.idOfByte.enumerated() where id >= 0 { byteOfId[UInt32(id)] = byte }
    var byteRanks = [UInt32](repeating: Self.none, count: 1 << 16)
    for (id, byte) in byteOfId {
      for index in Int(starts[Int(id)])..<Int(starts[Int(id) + 1]) {
        if let right = byteOfId[UInt32(pairs[index] >> 32)] { byteRanks[byte << 8 | right] = UInt32(truncatingIfNeeded: pairs[index]) }
      }
    }
    self.byteRanks = byteRanks
  }

  struct Repeated: Error { var rank: Int }

  /// The rank of the pair, or `none`. Both are tokens' ids.
  func rank(_ left: UInt32, _ right: UInt32) -> UInt32 {
    var low = Int(starts[Int(left)])
    let end = Int(starts[Int(left) + 1])
    let wanted = UInt64(right) << 32
    var count = end - low
    while count > 0 {
      let half = count / 2
      if pairs[low + half] < wanted {
        low += half + 1
        count -= half + 1
      } else {
        count = half
      }
    }
    guard low < end, pairs[low] >> 32 == UInt64(right) else { return Self.none }
    return UInt32(truncatingIfNeeded: pairs[low])
  }

  /// The rank of the pair of the two bytes' tokens, or `none`.
  func rank(ofBytes left: UInt8, _ right: UInt8) -> UInt32 { byteRanks[Int(left) << 8 | Int(right)] }
}
