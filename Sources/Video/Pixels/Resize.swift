extension RGBImage {
  /// The part `columns` × `rows` of this image resized to `width` × `height`, equal to Pillow's `resize(BICUBIC)` to the last bit:
  /// horizontally first, then vertically, rounded to 8 bits after each. (Pillow 13 exchanges the passes where the width grows and the
  /// height shrinks, which no resize that keeps the picture's shape does.) Only what the part needs is computed.
  ///
  /// The part must lie inside `width` × `height`, and not be empty.
  package func resized(width newWidth: Int, height newHeight: Int, columns: Range<Int>, rows: Range<Int>) -> RGBImage {
    // A pass that changes nothing is left out, as Pillow does; its weights would be one and zeros.
    let vertical = newHeight == height ? nil : BicubicFilter(input: height, output: newHeight, part: rows)
    let needed = vertical?.inputs ?? rows
    let narrow =
      newWidth == width
      ? ByteRows(of: self, columns: columns, rows: needed)
      : ByteRows(of: self, filteredBy: BicubicFilter(input: width, output: newWidth, part: columns), rows: needed)
    let result = vertical.map { narrow.filtered($0, firstRow: needed.lowerBound) } ?? narrow
    return RGBImage(checkedWidth: columns.count, height: rows.count, pixels: result.packed())
  }
}
