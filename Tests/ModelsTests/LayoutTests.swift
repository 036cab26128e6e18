import Models
import Testing

/// The order in which a model file has a tensor's values.
@Suite struct LayoutTests {
  /// Some requirement of a schema, with another shape and layout.
  private func requirement(_ shape: [Int], _ layout: TensorLayout) throws -> TensorRequirement {
    let prefix = ConvNeXtTower.prefix
    let shapes = [prefix + "stem.0.weight": [8, 3, 4, 4], prefix + "stages.0.blocks.0.mlp.fc1.weight": [32, 8]]
    var requirement = try TensorSchema(needed: config(), shapes: TensorShapes(shapes)).requirements[0]
    requirement.shape = shape
    requirement.layout = layout
    return requirement
  }

  private func order(_ shape: [Int], _ layout: TensorLayout) throws -> [Int] {
    var sources: [Int] = []
    try requirement(shape, layout).forEachStoredIndex { stored, source in
      #expect(stored == sources.count)
      sources.append(source)
    }
    return sources
  }

  @Test func asStored() throws { #expect(try order([2, 3], .asStored) == [0, 1, 2, 3, 4, 5]) }

  /// [out, in, y, x] → [out, y, x, in].
  @Test func patchMatrix() throws {
    let (outputs, inputs, height, width) = (3, 2, 2, 2)
    var expected: [Int] = []
    for output in 0..<outputs {
      for y in 0..<height {
        for x in 0..<width {
          for input in 0..<inputs { expected.append(((output * inputs + input) * height + y) * width + x) }
        }
      }
    }
    #expect(try order([outputs, inputs, height, width], .patchMatrix) == expected)
  }

  /// [channels, 1, y, x] → [y, x, channels].
  @Test func depthwise() throws {
    #expect(try order([2, 1, 1, 3], .depthwise) == [0, 3, 1, 4, 2, 5])
    #expect(try Set(order([5, 1, 7, 7], .depthwise)) == Set(0..<245))
  }

  @Test func storedShapes() throws {
    #expect(try requirement([8, 3, 4, 4], .patchMatrix).storedShape == [8, 48])
    #expect(try requirement([8, 1, 7, 7], .depthwise).storedShape == [49, 8])
    #expect(try requirement([8, 3], .asStored).storedShape == [8, 3])
  }
}
