/// The known name that takes the fewest insertions, removals and changes to reach.
enum NearestName {
  /// nil when none is near: more than a third of the name would have to change.
  static func find(_ name: String, among known: [String]) -> String? {
    let target = Array(name.utf8.prefix(256))
    var best: (name: String, distance: Int)?
    let limit = max(3, target.count / 3)
    for candidate in known {
      let bound = min(limit, (best?.distance ?? limit + 1) - 1)
      if let distance = distance(target, Array(candidate.utf8), limit: bound) { best = (candidate, distance) }
    }
    return best?.name
  }

  /// Levenshtein's distance, or nil when it is above `limit`.
  static func distance(_ a: [UInt8], _ b: [UInt8], limit: Int) -> Int? {
    guard abs(a.count - b.count) <= limit else { return nil }
    var previous = Array(0...b.count)
    var current = previous
    for (i, byte) in a.enumerated() {
      current[0] = i + 1
      var least = i + 1
      for (j, other) in b.enumerated() {
        current[j + 1] = min(previous[j] + (byte == other ? 0 : 1), previous[j + 1] + 1, current[j] + 1)
        least = min(least, current[j + 1])
      }
      // Distances never shrink from one row to the next.
      if least > limit { return nil }
      swap(&previous, &current)
    }
    return previous[b.count] <= limit ? previous[b.count] : nil
  }
}
