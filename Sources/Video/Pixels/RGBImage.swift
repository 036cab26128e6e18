#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A picture of 8-bit RGB pixels.
public struct RGBImage: Sendable, Equatable {
  /// Pixels.
  public let width: Int
  /// Pixels.
  public let height: Int
  /// Height × width × 3, row by row, red first; no padding.
  public let pixels: [UInt8]

  /// Fails with `invalidImage` unless both sides are at least 1 and `pixels` holds exactly that many pixels.
  package init(width: Int, height: Int, pixels: [UInt8]) throws(VideoError) {
    let (area, overflow) = width.multipliedReportingOverflow(by: height)
    let (bytes, overflowToo) = area.multipliedReportingOverflow(by: 3)
    guard width > 0, height > 0, !overflow, !overflowToo, bytes == pixels.count else {
      throw .invalidImage(width: width, height: height, bytes: pixels.count)
    }
    self.init(checkedWidth: width, height: height, pixels: pixels)
  }

  /// For sizes that are known to agree.
  package init(checkedWidth width: Int, height: Int, pixels: [UInt8]) {
    self.width = width
    self.height = height
    self.pixels = pixels
  }

  /// A part of it.
  package func part(columns: Range<Int>, rows: Range<Int>) -> RGBImage {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(rows.count * columns.count * 3)
    for row in rows { bytes += pixels[(row * width + columns.lowerBound) * 3..<(row * width + columns.upperBound) * 3] }
    return RGBImage(checkedWidth: columns.count, height: rows.count, pixels: bytes)
  }

  /// This picture on a larger one of a single colour.
  package func placed(left: Int, top: Int, onWidth newWidth: Int, height newHeight: Int, color: [UInt8]) -> RGBImage {
    precondition(left >= 0 && top >= 0 && left + width <= newWidth && top + height <= newHeight && color.count == 3)
    var bytes = [UInt8](repeating: color[0], count: newWidth * newHeight * 3)
    if color != [color[0], color[0], color[0]] {
      for index in bytes.indices { bytes[index] = color[index % 3] }
    }
    for row in 0..<height {
      let start = ((top + row) * newWidth + left) * 3
      bytes.replaceSubrange(start..<start + width * 3, with: pixels[row * width * 3..<(row + 1) * width * 3])
    }
    return RGBImage(checkedWidth: newWidth, height: newHeight, pixels: bytes)
  }
}

/// How a stored picture is turned and mirrored to be upright.
struct Orientation: Equatable {
  /// Quarter turns clockwise, 0 … 3, done after mirroring.
  var quarterTurns = 0
  /// Left and right exchanged, before turning.
  var isMirrored = false
  /// The turn in degrees as libav gives it: counterclockwise, −180 … 180.
  var degrees = 0
  /// The matrix asked for an angle between two quarter turns, and the nearer one is used.
  var isRounded = false

  static let upright = Orientation()

  /// Of a stream's display matrix: nine numbers of 16.16 fixed point, of which the left upper 2×2 turn and mirror.
  init(displayMatrix matrix: UnsafePointer<Int32>?) {
    guard let matrix else {
      self.init()
      return
    }
    self.init(a: Double(matrix[0]), b: Double(matrix[1]), c: Double(matrix[3]), d: Double(matrix[4]))
  }

  /// The point (x, y) goes to (a·x + c·y, b·x + d·y), y downwards.
  init(a: Double, b: Double, c: Double, d: Double) {
    guard a * d != b * c else { return }
    let scaleX = (a * a + c * c).squareRoot()
    let scaleY = (b * b + d * d).squareRoot()
    guard scaleX > 0, scaleY > 0 else { return }
    isMirrored = a * d < b * c
    // Where the picture's right side points to, after mirroring has been taken out; of the matrix without its scale, as libav does it.
    let sign: Double = isMirrored ? -1 : 1
    let angle = atan2(sign * b / scaleY, sign * a / scaleX) * 180 / .pi
    degrees = -Int(angle.rounded())
    let turn = angle / 90
    let nearest = turn.rounded()
    isRounded = abs(turn - nearest) > 1e-3
    quarterTurns = (Int(nearest) + 4) % 4
  }

  init() {}

  private init(quarterTurns: Int, isMirrored: Bool) {
    self.quarterTurns = quarterTurns
    self.isMirrored = isMirrored
    degrees = quarterTurns == 3 ? 90 : -90 * quarterTurns
  }

  /// Of an EXIF orientation tag, 1 … 8; nil for any other number.
  init?(exif tag: Int) {
    switch tag {
    case 1: self.init()
    case 2: self.init(a: -1, b: 0, c: 0, d: 1)
    case 3: self.init(a: -1, b: 0, c: 0, d: -1)
    case 4: self.init(a: 1, b: 0, c: 0, d: -1)
    case 5: self.init(a: 0, b: 1, c: 1, d: 0)
    case 6: self.init(a: 0, b: 1, c: -1, d: 0)
    case 7: self.init(a: 0, b: -1, c: -1, d: 0)
    case 8: self.init(a: 0, b: -1, c: 1, d: 0)
    default: return nil
    }
  }

  /// This one, then another.
  func followed(by next: Orientation) -> Orientation {
    // Mirroring after turning is turning the other way after mirroring.
    let turns = next.isMirrored ? next.quarterTurns - quarterTurns : next.quarterTurns + quarterTurns
    return Orientation(quarterTurns: (turns + 4) % 4, isMirrored: isMirrored != next.isMirrored)
  }

  /// The same picture, upright.
  func upright(_ image: RGBImage) -> RGBImage {
    guard quarterTurns != 0 || isMirrored else { return image }
    let width = image.width
    let height = image.height
    let isSideways = quarterTurns % 2 == 1
    let newWidth = isSideways ? height : width
    let newHeight = isSideways ? width : height
    // Where the new picture's first pixel comes from, and how far apart its neighbours to the right and below are.
    let (x0, y0, right, down): (Int, Int, (Int, Int), (Int, Int)) =
      switch quarterTurns {
      case 0: (0, 0, (1, 0), (0, 1))
      case 1: (0, height - 1, (0, -1), (1, 0))
      case 2: (width - 1, height - 1, (-1, 0), (0, -1))
      default: (width - 1, 0, (0, 1), (-1, 0))
      }
    func offset(_ x: Int, _ y: Int) -> Int { (y * width + x) * 3 }
    let sign = isMirrored ? -1 : 1
    let start = offset(isMirrored ? width - 1 - x0 : x0, y0)
    let stepRight = offset(sign * right.0, right.1)
    let stepDown = offset(sign * down.0, down.1)
    let pixels = [UInt8](unsafeUninitializedCapacity: image.pixels.count) { target, count in
      image.pixels.withUnsafeBufferPointer { source in
        var next = 0
        for row in 0..<newHeight {
          var from = start + row * stepDown
          for _ in 0..<newWidth {
            target[next] = source[from]
            target[next + 1] = source[from + 1]
            target[next + 2] = source[from + 2]
            next += 3
            from += stepRight
          }
        }
        count = next
      }
    }
    return RGBImage(checkedWidth: newWidth, height: newHeight, pixels: pixels)
  }
}
