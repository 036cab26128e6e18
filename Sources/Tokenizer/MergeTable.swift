/// The merges of a BPE model: which two tokens become which one, and how early (its rank; lower is earlier).
///
/// Kept sorted by left token, then right token, so that a look-up is a binary search among the right tokens of one left token:
/// built in two linear passes, and no choice of tokens makes it slow, as it could a hash table.
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
  /// Per left token: where its pairs begin in `rights` and `ranks`; one more entry than tokens.
  private let starts: [UInt32]
  private let rights: [UInt32]
  private let ranks: [UInt32]
  /// The ranks of the pairs of single bytes, which are what every text begins with: `left << 8 | right`.
  private let byteRanks: [UInt32]

  /// `merges` by rank; their ids are below `tokens.count`. Gives the rank of the second of two merges of the same pair as the error.
  init(_ merges: [Merge], tokens: TokenTable) throws(Repeated) {
    // Two stable counting sorts, by the right token and then by the left.
    let byRight = Self.sorted((0..<UInt32(merges.count)).map { $0 }, keys: tokens.count) { merges[Int($0)].right }.ranks
    let (ranks, starts) = Self.sorted(byRight, keys: tokens.count) { merges[Int($0)].left }
    let rights = ranks.map { merges[Int($0)].right }
    for index in ranks.indices.dropFirst() {
      let (merge, before) = (merges[Int(ranks[index])], merges[Int(ranks[index - 1])])
      if merge.left == before.left && merge.right == before.right { throw Repeated(rank: Int(ranks[index])) }
    }
    self.merges = merges
    self.starts = starts
    self.rights = rights
    self.ranks = ranks

    var byteOfId: [UInt32: Int] = [:]
    for (byte, id) in tokens.idOfByte.enumerated() where id >= 0 { byteOfId[UInt32(id)] = byte }
    var byteRanks = [UInt32](repeating: Self.none, count: 1 << 16)
    for (id, byte) in byteOfId {
      for index in Int(starts[Int(id)])..<Int(starts[Int(id) + 1]) {
        if let right = byteOfId[rights[index]] { byteRanks[byte << 8 | right] = ranks[index] }
      }
    }
    self.byteRanks = byteRanks
  }

  struct Repeated: Error { var rank: Int }

  /// The rank of the pair, or `none`. Both are tokens' ids.
  func rank(_ left: UInt32, _ right: UInt32) -> UInt32 {
    var low = Int(starts[Int(left)])
    let end = Int(starts[Int(left) + 1])
    var high = end
    while low < high {
      let middle = (low + high) / 2
      if rights[middle] < right { low = middle + 1 } else { high = middle }
    }
    return low < end && rights[low] == right ? ranks[low] : Self.none
  }

  /// The rank of the pair of the two bytes' tokens, or `none`.
  func rank(ofBytes left: UInt8, _ right: UInt8) -> UInt32 { byteRanks[Int(left) << 8 | Int(right)] }

  private static func sorted(_ ranks: [UInt32], keys: Int, by key: (UInt32) -> UInt32) -> (ranks: [UInt32], starts: [UInt32]) {
    var starts = [UInt32](repeating: 0, count: keys + 1)
    for rank in ranks { starts[Int(key(rank)) + 1] += 1 }
    for index in 0..<keys { starts[index + 1] += starts[index] }
    var next = starts
    var result = [UInt32](repeating: 0, count: ranks.count)
    for rank in ranks {
      let place = Int(key(rank))
      result[Int(next[place])] = rank
      next[place] += 1
    }
    return (result, starts)
  }
}
