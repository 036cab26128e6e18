import SlowFast
import Support

extension Report {
  static func benchmark(_ report: BenchmarkReport) -> String {
    var lines = [
      "slowfast \(report.version), \(report.model.escaped()): \(report.kernels) kernels, \(report.threads) threads, "
        + "\(report.frames) frames, \(report.slowTokens) slow tokens (\(report.slowAttention.rawValue))"
    ]
    if let limits = report.limits {
      lines.append(
        "the machine: \(Display.fixed(limits.products, 1)) GMAC/s of int8, \(Display.fixed(limits.floatProducts, 1)) of floats; reads "
          + "\(Display.fixed(limits.bytes, 1)) GB/s")
    }
    lines += [
      "",
      [
        "stage".padding(to: 24), left("seconds", 10), left("rate", 22), left("GMAC/s", 9), left("%", 5), left("GB/s", 8), left("of", 7),
        left("%", 5), left("busy", 6),
      ]
      .joined(),
    ]
    for stage in report.stages {
      let digits = stage.seconds < 0.1 ? 5 : 3
      lines.append(
        [
          stage.name.padding(to: 24), left(Display.fixed(stage.seconds, digits), 10),
          left(stage.unitsPerSecond.map { "\(Display.fixed($0, 2)) \(stage.unit ?? "")/s" } ?? "", 22),
          left(stage.productRate.map { Display.fixed($0, 1) } ?? "", 9), left(percent(stage.productShare), 5),
          left(stage.byteRate.map { Display.fixed($0, 2) } ?? "", 8),
          left((stage.byteShare == nil ? nil : stage.readRate ?? report.limits?.bytes).map { Display.fixed($0, 1) } ?? "", 7),
          left(percent(stage.byteShare), 5), left(percent(stage.processorShare), 6),
        ].joined())
    }
    lines.append("")
    for skipped in report.skipped { lines.append("left out: \(skipped.name): \(skipped.reason)") }
    if let hash = report.tokenHash {
      lines.append(
        "generated tokens        \(hash)\(report.tokensSawTower ? "" : " (of made-up features: the tower did not run)")")
    }
    if let peak = report.peakResidentBytes { lines.append("peak memory             \(formatBytes(peak))") }
    return lines.joined(separator: "\n")
  }

  private static func percent(_ share: Double?) -> String { share.map { "\(Int(($0 * 100).rounded()))" } ?? "" }
}
