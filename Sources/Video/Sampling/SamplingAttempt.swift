/// Why a way of sampling did not come to its end.
enum AttemptFailure: Error {
  /// The stream does not keep what this way relies on: another way may do.
  case distrust(String)
  case failed(VideoError)

  /// What `body` gives; its error as one of this kind.
  static func passing<Result>(_ body: () throws(VideoError) -> Result) throws(AttemptFailure) -> Result {
    do { return try body() } catch { throw .failed(error) }
  }
}

/// What a way of sampling found.
struct AttemptResult {
  var decodedFrames: Int
  var warnings: [String] = []
}

extension SamplingRequest {
  /// Which of a stream's `count` frames are wanted, by position; `seconds` gives the time of each. `count` is at least 1.
  func indices(of count: Int, _ rate: FrameRate, path: String, seconds: (Int) -> Double) throws(VideoError) -> [Int] {
    guard start != nil || end != nil else { return indices(of: count, rate) }
    let inside = (0..<count).filter { contains(seconds($0)) }
    guard !inside.isEmpty else {
      throw .noFramesInRange(path: path, start: start, end: end, first: seconds(0), last: seconds(count - 1))
    }
    return indices(of: inside.count, rate).map { inside[$0] }
  }
}
