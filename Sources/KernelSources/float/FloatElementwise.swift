import CIntrinsics

func addMultiple(_ a: Float, _ x: UnsafePointer<Float>, _ count: Int, _ y: UnsafeMutablePointer<Float>) {
  let factor = Wide(repeating: a)
  eachWide(count) { i, part in store(multiplyAdd(factor, loadWide(x + i, part), loadWide(y + i, part)), y + i, part) }
}

func scale(_ x: UnsafeMutablePointer<Float>, _ a: Float, _ count: Int) {
  let factor = Wide(repeating: a)
  eachWide(count) { i, part in store(loadWide(x + i, part) * factor, x + i, part) }
}

func maximum(_ x: UnsafePointer<Float>, _ count: Int) -> Float {
  var greatest = Wide(repeating: -.infinity)
  var rest = -Float.infinity
  eachWide(count) { i, part in
    if part == wideCount {
      // The new value first: what is not a number is passed over.
      greatest = loadWide(x + i).orMore(greatest)
    } else {
      for j in 0..<part where x[i + j] > rest { rest = x[i + j] }
    }
  }
  let whole = lanes_greatest(lanes_max(greatest.low, greatest.high))
  return whole > rest ? whole : rest
}

func rotate(_ x: UnsafeMutablePointer<Float>, _ heads: Int, _ half: Int, _ cos: UnsafePointer<Float>, _ sin: UnsafePointer<Float>) {
  var head = x
  for _ in 0..<heads {
    let low = head
    let high = head + half
    eachWide(half) { i, part in
      let a = loadWide(low + i, part)
      let b = loadWide(high + i, part)
      let c = loadWide(cos + i, part)
      let s = loadWide(sin + i, part)
      store(multiplyAdd(a, c, -(b * s)), low + i, part)
      store(multiplyAdd(b, c, a * s), high + i, part)
    }
    head += 2 * half
  }
}
