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
