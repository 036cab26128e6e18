import CIntrinsics
import Kernels

// Activations to int8. The same with vectors of 256 and of 512 bits: `Integers`, what is done with them, `greatestMagnitude` and
// `quantizeGroup` of one token are the module's own.

/// See `QuantizedKernels.quantizeRows`. A group's offset is −8 · Σ values.
func quantizeRows(
  _ x: UnsafePointer<Float>, _ stride: Int, _ columns: Int, _ rows: QuantizedRows, _ tokens: Range<Int>, _ groups: Range<Int>
) {
  quantize4RowsAtOnce(x, stride, columns, rows, tokens, groups) { x in
    greatestMagnitudes(x, stride, rows.group)
  } values: { x, inverses, to, width in
    quantizeGroup(x, stride, rows.group, inverses, to, width)
  } single: { x, columns, token, groups in
    quantizeRow(x, columns, rows, token, groups)
  }
}

@inline(never)
private func quantizeRow(_ x: UnsafePointer<Float>, _ columns: Int, _ rows: QuantizedRows, _ token: Int, _ groups: Range<Int>) {
  quantizeRow(x, columns, rows, token, groups) { x, known in
    greatestMagnitude(x, known)
  } values: { x, known, inverse, to, width, _ in
    quantizeGroup(x, known, inverse, rows.group, to, width)
  }
}

/// The bits of the greatest |x| of each of four tokens.
@inline(__always)
private func greatestMagnitudes(_ x: UnsafePointer<Float>, _ stride: Int, _ count: Int) -> SIMD4<Int32> {
  var a = zeroIntegers()
  var b = a
  var c = a
  var d = a
  var from = x
  for _ in 0..<count / integersInVector {
    a = greaterMagnitudes(a, from)
    b = greaterMagnitudes(b, from + stride)
    c = greaterMagnitudes(c, from + 2 * stride)
    d = greaterMagnitudes(d, from + 3 * stride)
    from += integersInVector
  }
  return greatestOfFour(a, b, c, d)
}

/// A group of four tokens, and the sums of their values.
@inline(__always)
private func quantizeGroup(
  _ x: UnsafePointer<Float>, _ stride: Int, _ count: Int, _ inverses: SIMD4<Float>, _ to: UnsafeMutableRawPointer, _ width: Int
) -> SIMD4<Int32> {
  var sums = zeroIntegers()
  var from = x
  var to = to
  for _ in 0..<count / integersInVector {
    let bytes = interleaveBytes(
      roundedProducts(from, inverses[0]), roundedProducts(from + stride, inverses[1]), roundedProducts(from + 2 * stride, inverses[2]),
      roundedProducts(from + 3 * stride, inverses[3]))
    sums = addFours(sums, bytes)
    storeSixteens(to, bytes, 4 * width)
    from += integersInVector
    to += integersInVector * width
  }
  return sumsOfFours(sums)
}
