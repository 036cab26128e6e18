import Models
import Support
import Video

/// What the tower sees of a source, one view after the other: the frames of a clip, or what is shown of a picture. A session and a
/// calibration show the same.
package struct ViewFeed: Sendable {
  /// What happens to the views.
  package enum Event {
    /// As many views follow as the layout has, each as `view` or `repeated`.
    case begin(any VisualLayout)
    /// Of the tower's size.
    case view(RGBImage)
    /// The view before stands here too.
    case repeated
    /// All views since `begin` are void; another `begin` follows.
    case restart
  }

  private var frames: FrameFeed
  private let config: ModelConfig
  private let towerSide: Int
  private let preprocessing: Preprocessing
  private let isAlone: Bool
  /// Its own size decides what is shown of it; where there are slow tokens, a picture is a clip of one frame.
  package let isPicture: Bool

  /// - Parameters:
  ///   - towerSide: Of the map of features.
  ///   - isAlone: Nothing else is shown in that conversation, so a picture may be shown in detail.
  package init(
    _ source: ClipSource, _ config: ModelConfig, towerSide: Int, isAlone: Bool, sampling: SamplingRequest, preprocessing: Preprocessing,
    threads: Int, memory: Int? = nil, kept: (frames: KeptFrames, number: Int)? = nil
  ) {
    (self.config, self.towerSide, self.preprocessing, self.isAlone) = (config, towerSide, preprocessing, isAlone)
    isPicture = source.isPicture && config.sequence != nil
    frames = FrameFeed(
      source: source, sampling: sampling, preprocessing: isPicture ? nil : preprocessing, threads: threads, memory: memory)
    frames.kept = kept
  }

  /// Calls `body` with what happens. Returns what sampling reports.
  package func forEach(
    times: inout StageTimes, isCancelled: @escaping @Sendable () -> Bool,
    body: (Event, inout StageTimes) throws(SlowFastError) -> Void
  ) throws(SlowFastError) -> SamplingReport {
    try frames.forEach(times: &times, isCancelled: isCancelled) { (event, times) throws(SlowFastError) in
      switch event {
      case .restart: try body(.restart, &times)
      case .begin(let count):
        if !isPicture { try body(.begin(config.layout(.clip(frames: count), towerSide: towerSide)), &times) }
      case .frame(let image) where isPicture:
        let layout = config.layout(
          .picture(PictureSize(height: image.height, width: image.width), isAlone: isAlone), towerSide: towerSide)
        try body(.begin(layout), &times)
        for view in times.measure(\.resize, { image.views(layout, config, preprocessing) }) { try body(.view(view), &times) }
      case .frame(let image): try body(.view(image), &times)
      case .repeated: try body(.repeated, &times)
      }
    }
  }
}

extension ClipSource {
  /// Pixels of a picture, without decoding it; nil where the file does not say.
  package var pictureSize: PictureSize? {
    switch self {
    case .picture(let image): PictureSize(height: image.height, width: image.width)
    case .visual(let source): source.pictureSize.map { PictureSize(height: $0.height, width: $0.width) }
    case .frames, .live: nil
    }
  }
}

extension [ClipSource] {
  /// Whether a picture among them is the only one, which is shown in more detail than several.
  package var haveOnePicture: Bool { count { $0.isPicture } == 1 }
}

extension ModelConfig {
  /// What will be shown of a source that is not read yet, at most: frames that a rule leaves out are counted, and a picture whose size is
  /// not known has the one of most tokens.
  package func shown(_ source: ClipSource, _ sampling: SamplingRequest, isAlone: Bool, towerSide: Int) -> Shown {
    guard source.isPicture, let sequence else { return .clip(frames: source.frameCount(sampling)) }
    if let size = source.pictureSize { return .picture(size, isAlone: isAlone) }
    let square = PictureSize(height: imageSize, width: imageSize)
    if sequence.picture == .resizedTiles { return .picture(square, isAlone: isAlone) }
    let most = sequence.grid.max { (a: PictureSize, b: PictureSize) in
      layout(.picture(a, isAlone: isAlone), towerSide: towerSide).fastCount
        < layout(.picture(b, isAlone: isAlone), towerSide: towerSide).fastCount
    }
    return .picture(most ?? square, isAlone: isAlone)
  }
}

extension RGBImage {
  /// What is shown of a picture, each of the tower's size: the whole, and the tiles after it where there are any; where it was resized for
  /// them, before it.
  package func views(_ layout: any VisualLayout, _ config: ModelConfig, _ preprocessing: Preprocessing) -> [RGBImage] {
    guard let grid = (layout as? PictureLayout)?.grid else {
      if config.sequence?.picture == .resizedTiles { return [asOneTile(config, preprocessing)] }
      return [config.sequence?.picture == .stretch ? preprocessing.pixels(self) : padded(preprocessing, config.pixels.mean)]
    }
    let inner = (grid.first.map { stretched(to: $0, by: preprocessing.resampling) } ?? self)
      .stretched(to: grid.inner, by: preprocessing.resampling)
    let canvas = inner.placed(
      left: grid.left, top: grid.top, onWidth: grid.columns * grid.tile, height: grid.rows * grid.tile, color: [0, 0, 0])
    // Whatever a tower does with frames, the whole of a picture that is cut is stretched.
    let square = PictureSize(height: preprocessing.size, width: preprocessing.size)
    let whole = (grid.first == nil ? self : inner).stretched(to: square, by: preprocessing.resampling)
    var tiles: [RGBImage] = []
    for row in 0..<grid.rows {
      for column in 0..<grid.columns {
        tiles.append(
          canvas.part(
            columns: column * grid.tile..<(column + 1) * grid.tile, rows: row * grid.tile..<(row + 1) * grid.tile))
      }
    }
    return grid.first == nil ? [whole] + tiles : tiles + [whole]
  }

  /// A picture that is resized for tiles and fills one.
  private func asOneTile(_ config: ModelConfig, _ preprocessing: Preprocessing) -> RGBImage {
    let size = PictureSize(height: preprocessing.size, width: preprocessing.size)
    let side = config.pixels.pictureSide ?? preprocessing.size
    let first = evenSides(width: width, height: height, longest: side)
    return stretched(to: PictureSize(height: first.height, width: first.width), by: preprocessing.resampling)
      .stretched(to: size, by: preprocessing.resampling)
  }

  private func stretched(to size: PictureSize, by resampling: Resampling) -> RGBImage {
    resized(width: size.width, height: size.height, columns: 0..<size.width, rows: 0..<size.height, by: resampling)
  }

  /// With edges of the colour that the tower sees as nothing made as wide as high, and that of the tower's size. Rows of the square are
  /// made narrower some at a time: the whole of it may be larger than memory.
  private func padded(_ preprocessing: Preprocessing, _ mean: [Float]) -> RGBImage {
    let color = mean.map { UInt8($0 * 255) }
    let (side, size) = (max(width, height), preprocessing.size)
    let rows = max(1, (1 << 22) / side)
    var pixels: [UInt8] = []
    for start in stride(from: 0, to: height, by: rows) {
      let end = min(start + rows, height)
      let wide = part(columns: 0..<width, rows: start..<end)
        .placed(left: (side - width) / 2, top: 0, onWidth: side, height: end - start, color: color)
      pixels += wide.stretched(to: PictureSize(height: end - start, width: size), by: preprocessing.resampling).pixels
    }
    let narrow = RGBImage(checkedWidth: size, height: height, pixels: pixels)
      .placed(left: 0, top: (side - height) / 2, onWidth: size, height: side, color: color)
    return narrow.stretched(to: PictureSize(height: size, width: size), by: preprocessing.resampling)
  }
}
