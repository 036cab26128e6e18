import Support

extension Calibrator {
  /// Mean squares of the inputs of every matrix that is watched, by the matrix's name: a run through the whole unquantized model. The
  /// activations stand at the model's beginning again afterwards.
  func allMoments() throws(SlowFastError) -> [String: [Float]] {
    var moments: [String: [Float]] = [:]
    try forEachUnit { unit in
      for slot in unit.slots {
        let own = slot.storedMoments()
        for name in slot.names { moments[name] = own }
      }
    }
    return moments
  }
}
