extension RGBImage {
  /// The part `columns` × `rows` of this image resized to `width` × `height`, equal to Pillow's `resize(BICUBIC)` to the last bit:
  /// horizontally first, then vertically, rounded to 8 bits after each. Only what the part needs is computed.
  ///
  /// The part must lie inside `width` × `height`, and not be empty.
  func resized(width newWidth: Int, height newHeight: Int, columns: Range<Int>, rows: Range<Int>) -> RGBImage {
    // Pillow leaves a pass out when it would change nothing; its weights would be one and zeros.
    let vertical = newHeight == height ? nil : BicubicFilter(input: height, output: newHeight, part: rows)
    let needed = vertical?.inputs ?? rows
    let narrowed: [UInt8]
    if newWidth == width {
      narrowed = crop(columns: columns, rows: needed)
    } else {
      narrowed = resizedRows(BicubicFilter(input: width, output: newWidth, part: columns), rows: needed)
    }
    guard let vertical else { return RGBImage(checkedWidth: columns.count, height: rows.count, pixels: narrowed) }
    let pixels = resizedColumns(narrowed, rowBytes: columns.count * 3, firstRow: needed.lowerBound, vertical)
    return RGBImage(checkedWidth: columns.count, height: rows.count, pixels: pixels)
  }

  /// The rows and columns as they are.
  private func crop(columns: Range<Int>, rows: Range<Int>) -> [UInt8] {
    if columns.count == width { return Array(pixels[rows.lowerBound * width * 3..<rows.upperBound * width * 3]) }
    var result: [UInt8] = []
    result.reserveCapacity(columns.count * rows.count * 3)
    for row in rows {
      let start = (row * width + columns.lowerBound) * 3
      result += pixels[start..<start + columns.count * 3]
    }
    return result
  }

  /// The given rows, each filtered along itself.
  private func resizedRows(_ filter: BicubicFilter, rows: Range<Int>) -> [UInt8] {
    let columns = filter.starts.count, taps = filter.taps
    return [UInt8](unsafeUninitializedCapacity: rows.count * columns * 3) { target, count in
      pixels.withUnsafeBufferPointer { source in
        filter.weights.withUnsafeBufferPointer { weights in
          var out = 0
          for row in rows {
            for column in 0..<columns {
              var from = (row * width + filter.starts[column]) * 3
              var red = half, green = half, blue = half
              for tap in column * taps..<(column + 1) * taps {
                let weight = weights[tap]
                red &+= Int32(source[from]) &* weight
                green &+= Int32(source[from + 1]) &* weight
                blue &+= Int32(source[from + 2]) &* weight
                from += 3
              }
              target[out] = clipped(red)
              target[out + 1] = clipped(green)
              target[out + 2] = clipped(blue)
              out += 3
            }
          }
        }
      }
      count = rows.count * columns * 3
    }
  }
}

/// Rows of `rowBytes` bytes, of which the first is the image's row `firstRow`, filtered downwards.
private func resizedColumns(_ source: [UInt8], rowBytes: Int, firstRow: Int, _ filter: BicubicFilter) -> [UInt8] {
  [UInt8](unsafeUninitializedCapacity: filter.starts.count * rowBytes) { target, count in
    source.withUnsafeBufferPointer { source in
      filter.weights.withUnsafeBufferPointer { weights in
        withUnsafeTemporaryAllocation(of: Int32.self, capacity: rowBytes) { sums in
          for (row, start) in filter.starts.enumerated() {
            for index in 0..<rowBytes { sums[index] = half }
            for tap in 0..<filter.taps {
              let weight = weights[row * filter.taps + tap]
              if weight == 0 { continue }
              let line = (start - firstRow + tap) * rowBytes
              for index in 0..<rowBytes { sums[index] &+= Int32(source[line + index]) &* weight }
            }
            for index in 0..<rowBytes { target[row * rowBytes + index] = clipped(sums[index]) }
          }
        }
      }
    }
    count = filter.starts.count * rowBytes
  }
}

/// One half, so that the shift rounds.
private let half: Int32 = 1 << (BicubicFilter.precision - 1)

@inline(__always)
private func clipped(_ sum: Int32) -> UInt8 { UInt8(truncatingIfNeeded: max(0, min(255, sum >> BicubicFilter.precision))) }
