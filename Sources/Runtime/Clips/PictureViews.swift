import Models
import Video

extension RGBImage {
  /// What is shown of a picture, each of the tower's size: the whole, and the tiles after it where there are any.
  package func views(_ layout: any VisualLayout, _ config: ModelConfig, _ preprocessing: Preprocessing) -> [RGBImage] {
    guard let grid = (layout as? PictureLayout)?.grid else {
      return [preprocessing.pixels(config.sequence?.picture == .stretch ? self : square(config.pixels))]
    }
    let inner = resized(
      width: grid.inner.width, height: grid.inner.height, columns: 0..<grid.inner.width, rows: 0..<grid.inner.height)
    let canvas = inner.placed(
      left: grid.left, top: grid.top, onWidth: grid.columns * grid.tile, height: grid.rows * grid.tile, color: [0, 0, 0])
    var views = [preprocessing.pixels(self)]
    for row in 0..<grid.rows {
      for column in 0..<grid.columns {
        views.append(
          canvas.part(
            columns: column * grid.tile..<(column + 1) * grid.tile, rows: row * grid.tile..<(row + 1) * grid.tile))
      }
    }
    return views
  }

  /// With edges of the colour that the tower sees as nothing, as wide as high.
  private func square(_ pixels: PixelConfig) -> RGBImage {
    let side = max(width, height)
    return placed(
      left: (side - width) / 2, top: (side - height) / 2, onWidth: side, height: side, color: pixels.mean.map { UInt8($0 * 255) })
  }
}
