/// Byte pair encoding of one pre-token at a time: of all neighbouring pairs that merge, the one of lowest rank, and of those the
/// leftmost, again and again. Holds the memory that this needs, for the next pre-token.
struct BytePairEncoder {
  private let tokens: TokenTable
  private let merges: MergeTable

  private var ids: [UInt32] = []
  /// The rank of the pair that begins at each symbol, or `MergeTable.none`.
  private var ranks: [UInt32] = []

  // Used for long pre-tokens only: the symbols as a list, and the pairs as a heap of rank << 40 | place.
  private var next: [Int] = []
  private var previous: [Int] = []
  private var heap = Heap()

  /// Up to this many symbols the pair is found by looking at all, which is quicker than to keep a heap.
  private static let scanned = 48

  init(_ tokenizer: Tokenizer) {
    tokens = tokenizer.tokens
    merges = tokenizer.merges
  }

  /// Appends the tokens of `bytes[range]`. Bytes that the vocabulary lacks are left out, as HuggingFace does.
  mutating func encode(_ bytes: [UInt8], _ range: Range<Int>, to output: inout [Int32]) {
    if range.count == 1 {
      let id = tokens.idOfByte[Int(bytes[range.lowerBound])]
      if id >= 0 { output.append(id) }
      return
    }
    ids.removeAll(keepingCapacity: true)
    ranks.removeAll(keepingCapacity: true)
    var last: UInt8?
    for byte in bytes[range] {
      let id = tokens.idOfByte[Int(byte)]
      guard id >= 0 else { continue }
      if let last { ranks.append(merges.rank(ofBytes: last, byte)) }
      ids.append(UInt32(id))
      last = byte
    }
    ranks.append(MergeTable.none)
    if ids.count <= Self.scanned { mergeByScanning() } else { mergeByHeap() }
    for id in ids { output.append(Int32(id)) }
  }

  private mutating func mergeByScanning() {
    while true {
      var best = MergeTable.none
      var place = 0
      for index in ranks.indices where ranks[index] < best {
        best = ranks[index]
        place = index
      }
      if best == MergeTable.none { return }
      let id = merges.merges[Int(best)].result
      ids[place] = id
      ids.remove(at: place + 1)
      ranks.remove(at: place)
      ranks[place] = place + 1 < ids.count ? merges.rank(id, ids[place + 1]) : MergeTable.none
      if place > 0 { ranks[place - 1] = merges.rank(ids[place - 1], id) }
    }
  }

  /// As above in O(n log n): a pair's entry in the heap holds as long as the pair's rank is still the entry's.
  private mutating func mergeByHeap() {
    let count = ids.count
    next = Array(1...count)
    previous = Array(-1..<count - 1)
    heap.entries = ranks.indices.filter { ranks[$0] != MergeTable.none }.map { Heap.entry(ranks[$0], $0) }
    heap.order()
    while let (rank, place) = heap.removeFirst() {
      // A symbol that was merged into the one before it has no rank.
      if ranks[place] != rank { continue }
      let right = next[place]
      let id = merges.merges[Int(rank)].result
      ids[place] = id
      ranks[right] = MergeTable.none
      let after = next[right]
      next[place] = after
      next[right] = -1
      if after < count { previous[after] = place }
      setRank(at: place, after < count ? merges.rank(id, ids[after]) : MergeTable.none)
      let before = previous[place]
      if before >= 0 { setRank(at: before, merges.rank(ids[before], id)) }
    }
    var kept = 0
    for index in 0..<count where next[index] >= 0 {
      ids[kept] = ids[index]
      kept += 1
    }
    ids.removeLast(count - kept)
  }

  private mutating func setRank(at place: Int, _ rank: UInt32) {
    ranks[place] = rank
    if rank != MergeTable.none { heap.insert(Heap.entry(rank, place)) }
  }
}

/// A binary heap, the least entry first.
private struct Heap {
  var entries: [UInt64] = []

  static func entry(_ rank: UInt32, _ place: Int) -> UInt64 { UInt64(rank) << 40 | UInt64(place) }

  /// Makes a heap of entries in any order.
  mutating func order() {
    for index in (0..<entries.count / 2).reversed() { sink(index) }
  }

  mutating func insert(_ entry: UInt64) {
    var index = entries.count
    entries.append(entry)
    while index > 0 && entry < entries[(index - 1) / 2] {
      entries[index] = entries[(index - 1) / 2]
      index = (index - 1) / 2
    }
    entries[index] = entry
  }

  mutating func removeFirst() -> (rank: UInt32, place: Int)? {
    guard let first = entries.first, let last = entries.popLast() else { return nil }
    if !entries.isEmpty {
      entries[0] = last
      sink(0)
    }
    return (UInt32(first >> 40), Int(first & (1 << 40 - 1)))
  }

  private mutating func sink(_ start: Int) {
    let entry = entries[start]
    var index = start
    while true {
      var child = 2 * index + 1
      if child >= entries.count { break }
      if child + 1 < entries.count && entries[child + 1] < entries[child] { child += 1 }
      if entry <= entries[child] { break }
      entries[index] = entries[child]
      index = child
    }
    entries[index] = entry
  }
}

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
