import Safetensors
import TestSupport
import Testing

/// Damaged files must be refused or read, never trap: seeded, so that a failure repeats.
@Suite struct FuzzTests {
  private static let interesting = Array("{}[]\",:\\u-+.eE0123456789 \u{0}\u{7F}".utf8) + [0x80, 0xC3, 0xE2, 0xF0, 0xFF]

  private func mutate(_ bytes: [UInt8], _ random: inout SeededNumbers) -> [UInt8] {
    var bytes = bytes
    for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
      let place = Int.random(in: 0..<bytes.count, using: &random)
      switch Int.random(in: 0..<6, using: &random) {
      case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 1: bytes[place] = Self.interesting.randomElement(using: &random) ?? 0
      case 2: bytes.insert(Self.interesting.randomElement(using: &random) ?? 0, at: place)
      case 3: bytes.remove(at: place)
      case 4: bytes.removeSubrange(place...)
      default:
        let end = min(bytes.count, place + Int.random(in: 1...20, using: &random))
        bytes.insert(contentsOf: bytes[place..<end], at: Int.random(in: 0..<bytes.count, using: &random))
      }
    }
    return bytes
  }

  @Test func damagedFilesNeverTrap() throws {
    let directory = try TemporaryDirectory()
    let text = """
      {"__metadata__":{"a\\u00e9\\ud83d\\ude00":"b\\\\\\n"},"x.weight":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},
      "y":{"dtype":"F32","shape":[],"data_offsets":[12,16],"extra":[true,false,null,-1.5e-3,{"k":[]}]}}
      """
    let header = Array(text.utf8)
    var random = SeededNumbers(1)
    var accepted = 0
    for round in 0..<4000 {
      // The header alone in most rounds, with its length put right: otherwise few mutations get beyond the first check.
      let bytes =
        round % 4 == 0
        ? mutate(safetensors(header, data: [UInt8](repeating: 0x3F, count: 16)), &random)
        : safetensors(mutate(header, &random), data: [UInt8](repeating: 0x3F, count: 16))
      let path = try directory.write("fuzz", bytes)
      do {
        let file = try SafetensorsFile(path: path)
        accepted += 1
        for tensor in file.tensors {
          #expect(tensor.bytes.upperBound <= bytes.count)
          _ = try? file.floats(of: tensor.name)
        }
      } catch {
        #expect(!error.description.contains("\n"))
      }
    }
    // Some mutations are harmless; most are not.
    #expect(accepted > 20 && accepted < 2000)
  }

  @Test func damagedIndexNeverTraps() throws {
    let directory = try TemporaryDirectory()
    try directory.write("config.json", "{}")
    try directory.write("one.safetensors", zeros([("a", [1]), ("b", [2])]))
    let index = Array("{\"metadata\":{\"total_size\":12},\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"one.safetensors\"}}".utf8)
    var random = SeededNumbers(2)
    for _ in 0..<1000 {
      try directory.write("model.safetensors.index.json", mutate(index, &random))
      do { _ = try Checkpoint(directory: directory.path) } catch { #expect(!error.description.contains("\n")) }
    }
  }
}
