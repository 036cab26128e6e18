/// A clip: a video file, an image file (one frame), or a directory of image files (a frame each, in natural order, one a second).
public struct VisualSource: Sendable {
  public enum Kind: Sendable, Equatable {
    case film
    case image
    /// The images' paths in order.
    case directory([String])
  }

  public let path: String
  public let kind: Kind
  /// What a directory holds beside its images, each a sentence.
  private let leftOut: [String]

  /// Pixels of all frames together up to which a film is decoded whole, which proves the number of its frames. The default is decoded
  /// in about a second by two processors: 320 frames of 1280 × 720.
  package var shortClip = 300_000_000

  /// Looks what is there: a file by its first bytes, never by its name. Nothing is decoded yet.
  package init(path: String) throws(VideoError) {
    self.path = path
    switch try PathKind(of: path) {
    case .directory:
      let directory = try ImageDirectory(path)
      guard !directory.images.isEmpty else { throw .noImages(path: path, found: directory.contents) }
      kind = .directory(directory.images)
      leftOut = directory.warnings
    case .file:
      let head = try FileInput(path: path, cancelled: { false }).read(first: 1 << 16)
      kind = ImageFormat(head).map { $0 != .gif && ($0 != .png || ImageHeader(head, $0).pictures == 1) } ?? false ? .image : .film
      leftOut = []
    }
  }

  /// Calls `onFrame` with the frames asked for, in order, and returns what was noticed.
  ///
  /// The frames are those at `SamplingRequest.indices` of the frames that really decode, in the order of presentation: exactly these,
  /// whatever the container says of their number. They come upright and in RGB. Only a few decoded frames are in memory at a time.
  ///
  /// - Parameters:
  ///   - threads: for decoding; nil for as many as there are processors.
  ///   - memory: bytes that decoding may take, if fewer threads can make it so; nil for no limit.
  ///   - progress: called often, from this thread.
  ///   - cancelled: asked often, from this thread; true ends sampling with `cancelled`.
  ///   - onRestart: a stream that seemed in order proved damaged after frames had been delivered: what came so far is void, and
  ///     `onFrame` begins again with position 0. Rare, but then the number of frames, and so each index, is another one.
  ///   - onFrame: its own error ends sampling with `consumerFailed`, or as it is if it is a `VideoError`.
  package func sample(
    _ request: SamplingRequest, threads: Int? = nil, memory: Int? = nil, progress: (SamplingProgress) -> Void = { _ in },
    cancelled: @escaping () -> Bool = { false }, onRestart: () throws -> Void, onFrame: (SampledFrame) throws -> Void
  ) throws(VideoError) -> SamplingReport {
    try request.check()
    let result: Result<SamplingReport, VideoError> = withoutActuallyEscaping(progress) { progress in
      withoutActuallyEscaping(onRestart) { onRestart in
        withoutActuallyEscaping(onFrame) { onFrame in
          let delivery = Delivery(progress: progress, onRestart: onRestart, onFrame: onFrame)
          return Result { () throws(VideoError) in try run(request, DecoderLimits(threads: threads, memory: memory), delivery, cancelled) }
        }
      }
    }
    return try result.get()
  }

  private func run(
    _ request: SamplingRequest, _ limits: DecoderLimits, _ delivery: Delivery, _ cancelled: @escaping () -> Bool
  ) throws(VideoError) -> SamplingReport {
    switch kind {
    case .film:
      try FilmSampler(
        path: path, request: request, limits: limits, shortClip: shortClip, delivery: delivery, cancelled: cancelled
      ).run()
    case .image:
      try StillSampler(path: path, request: request, delivery: delivery, cancelled: cancelled).run([path], isDirectory: false)
    case .directory(let files):
      try StillSampler(path: path, request: request, delivery: delivery, cancelled: cancelled).run(
        files, leftOut: leftOut, isDirectory: true)
    }
  }
}
