import Compute
import Support

/// What a clip or a picture becomes. In a family without slow tokens all of its tokens are fast ones.
package struct VisualTokens: Sendable {
  /// What the text reads through cross-attention, `[count, hidden]`: of a clip frame by frame, row by row.
  package var slow: StoredRows
  /// What stands in the prompt, `[count, hidden]`.
  package let fast: Matrix

  package init(slow: StoredRows, fast: Matrix) {
    self.slow = slow
    self.fast = fast
  }
}

/// How what tower and projector make of views (a clip's frames, a picture's tiles) becomes tokens; also, as arithmetic on counts, what the
/// memory plan goes by.
package protocol VisualLayout: Sendable {
  /// Views that go through the tower.
  var views: Int { get }
  /// Rows that are kept of each.
  var rowsOfView: Int { get }
  var slowCount: Int { get }
  var fastCount: Int { get }
  /// Rows that `finish` makes beside those that it returns.
  var finishingRows: Int { get }
  /// Bytes of all that a picture is cut into.
  var imageBytes: Int { get }

  /// `projected` `[towerSide², hidden]` of a view → what is kept of it, `[rowsOfView, hidden]`.
  func take(_ projected: Matrix, to rows: Matrix)
  /// When all views are taken: `kept` `[views · rowsOfView, hidden]`, floats where there are no slow tokens. `newline` is the projector's,
  /// `[1, hidden]`.
  func finish(_ kept: StoredRows, newline: Matrix?, on engine: Engine) throws(ComputeError) -> VisualTokens
}

extension VisualLayout {
  package var finishingRows: Int { 0 }
  package var imageBytes: Int { 0 }
}

/// What is shown to a model.
package enum Shown: Sendable, Equatable {
  case clip(frames: Int)
  /// `isAlone`: nothing else is shown in that conversation.
  case picture(PictureSize, isAlone: Bool)
}

extension ModelConfig {
  package func layout(_ shown: Shown, towerSide: Int) -> any VisualLayout {
    guard let sequence else {
      let frames = if case .clip(let frames) = shown { frames } else { 1 }
      return SlowFastLayout(config: self, towerSide: towerSide, frames: frames)
    }
    let side = towerSide / projector.scale
    switch shown {
    case .clip(let frames): return FrameSequence(sequence, towerSide: side, frames: frames)
    case .picture(let size, let isAlone):
      let grid: TileGrid? =
        switch sequence.picture {
        case .tiles: isAlone ? TileGrid(sequence.grid, tile: imageSize, picture: size) : nil
        case .resizedTiles: TileGrid(longestSide: pixels.pictureSide ?? imageSize, tile: imageSize, picture: size)
        case .pad, .stretch: nil
        }
      return PictureLayout(sequence, grid, picture: size, towerSide: side)
    }
  }
}

// MARK: Frames

/// A clip's frames, each pooled, one after the other in the prompt.
package struct FrameSequence: VisualLayout {
  private let config: SequenceConfig
  private let towerSide: Int
  private let side: Int
  package let views: Int

  init(_ config: SequenceConfig, towerSide: Int, frames: Int) {
    (self.config, self.towerSide, views) = (config, towerSide, frames)
    side =
      switch config.pooling {
      case nil: towerSide
      case .bilinear: (towerSide + 1) / 2
      case .average, .max: towerSide / 2
      }
  }

  package var rowsOfView: Int { side * side }
  package var slowCount: Int { 0 }
  package var fastCount: Int { views * (rowsOfView + newlinesOfView) + (config.newline == .end ? 1 : 0) }

  private var newlinesOfView: Int {
    switch config.newline {
    case .none, .end: 0
    case .frame: 1
    case .row: side
    }
  }

  package func take(_ projected: Matrix, to target: Matrix) {
    switch config.pooling {
    case nil: target.copy(from: projected)
    case .bilinear: MapResize.bilinear(projected, height: towerSide, width: towerSide, to: target, newHeight: side, newWidth: side)
    case .average: MapResize.squares(projected, side: towerSide, stride: 2, to: target)
    case .max: MapResize.greatest(projected, side: towerSide, to: target)
    }
  }

  package func finish(_ kept: StoredRows, newline: Matrix?, on engine: Engine) throws(ComputeError) -> VisualTokens {
    let kept = kept.floats
    let fast = try Matrix(rows: fastCount, columns: kept.columns)
    var writer = RowWriter(fast, newline)
    for view in 0..<views {
      for row in 0..<side {
        writer.append(kept[rows: (view * side + row) * side..<(view * side + row + 1) * side])
        if config.newline == .row { writer.endLine() }
      }
      if config.newline == .frame { writer.endLine() }
    }
    if config.newline == .end { writer.endLine() }
    return VisualTokens(slow: try .none(columns: kept.columns, on: engine), fast: fast)
  }
}

// MARK: Pictures

/// The tiles that a picture is cut into.
package struct TileGrid: Sendable, Equatable {
  package let rows: Int
  package let columns: Int
  /// Side of a tile in pixels.
  package let tile: Int
  /// Of the picture inside of the tiles, which keeps its shape; the rest is black.
  package let inner: PictureSize
  /// What the picture is brought to before; nil: nothing.
  package let first: PictureSize?

  package var count: Int { rows * columns }
  /// Where the picture begins.
  package var left: Int { (columns * tile - inner.width) / 2 }
  package var top: Int { (rows * tile - inner.height) / 2 }

  /// Of the sizes there are that which shows most of the picture, and of those the one that wastes least; nil where there is none.
  package init?(_ sizes: [PictureSize], tile: Int, picture: PictureSize) {
    let (width, height) = (Double(picture.width), Double(picture.height))
    var best: (size: PictureSize, effective: Int, waste: Int)?
    for size in sizes {
      let scale = min(Double(size.width) / width, Double(size.height) / height)
      let effective = min(Int(width * scale) * Int(height * scale), picture.width * picture.height)
      let waste = size.width * size.height - effective
      if let best, effective < best.effective || effective == best.effective && waste >= best.waste { continue }
      best = (size, effective, waste)
    }
    guard let best = best?.size else { return nil }
    (self.tile, first) = (tile, nil)
    (rows, columns) = (best.height / tile, best.width / tile)
    let (byWidth, byHeight) = (Double(best.width) / width, Double(best.height) / height)
    inner =
      byWidth < byHeight
      ? PictureSize(height: min(Int((height * byWidth).rounded(.up)), best.height), width: best.width)
      : PictureSize(height: best.height, width: min(Int((width * byHeight).rounded(.up)), best.width))
  }
}

extension TileGrid {
  /// As many tiles as a picture fills whose longer side is made `longestSide` before; it is stretched to fill them. nil: it is one tile.
  init?(longestSide: Int, tile: Int, picture: PictureSize) {
    func up(_ side: Int) -> Int { (side + tile - 1) / tile * tile }
    let first = PictureSize(picture, longestSide: longestSide)
    // In this order and these types, as the published code rounds them.
    let shape = Double(first.width) / Double(first.height)
    let (height, width) =
      first.width >= first.height
      ? (up(Int(Double(up(first.width)) / shape)), up(first.width)) : (up(first.height), up(Int(Double(up(first.height)) * shape)))
    inner = PictureSize(height: max(tile, height), width: max(tile, width))
    (self.tile, self.first) = (tile, first)
    (rows, columns) = (inner.height / tile, inner.width / tile)
    if rows == 1, columns == 1 { return nil }
  }
}

extension PictureSize {
  /// With a longer side of that length, the other one in proportion, rounded down, and made even.
  init(_ picture: PictureSize, longestSide: Int) {
    let side = evenSides(width: picture.width, height: picture.height, longest: longestSide)
    self.init(height: side.height, width: side.width)
  }
}

/// A picture: its whole, and its tiles after or before it if there is a grid.
package struct PictureLayout: VisualLayout {
  private let config: SequenceConfig
  package let grid: TileGrid?
  private let towerSide: Int
  /// Rows and columns of the tiles' joined maps that show the picture, and what they are made smaller to.
  private let shownRows: Range<Int>
  private let shownColumns: Range<Int>
  private let height: Int
  private let width: Int

  init(_ config: SequenceConfig, _ grid: TileGrid?, picture: PictureSize, towerSide: Int) {
    (self.config, self.grid, self.towerSide) = (config, grid, towerSide)
    guard let grid else {
      (shownRows, shownColumns, height, width) = (0..<0, 0..<0, 0, 0)
      return
    }
    let (joinedHeight, joinedWidth) = (grid.rows * towerSide, grid.columns * towerSide)
    var (rows, columns) = (0..<joinedHeight, 0..<joinedWidth)
    let (pictureWidth, pictureHeight) = (Double(picture.width), Double(picture.height))
    // The published codes differ in how they round.
    func rounded(_ side: Double, _ joined: Double, over other: Double) -> Int {
      config.roundsEdges ? Int((side * joined / other * 1e7).rounded(.toNearestOrEven) / 1e7) : Int(side * (joined / other))
    }
    if pictureWidth / pictureHeight > Double(joinedWidth) / Double(joinedHeight) {
      let edge = (joinedHeight - rounded(pictureHeight, Double(joinedWidth), over: pictureWidth)) / 2
      rows = edge..<joinedHeight - edge
    } else {
      let edge = (joinedWidth - rounded(pictureWidth, Double(joinedHeight), over: pictureHeight)) / 2
      columns = edge..<joinedWidth - edge
    }
    (shownRows, shownColumns) = (rows, columns)
    var (height, width) = (rows.count, columns.count)
    if let limit = config.tileLimit {
      let times = (Double(height * width) / Double(limit * towerSide * towerSide)).squareRoot()
      if times > 1.1 { (height, width) = (Int((Double(height) / times).rounded(.down)), Int((Double(width) / times).rounded(.down))) }
    }
    (self.height, self.width) = (height, width)
  }

  package var views: Int { 1 + (grid?.count ?? 0) }
  package var rowsOfView: Int { towerSide * towerSide }
  package var slowCount: Int { 0 }
  package var fastCount: Int {
    guard grid != nil else { return rowsOfView + (config.picturesHaveNewlines ? 1 : 0) }
    return config.picturesHaveNewlines ? rowsOfView + height * (width + 1) : views * rowsOfView
  }

  package var finishingRows: Int {
    guard grid != nil, config.picturesHaveNewlines else { return 0 }
    let shown = shownRows.count * shownColumns.count
    return height * width == shown ? shown : shown + height * width
  }
  /// The picture inside of the tiles, with its edges, and cut.
  package var imageBytes: Int {
    guard let grid else { return 0 }
    let first = grid.first.map { $0.width * $0.height } ?? 0
    return 3 * (first + grid.inner.width * grid.inner.height + (2 * grid.count + 1) * grid.tile * grid.tile)
  }

  package func take(_ projected: Matrix, to rows: Matrix) { rows.copy(from: projected) }

  package func finish(_ kept: StoredRows, newline: Matrix?, on engine: Engine) throws(ComputeError) -> VisualTokens {
    let kept = kept.floats
    let fast = try Matrix(rows: fastCount, columns: kept.columns)
    var writer = RowWriter(fast, newline)
    writer.append(kept[rows: 0..<rowsOfView])
    if let grid {
      if config.picturesHaveNewlines {
        let map = try joined(kept, grid)
        for row in 0..<height {
          writer.append(map[rows: row * width..<(row + 1) * width])
          writer.endLine()
        }
      } else {
        writer.append(kept[rows: rowsOfView..<kept.rows])
      }
    } else if config.picturesHaveNewlines {
      writer.endLine()
    }
    return VisualTokens(slow: try .none(columns: kept.columns, on: engine), fast: fast)
  }

  /// The tiles' maps as one, without its edges, `[height · width, hidden]`.
  private func joined(_ kept: Matrix, _ grid: TileGrid) throws(ComputeError) -> Matrix {
    let shown = try Matrix(rows: shownRows.count * shownColumns.count, columns: kept.columns)
    for (y, row) in shownRows.enumerated() {
      for (x, column) in shownColumns.enumerated() {
        let tile = row / towerSide * grid.columns + column / towerSide
        let source = (1 + tile) * rowsOfView + row % towerSide * towerSide + column % towerSide
        shown.row(y * shownColumns.count + x).update(from: kept.row(source), count: kept.columns)
      }
    }
    guard height != shownRows.count || width != shownColumns.count else { return shown }
    let smaller = try Matrix(rows: height * width, columns: kept.columns)
    MapResize.bilinear(
      shown, height: shownRows.count, width: shownColumns.count, to: smaller, newHeight: height, newWidth: width)
    return smaller
  }
}

// MARK: Rows and maps

/// Fills a matrix from above.
private struct RowWriter {
  private let target: Matrix
  private let newline: Matrix?
  private var row = 0

  init(_ target: Matrix, _ newline: Matrix?) { (self.target, self.newline) = (target, newline) }

  mutating func append(_ rows: Matrix) {
    target[rows: row..<row + rows.rows].copy(from: rows)
    row += rows.rows
  }

  mutating func endLine() {
    guard let newline else { return }
    append(newline)
  }
}

/// Maps of features, `[height · width, channels]`, made smaller.
enum MapResize {
  /// Average pooling of a square map by `stride`, without padding: rows and columns beyond a whole square are left out.
  static func squares(_ map: Matrix, side: Int, stride: Int, to output: Matrix) {
    let count = side / stride
    let scale = 1 / Float(stride * stride)
    for y in 0..<count {
      for x in 0..<count {
        let sum = output.row(y * count + x)
        sum.update(repeating: 0, count: map.columns)
        for dy in 0..<stride {
          for dx in 0..<stride {
            let row = map.row((y * stride + dy) * side + x * stride + dx)
            for column in 0..<map.columns { sum[column] += row[column] }
          }
        }
        for column in 0..<map.columns { sum[column] *= scale }
      }
    }
  }

  /// The greatest of each square of 2×2.
  static func greatest(_ map: Matrix, side: Int, to output: Matrix) {
    let count = side / 2
    for y in 0..<count {
      for x in 0..<count {
        let target = output.row(y * count + x)
        target.update(from: map.row(2 * y * side + 2 * x), count: map.columns)
        for (dy, dx) in [(0, 1), (1, 0), (1, 1)] {
          let row = map.row((2 * y + dy) * side + 2 * x + dx)
          for column in 0..<map.columns { target[column] = max(target[column], row[column]) }
        }
      }
    }
  }

  /// As `interpolate(mode="bilinear", align_corners=False)` without antialiasing.
  static func bilinear(_ map: Matrix, height: Int, width: Int, to output: Matrix, newHeight: Int, newWidth: Int) {
    let ys = places(height, newHeight)
    let xs = places(width, newWidth)
    for (y, vertical) in ys.enumerated() {
      for (x, horizontal) in xs.enumerated() {
        let target = output.row(y * newWidth + x)
        let (a, b) = (map.row(vertical.low * width + horizontal.low), map.row(vertical.low * width + horizontal.high))
        let (c, d) = (map.row(vertical.high * width + horizontal.low), map.row(vertical.high * width + horizontal.high))
        let (h1, w1) = (vertical.share, horizontal.share)
        let (h0, w0) = (1 - h1, 1 - w1)
        for column in 0..<map.columns {
          target[column] = h0 * (w0 * a[column] + w1 * b[column]) + h1 * (w0 * c[column] + w1 * d[column])
        }
      }
    }
  }

  private static func places(_ size: Int, _ newSize: Int) -> [(low: Int, high: Int, share: Float)] {
    let scale = Float(size) / Float(newSize)
    return (0..<newSize).map { index in
      let place = max(0, (Float(index) + 0.5) * scale - 0.5)
      let low = min(Int(place), size - 1)
      return (low, min(low + 1, size - 1), place - Float(low))
    }
  }
}
