import Support

/// Which frames of a clip are asked for.
public struct SamplingRequest: Sendable, Equatable {
  /// How many frames: exactly so many with the rule `uniform`, at most so many with the others.
  public var frames: Int
  /// Which ones.
  public var rule: SamplingRule
  /// Seconds from the clip's start: frames shown earlier are left out.
  public var start: Double?
  /// Seconds from the clip's start: frames shown then or later are left out.
  public var end: Double?
  /// The container's stream to decode; nil takes the one that libav holds to be the best.
  public var stream: Int?

  /// Frames of the whole clip, or of a part of it.
  public init(frames: Int, rule: SamplingRule = .uniform, start: Double? = nil, end: Double? = nil, stream: Int? = nil) {
    self.frames = frames
    self.rule = rule
    self.start = start
    self.end = end
    self.stream = stream
  }

  func check() throws(VideoError) {
    guard (1...Limits.frames).contains(frames) else {
      throw .invalidFrameCount(frames, limit: Limits.frames)
    }
    guard start.map({ $0.isFinite && $0 >= 0 }) ?? true, end.map({ $0.isFinite && $0 > start ?? 0 }) ?? true else {
      throw .invalidRange(start: start, end: end)
    }
    switch rule {
    case .rate(let rate), .spread(let rate): if !(rate.isFinite && rate > 0) { throw .invalidRate(rate) }
    case .uniform: break
    }
  }

  func contains(_ seconds: Double) -> Bool {
    start.map { seconds >= $0 } ?? true && end.map { seconds < $0 } ?? true
  }

  /// Which of `count` frames are taken, ascending, of a stream of that average rate. `count` is at least 1.
  func indices(of count: Int, _ rate: FrameRate) -> [Int] {
    let wanted: Double
    switch rule {
    case .uniform: return indices(of: count)
    case .spread(let perSecond): return spreadIndices(of: count, rate.value, perSecond: perSecond)
    case .rate(let perSecond): wanted = perSecond
    }
    let all = Array(stride(from: 0, to: count, by: SamplingRule.step(rate, wanted: wanted)))
    if all.count < frames { return all }
    let scale = Double(all.count) / Double(frames)
    return (0..<frames).map { all[min(all.count - 1, max(0, Int((Double($0 + 1) * scale - 1).rounded(.toNearestOrEven))))] }
  }

  /// The rule `spread`, as SmolVLM2's processor computes it; indices ascend.
  private func spreadIndices(of count: Int, _ rate: Double, perSecond: Double) -> [Int] {
    let duration = Double(count) / rate
    let wanted = max(1, Int(min((perSecond * duration).rounded(.toNearestOrEven), Double(frames))))
    var (first, last) = (0, count - 1)
    if duration - 2 > Double(frames) * perSecond {
      (first, last) = (Int(rate), min(Int(Double(count) - rate), count - 1))
      if first >= last { (first, last) = (0, count - 1) }
    }
    guard wanted > 1 else { return [first] }
    let step = Double(last - first) / Double(wanted - 1)
    var indices: [Int] = []
    for place in 0..<wanted {
      let index = place == wanted - 1 ? last : Int(Double(place) * step + Double(first))
      if index != indices.last { indices.append(index) }
    }
    return indices
  }

  /// The rule `uniform`: for each of the `frames` positions, which of `count` frames stands there: `int(linspace(0, count − 1,
  /// frames))` as NumPy computes it, in doubles, truncated. Never descending; indices repeat when `count` is smaller. `count` is at least
  /// 1.
  public func indices(of count: Int) -> [Int] {
    guard frames > 1 else { return [0] }
    let last = Double(count - 1)
    let step = last / Double(frames - 1)
    var indices = (0..<frames).map { Int(Double($0) * step) }
    indices[frames - 1] = count - 1
    return indices
  }
}

/// Which frames of a clip a sampling takes.
public enum SamplingRule: Sendable, Equatable {
  /// As many as are asked for, evenly from the first to the last: what the published demonstration does.
  case uniform
  /// So many a second, and no more than are asked for: what the evaluation behind the published numbers does, with 2. A short clip has
  /// fewer frames than are asked for.
  case rate(Double)
  /// So many a second on average and no more than are asked for, evenly spread; where a clip is longer by more than two seconds than these
  /// would take, without its first and last second: what SmolVLM2 was trained with, with 1.
  case spread(Double)

  /// Every so many frames one is taken, before it is looked whether these are too many: `max(round(rate / wanted), 1)`, halves to even.
  static func step(_ rate: FrameRate, wanted: Double) -> Int {
    // As Python computes it: with fractions where the wanted rate is a whole number, otherwise in doubles.
    if let whole = Int32(exactly: wanted) {
      let divisor = rate.denominator * Int(whole)
      let (quotient, rest) = rate.numerator.quotientAndRemainder(dividingBy: divisor)
      let isUp = 2 * rest > divisor || (2 * rest == divisor && quotient % 2 == 1)
      return max(1, quotient + (isUp ? 1 : 0))
    }
    let step = (Double(rate.numerator) / Double(rate.denominator) / wanted).rounded(.toNearestOrEven)
    return step < 1e9 ? max(1, Int(step)) : 1_000_000_000
  }
}

/// Frames a second, as a fraction of positive numbers that fit into 32 bits.
struct FrameRate {
  var numerator: Int
  var denominator: Int

  var value: Double { Double(numerator) / Double(denominator) }
}
