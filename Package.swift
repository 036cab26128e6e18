// swift-tools-version:6.2
import PackageDescription

let strict: [SwiftSetting] = [.swiftLanguageMode(.v6)]

/// Settings of a module that holds kernels of one instruction set; what these modules share, and how, is in
/// `Sources/KernelSources/README.md`. `-Ounchecked` also in debug builds: a kernel that is not optimised is of no use to anyone, and its
/// operands are checked by the operator that calls it.
func kernels(_ march: [String]) -> [SwiftSetting] {
  strict + [.unsafeFlags(["-Ounchecked"] + march.flatMap { ["-Xcc", $0] })]
}

/// The machine that will run the product, which `#if arch` here would not tell when cross-compiling.
let isARM: Bool = {
  if Context.environment["ARM64_CROSS"] != nil { return true }
  #if arch(arm64)
    return true
  #else
    return false
  #endif
}()

let kernelTargets: [Target] =
  isARM
  ? [
    .target(name: "KernelsNEON", dependencies: ["Kernels", "CIntrinsics", "Tensors"], swiftSettings: kernels([])),
    .target(
      name: "KernelsDotProd", dependencies: ["Kernels", "KernelsNEON", "CIntrinsics"],
      swiftSettings: kernels(["-march=armv8.2-a+dotprod"])),
    .target(
      name: "KernelsI8MM", dependencies: ["Kernels", "KernelsNEON", "KernelsDotProd", "CIntrinsics"],
      swiftSettings: kernels(["-march=armv8.2-a+dotprod+i8mm"])),
  ]
  : [
    .target(
      name: "KernelsAVX2", dependencies: ["Kernels", "CIntrinsics", "Tensors"],
      swiftSettings: kernels(["-march=x86-64-v3"])),
    .target(
      name: "KernelsAVXVNNI", dependencies: ["Kernels", "CIntrinsics", "Tensors"],
      swiftSettings: kernels(["-march=x86-64-v3", "-mavxvnni"])),
    // The sources of KernelsAVXVNNI, encoded for AVX-512 VL.
    .target(
      name: "KernelsAVX512VL", dependencies: ["Kernels", "CIntrinsics", "Tensors"],
      swiftSettings: kernels(["-march=x86-64-v4", "-mavx512vnni"])),
    .target(
      name: "KernelsAVX512", dependencies: ["Kernels", "CIntrinsics", "Tensors"],
      swiftSettings: kernels(["-march=x86-64-v4", "-mavx512vnni"])),
    .target(
      name: "KernelsAMX", dependencies: ["Kernels", "CIntrinsics", "Tensors"],
      swiftSettings: kernels(["-march=x86-64-v4", "-mavx512vnni", "-mavx512vbmi", "-mamx-tile", "-mamx-int8"])),
  ]

func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = [], resources: [Resource] = []) -> Target {
  .testTarget(name: name, dependencies: dependencies + ["TestSupport"], exclude: exclude, resources: resources, swiftSettings: strict)
}

/// What only the server needs: not built without its trait (`swift build --disable-default-traits`).
let withServer = TargetDependencyCondition.when(traits: ["Server"])

let package = Package(
  name: "slowfast",
  products: [
    .library(name: "SlowFast", targets: ["SlowFast"]),
    .library(name: "SlowFastLab", targets: ["Lab"]),
    .executable(name: "slowfast", targets: ["slowfast"]),
  ],
  traits: [
    .trait(name: "Server", description: "`slowfast serve`: OpenAI's API over HTTP, and a page."),
    .default(enabledTraits: ["Server"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
    .package(url: "https://github.com/apple/swift-log", from: "1.14.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
  ],
  targets: [
    // C: headers and system libraries only.
    .systemLibrary(name: "CIntrinsics"),
    .systemLibrary(name: "CPixels"),
    .systemLibrary(name: "CSandbox"),
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .systemLibrary(name: "CXXHash", providers: [.apt(["libxxhash-dev"])]),
    .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
    .systemLibrary(
      name: "CLibAV", pkgConfig: "libavformat libavcodec libswscale libavutil",
      providers: [.apt(["libavformat-dev", "libavcodec-dev", "libswscale-dev", "libavutil-dev"])]),

    // Files, locks, time, memory, JSON and the text of messages.
    .target(name: "Support", dependencies: ["CIntrinsics"], swiftSettings: strict),

    // What a value is stored as, and where quantized matrices have theirs.
    // Optimised in debug builds too: tests quantize and read whole models.
    .target(name: "Tensors", swiftSettings: strict + [.unsafeFlags(["-O"])]),

    // Computing.
    .target(name: "Parallel", dependencies: ["CIntrinsics", "Support"], swiftSettings: strict),
    .target(name: "Kernels", dependencies: ["CIntrinsics", "Tensors"], swiftSettings: strict),
    .target(name: "KernelsPortable", dependencies: ["Kernels", "CIntrinsics", "Tensors"], swiftSettings: kernels([])),
    .target(
      name: "Compute",
      dependencies: ["CIntrinsics", "Parallel", "Support", "Kernels", "KernelsPortable", "Tensors", "CXXHash"]
        + kernelTargets.map { .byName(name: $0.name) },
      swiftSettings: strict),

    // What this machine can do at most.
    .target(name: "Measurement", dependencies: ["Kernels", "Parallel", "Support"], swiftSettings: strict),

    // What comes from outside.
    .target(name: "Tokenizer", dependencies: ["Support"], exclude: ["Unicode/make_unicode_tables.py"], swiftSettings: strict),
    .target(
      name: "Video", dependencies: ["CLibAV", "CPixels", "CSandbox", "Support"],
      // What a process decodes before any clip is there.
      resources: [.embedInCode("Resources/small.mp4")], swiftSettings: strict),
    .target(name: "Safetensors", dependencies: ["Support", "Tensors"], swiftSettings: strict),

    .target(name: "ModelFile", dependencies: ["Support", "Parallel", "Tensors", "CZstd", "CXXHash"], swiftSettings: strict),
    // Optimised in debug builds too: tests quantize whole models.
    .target(name: "Quantization", dependencies: ["CIntrinsics", "Kernels", "Parallel", "Support", "Tensors"], swiftSettings: kernels([])),

    // What answers may be.
    .target(name: "Grammar", dependencies: ["Support"], swiftSettings: strict),

    // What models are, and how one is run.
    .target(
      name: "Models", dependencies: ["Compute", "Kernels", "Parallel", "Support", "Tensors", "Tokenizer"], swiftSettings: strict),
    .target(
      name: "Runtime",
      dependencies: [
        "Compute", "Grammar", "Kernels", "ModelFile", "Models", "Parallel", "Safetensors", "Support", "Tensors", "Tokenizer", "Video",
      ],
      swiftSettings: strict),

    // From a checkpoint to a model file.
    .target(
      name: "Conversion",
      dependencies: [
        "Compute", "Kernels", "ModelFile", "Models", "Parallel", "Quantization", "Runtime", "Safetensors", "Support", "Tensors",
        "Tokenizer", "Video",
      ],
      swiftSettings: strict),

    // What measures: evaluation, benchmark, traces.
    .target(
      name: "Lab",
      dependencies: [
        "Compute", "Conversion", "Kernels", "Measurement", "ModelFile", "Models", "Parallel", "Quantization", "Runtime", "Safetensors",
        "Support", "Tensors", "Tokenizer", "Video",
      ],
      swiftSettings: strict),

    // What others import.
    .target(
      name: "SlowFast",
      dependencies: [
        "Conversion", "Grammar", "ModelFile", "Models", "Parallel", "Quantization", "Runtime", "Support", "Tokenizer", "Video",
      ],
      swiftSettings: strict),

    // OpenAI's API over HTTP, over the public library alone. Its files are empty without the trait.
    .target(
      name: "Server",
      dependencies: [
        "SlowFast",
        .target(name: "CCurl", condition: withServer),
        .product(name: "Hummingbird", package: "hummingbird", condition: withServer),
        .product(name: "Logging", package: "swift-log", condition: withServer),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle", condition: withServer),
        .product(name: "Yams", package: "Yams", condition: withServer),
      ],
      // In the program itself, wherever that lies.
      resources: [.embedInCode("Resources/page.html"), .embedInCode("Resources/openapi.json")],
      packageAccess: false, swiftSettings: strict),

    .executableTarget(
      name: "slowfast",
      dependencies: ["Lab", "Server", "SlowFast", "Support", .product(name: "ArgumentParser", package: "swift-argument-parser")],
      swiftSettings: strict),

    // Measures the kernels beside the machine's limits; not part of the product.
    .executableTarget(
      name: "kernel-bench", dependencies: ["CIntrinsics", "Compute", "Kernels", "Measurement", "Parallel", "Support", "Tensors"],
      path: "benchmarks/kernels", exclude: ["arm.md", "arm_loops.py", "x86.md"], swiftSettings: strict),

    // Programs over the library, which tests run; the first is the README's.
    .executableTarget(name: "example-ask", dependencies: ["SlowFast"], path: "Examples/ask", swiftSettings: strict),
    .executableTarget(name: "example-watch", dependencies: ["SlowFast"], path: "Examples/watch", swiftSettings: strict),

    .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: strict),
    tests("SupportTests", ["Support"]),
    tests("ParallelTests", ["Parallel", "Support"]),
    tests(
      "KernelTests", ["Kernels", "KernelsPortable", "Compute", "Quantization", "Tensors"] + kernelTargets.map { .byName(name: $0.name) }),
    tests("ComputeTests", ["Compute", "Kernels", "Parallel", "Quantization", "Tensors"]),
    tests("GrammarTests", ["Grammar", "Support"]),
    tests("TokenizerTests", ["Tokenizer"], resources: [.copy("Data")]),
    tests("VideoTests", ["Support", "Video", "slowfast"], exclude: ["Data"]),
    tests("SafetensorsTests", ["Safetensors", "Support"]),
    tests("ModelFileTests", ["ModelFile", "Parallel", "Tensors"]),
    tests("QuantizationTests", ["Compute", "Kernels", "Parallel", "Quantization", "Tensors"]),
    tests("ConversionTests", ["Models", "Safetensors", "Conversion", "ModelFile", "Parallel", "Runtime", "Tensors", "Tokenizer"]),
    tests("ModelsTests", ["Models"]),
    tests(
      "SlowFastTests",
      [
        "Compute", "Conversion", "Lab", "ModelFile", "Models", "Parallel", "Runtime", "Safetensors", "SlowFast", "Support", "Tensors",
        "Tokenizer", "Video",
      ]),
    tests("ServerTests", ["Server", "SlowFast", .product(name: "Logging", package: "swift-log", condition: withServer)]),
    tests("CommandTests", ["Safetensors", "ModelFile", "slowfast", "example-ask", "example-watch"], exclude: ["Data"]),
  ] + kernelTargets
)

// Only these tests are there to be built: of a few modules they need little, and a sanitizer has all of it compiled once more.
if let wanted = Context.environment["SLOWFAST_TESTS"]?.split(separator: ",").map(String.init) {
  package.targets.removeAll { $0.type == .test && !wanted.contains($0.name) }
}

// What `make fuzz` builds, with libFuzzer: not there otherwise. What computes is as in the product; what reads is instrumented.
if Context.environment["SLOWFAST_FUZZ"] != nil {
  package.targets.append(
    .executableTarget(
      name: "fuzz",
      dependencies: [
        "Compute", "Conversion", "Grammar", "ModelFile", "Models", "Parallel", "Runtime", "Safetensors", "SlowFast", "Support",
        "TestSupport",
        "Tokenizer", "Video",
      ],
      path: "Fuzzing", exclude: ["Corpus", "run.sh"], swiftSettings: strict,
      linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address", "-use-ld=lld"])]))
  let readers = [
    "Support", "Tokenizer", "Video", "Safetensors", "ModelFile", "Grammar", "Models", "Runtime", "Conversion", "SlowFast", "fuzz",
  ]
  for target in package.targets where readers.contains(target.name) {
    target.swiftSettings = (target.swiftSettings ?? []) + [.unsafeFlags(["-sanitize=fuzzer,address"])]
  }
}
