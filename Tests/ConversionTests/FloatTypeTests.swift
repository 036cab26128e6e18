import Conversion
import ModelFile
import TestSupport
import Testing

/// Every stored value becomes the float that it stands for, and every float the nearest stored value.
@Suite struct FloatTypeTests {
  let directory: TemporaryDirectory
  init() throws { directory = try TemporaryDirectory() }

  /// All 65536 bit patterns of float16, denormals, infinities and NaN among them.
  @Test func everyHalf() throws {
    var checkpoint = try EditableCheckpoint("strides")
    let names = ["model.embed_tokens.weight", "lm_head.weight"]
    var pattern: UInt16 = 0
    for name in names {
      checkpoint[name].bytes = (0..<512 * 96).flatMap { _ in
        defer { pattern &+= 1 }
        return [UInt8(truncatingIfNeeded: pattern), UInt8(pattern >> 8)]
      }
    }
    let options = ConversionOptions(bits: 32, allowsNonfinite: true)
    try Converter(checkpoint: checkpoint.write(in: directory), options: options).run(to: directory.output)
    let file = try ModelFileReader(path: directory.output)
    let values = try names.flatMap { try ReadTensor(file, $0).values }
    var wrong = 0
    for (index, value) in values.enumerated() {
      let expected = Float(Float16(bitPattern: UInt16(truncatingIfNeeded: index)))
      let isSame = expected.isNaN ? value.isNaN : value.bitPattern == expected.bitPattern
      if !isSame { wrong += 1 }
    }
    #expect(values.count > 65536)
    #expect(wrong == 0)
  }

  /// float32 to bfloat16: nearest, ties to even, NaN stays NaN.
  @Test func roundingToBFloat16() throws {
    var checkpoint = try EditableCheckpoint("clip")
    let name = "model.embed_tokens.weight"
    let tails: [UInt32] = [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF]
    // Heads of all exponents, even and odd; the greatest finite one would round to infinity.
    let heads = (UInt32(0)..<0xFFFF).filter { $0 & 0x7FFF != 0x7F7F }
    let values = (0..<512 * 128).map { index in
      Float(bitPattern: heads[index % heads.count] << 16 | tails[index % tails.count])
    }
    checkpoint[name].type = .float32
    checkpoint[name].bytes = values.withUnsafeBytes { Array($0) }
    let options = ConversionOptions(bits: 16, allowsNonfinite: true)
    try Converter(checkpoint: checkpoint.write(in: directory), options: options).run(to: directory.output)
    let read = try ReadTensor(ModelFileReader(path: directory.output), name).values
    for (value, found) in zip(values, read) {
      guard value.isFinite else {
        #expect(value.isNaN ? found.isNaN : found == value)
        continue
      }
      let below = Float(bitPattern: value.bitPattern & 0xFFFF_0000)
      let above = Float(bitPattern: below.bitPattern + 0x1_0000)
      let (down, up) = (abs(Double(value) - Double(below)), abs(Double(above) - Double(value)))
      let isEven = below.bitPattern & 0x1_0000 == 0
      let expected = down < up || down == up && isEven ? below : above
      if found.bitPattern != expected.bitPattern { Issue.record("\(value): \(found), expected \(expected)") }
    }
  }
}
