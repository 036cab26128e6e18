extension TensorRequirement {
  /// Calls `body` with each index of the stored layout, in order, and the index of that value in the checkpoint's.
  package func forEachStoredIndex(_ body: (_ stored: Int, _ source: Int) -> Void) {
    let count = shape.reduce(1, *)
    switch layout {
    case .asStored:
      for index in 0..<count { body(index, index) }
    case .patchMatrix:
      let (outputs, inputs, area) = (shape[0], shape[1], shape[2] * shape[3])
      var stored = 0
      for output in 0..<outputs {
        for position in 0..<area {
          for input in 0..<inputs {
            body(stored, (output * inputs + input) * area + position)
            stored += 1
          }
        }
      }
    case .depthwise:
      let (channels, area) = (shape[0], shape[2] * shape[3])
      var stored = 0
      for position in 0..<area {
        for channel in 0..<channels {
          body(stored, channel * area + position)
          stored += 1
        }
      }
    }
  }
}
