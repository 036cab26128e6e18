import Support
import Testing

@Suite struct TextTests {
  @Test func bytesForPeople() {
    #expect(formatBytes(0) == "0 bytes")
    #expect(formatBytes(1536) == "1.5 KiB")
    #expect(formatBytes(5 << 30) == "5.0 GiB")
    #expect(formatBytes(300 << 20) == "300 MiB")
  }

  @Test func numbers() {
    #expect(2.0.fixed(1) == "2.0" && (-0.126).fixed(2) == "-0.13" && 1234.5678.fixed(0) == "1235")
    #expect(UInt64(255).hexadecimal() == "00000000000000ff" && UInt64.max.hexadecimal() == "ffffffffffffffff")
    #expect(UInt64(0).hexadecimal(digits: 4) == "0000")
    #expect("ab".padded(to: 4) == "ab  " && "ab".leftPadded(to: 4, with: "0") == "00ab" && "abcd".padded(to: 2) == "abcd")
  }

  @Test func timeGoesForward() {
    let (wall, processor) = (monotonicSeconds(), processorSeconds())
    var sum = 0.0
    while monotonicSeconds() - wall < 0.01 { sum += 1 }
    #expect(sum > 0 && processorSeconds() > processor && processorSeconds() - processor < 60)
  }
}
