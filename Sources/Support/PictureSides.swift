/// Sides of a picture whose longer one is made `longest`: the other in proportion, rounded down, then up to an even number, and at least 1;
/// as SmolVLM's processors compute it, in doubles.
package func evenSides(width: Int, height: Int, longest: Int) -> (width: Int, height: Int) {
  let shape = Double(width) / Double(height)
  let other = width >= height ? Int(Double(longest) / shape) : Int(Double(longest) * shape)
  let even = max(1, other + other % 2)
  return width >= height ? (longest, even) : (even, longest)
}
