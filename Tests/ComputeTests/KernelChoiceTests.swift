import Compute
import Testing

@Suite struct KernelChoiceTests {
  @Test func portableIsAlwaysThere() throws {
    #expect(KernelChoice.available.last?.name == "portable")
    #expect(try KernelChoice.kernels(named: "portable").name == "portable")
    #expect(try KernelChoice.kernels(named: nil).name == kernelNames[0])
  }

  @Test func refusesUnknownNames() {
    #expect(throws: ComputeError.noSuchKernels(name: "avx1024", available: kernelNames)) {
      try KernelChoice.kernels(named: "avx1024")
    }
    let text = ComputeError.noSuchKernels(name: "a\u{1b}[1m", available: ["avx2", "portable"]).description
    #expect(text == #"SLOWFAST_KERNELS: this machine has no kernels named "a\u{1B}[1m"; it has avx2, portable"#)
  }
}
