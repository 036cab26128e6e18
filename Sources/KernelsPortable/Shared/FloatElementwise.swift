import CIntrinsics

func addScaled(
  _ x: UnsafePointer<Float>, _ bias: UnsafePointer<Float>?, _ scale: UnsafePointer<Float>?, _ count: Int, _ y: UnsafeMutablePointer<Float>
) {
  switch (bias, scale) {
  case (nil, nil):
    eachVector(count) { i, part in store(load(y + i, part) + load(x + i, part), y + i, part) }
  case (let bias?, nil):
    eachVector(count) { i, part in store(load(y + i, part) + (load(x + i, part) + load(bias + i, part)), y + i, part) }
  case (nil, let scale?):
    eachVector(count) { i, part in store(multiplyAdd(load(scale + i, part), load(x + i, part), load(y + i, part)), y + i, part) }
  case (let bias?, let scale?):
    eachVector(count) { i, part in
      store(multiplyAdd(load(scale + i, part), load(x + i, part) + load(bias + i, part), load(y + i, part)), y + i, part)
    }
  }
}

func addMultiple(_ a: Float, _ x: UnsafePointer<Float>, _ count: Int, _ y: UnsafeMutablePointer<Float>) {
  let factor = Lanes(repeating: a)
  eachVector(count) { i, part in store(multiplyAdd(factor, load(x + i, part), load(y + i, part)), y + i, part) }
}

func scale(_ x: UnsafeMutablePointer<Float>, _ a: Float, _ count: Int) {
  let factor = Lanes(repeating: a)
  eachVector(count) { i, part in store(load(x + i, part) * factor, x + i, part) }
}

func maximum(_ x: UnsafePointer<Float>, _ count: Int) -> Float {
  var greatest = Lanes(repeating: -.infinity)
  var rest = -Float.infinity
  eachVector(count) { i, part in
    if part == laneCount {
      // The new value first: what is not a number is passed over.
      greatest = lanes_max(lanes_load(x + i), greatest)
    } else {
      for j in 0..<part where x[i + j] > rest { rest = x[i + j] }
    }
  }
  for lane in 0..<laneCount where greatest[lane] > rest { rest = greatest[lane] }
  return rest
}

func rotate(_ x: UnsafeMutablePointer<Float>, _ heads: Int, _ half: Int, _ cos: UnsafePointer<Float>, _ sin: UnsafePointer<Float>) {
  var head = x
  for _ in 0..<heads {
    let low = head
    let high = head + half
    eachVector(half) { i, part in
      let a = load(low + i, part)
      let b = load(high + i, part)
      let c = load(cos + i, part)
      let s = load(sin + i, part)
      store(multiplyAdd(a, c, -(b * s)), low + i, part)
      store(multiplyAdd(b, c, a * s), high + i, part)
    }
    head += 2 * half
  }
}
