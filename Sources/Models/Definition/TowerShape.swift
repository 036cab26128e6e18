/// The measures of a ConvNeXt tower, read off its tensors' names and shapes.
package struct TowerShape: Sendable, Equatable {
  package static let prefix = "model.vision_tower.vision_tower."

  /// Blocks of each stage: 3, 4, 30, 3 in ConvNeXt-XXLarge.
  package var depths: [Int]
  /// Channels of each stage: 384, 768, 1536, 3072.
  package var widths: [Int]
  /// Inner width of each stage's blocks: 4 × the stage's width in all known towers.
  package var innerWidths: [Int]
  /// Side of the stem's square patch: 4.
  package var patch: Int

  /// From tensor shapes under their canonical names.
  package init(shapes: [String: [Int]]) throws(ArchitectureError) {
    let stem = Self.prefix + "stem.0.weight"
    guard let stemShape = shapes[stem] else { throw .missingTensors([stem]) }
    guard stemShape.count == 4, stemShape[1] == 3, stemShape[2] == stemShape[3], (1...16).contains(stemShape[2]), stemShape[0] >= 1
    else { throw .towerShape(tensor: stem, found: stemShape, expected: "[channels, 3, 4, 4]") }
    patch = stemShape[2]
    depths = []
    widths = []
    innerWidths = []
    while depths.count < 16 {
      let stage = depths.count
      func fc1(_ block: Int) -> String { Self.prefix + "stages.\(stage).blocks.\(block).mlp.fc1.weight" }
      guard let shape = shapes[fc1(0)] else { break }
      guard shape.count == 2, shape[0] >= 1, shape[1] >= 1 else {
        throw .towerShape(tensor: fc1(0), found: shape, expected: "[inner, channels]")
      }
      var depth = 1
      while depth < 1024, shapes[fc1(depth)] != nil { depth += 1 }
      depths.append(depth)
      widths.append(shape[1])
      innerWidths.append(shape[0])
    }
    guard !depths.isEmpty else { throw .missingTensors([Self.prefix + "stages.0.blocks.0.mlp.fc1.weight"]) }
  }

  /// Pixels of the input that one output position stands for, along a side: 32.
  package var reduction: Int { patch << (depths.count - 1) }
  package var outputWidth: Int { widths[widths.count - 1] }
}
