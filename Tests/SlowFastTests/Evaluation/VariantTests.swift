import Conversion
import Lab
import Testing

/// Variants as `--variants` names them.
@Suite struct VariantTests {
  @Test func goodOnes() throws {
    let variants = try ComparisonVariant.list(parsing: "16,8,4a,4:tower=8:mlp=16:group=64,16:cross=4,4:model.layers.0.*=8,8:input=float")
    #expect(variants.map(\.name) == ["16", "8", "4a", "4:tower=8:mlp=16:group=64", "16:cross=4", "4:model.layers.0.*=8", "8:input=float"])
    #expect(variants.map(\.conversion.bits) == [16, 8, 4, 4, 16, 4, 8])
    #expect(variants.map(\.conversion.isAsymmetric) == [false, false, true, false, false, false, false])
    #expect(variants[3].conversion.keep == [KeepRule(pattern: "tower", bits: 8), KeepRule(pattern: "mlp", bits: 16)])
    #expect(variants[3].conversion.group == 64 && variants[5].conversion.keep[0].pattern == "model.layers.0.*")
    #expect(variants.map(\.hasFloatInputs) == [false, false, false, false, false, false, true])
  }

  @Test(arguments: [
    "", "5", "a", "4b", "16a", "4,", "4:", "4:tower", "4:tower=7", "4:group=33", "4:=8", "4:input=int4", "8:speed", "16:group=64", "4 8",
    "4:method=best", "4:target=", "4:target=0.5", "4:target=33", "4:target=x", "4:target=nan", "4:method=rtn:calibrated", "16:calibrated",
    "u", "8u", "4ua", "4au", "16u", "3u:mlp=8",
  ])
  func senselessOnes(text: String) throws {
    let error = try #require(failure { _ = try ComparisonVariant.list(parsing: text) })
    guard error.isA(.invalidOption, "variants") else {
      Issue.record("\(error)")
      return
    }
  }

  @Test func unevenLevels() throws {
    let variants = try ComparisonVariant.list(parsing: "4,4u,8u:mlp=4,3u:target=4,4u:method=gptq:group=32")
    #expect(variants.map(\.conversion.isUneven) == [false, true, true, true, true])
    #expect(variants.map(\.conversion.bits) == [4, 4, 8, 3, 4])
  }

  @Test func methods() throws {
    let variants = try ComparisonVariant.list(parsing: "4:method=rtn,4,4:calibrated,4:method=gptq")
    #expect(variants.map(\.conversion.method.rawValue) == ["rtn", "search", "search", "gptq"])
    #expect(variants.map(\.isCalibrated) == [false, false, true, true])
  }

  @Test func targets() throws {
    let variants = try ComparisonVariant.list(parsing: "4,4:target=4.5,8:method=gptq:target=6:tower=8")
    #expect(variants.map(\.target) == [nil, .bits(4.5), .bits(6)])
    #expect(variants[2].isCalibrated && variants[2].conversion.keep == [KeepRule(pattern: "tower", bits: 8)])
  }

  @Test func optionsThatMakeNoSense() throws {
    func check(_ change: (inout ComparisonOptions) throws -> Void) throws {
      var options = ComparisonOptions()
      try change(&options)
      guard failure({ try options.validate() })?.isA(.invalidOption) == true else {
        Issue.record("\(options) was taken")
        return
      }
    }
    try check { $0.partBits = nil }
    try check { $0.variants = try ComparisonVariant.list(parsing: "4:method=gptq") }
    try check { $0.partBits = 16 }
    try check { $0.variants = try ComparisonVariant.list(parsing: "8,4,8") }
    try check { $0.files = ["a.sfq", "a.sfq"] }
    try check { $0.maximumTokens = 0 }
    try check { $0.frames = 0 }
    try check { $0.threads = 0 }
  }
}
