import Foundation
import Support

extension ComparisonReport {
  /// Tables for a terminal.
  public var text: String {
    var lines = [
      "\(checkpoint.escaped()): \(counted(clips, "clip")), \(counted(questions, "question")), \(counted(tokens, "answer token")), "
        + "\(counted(frames, "frame")) a clip, \(kernels) kernels",
      "\(machine.escaped()), \(counted(threads, "thread")); \(date)",
      "KL: mean divergence in nats from the unquantized model. right: greedy answers",
      "that are the given ones"
        + (hasDescriptions ? " (descr.: of descriptions, which right leaves out)" : "") + ". interval: 95 %, by",
      "clip. +/−: answers won and lost; p: of McNemar's exact test on them.", "",
    ]
    let columns = ["", "bits", "file", "tokens/s", "KL mean", "interval", "median", "99 %", "top 1", "ppl", "right", "interval"]
    lines += Self.table(columns + (hasDescriptions ? ["descr."] : []) + ["+/−", "p"], ([baseline] + variants).map { row($0) })
    if let verdict { lines += ["", verdict.escaped(limit: 4000)] }
    if let choice { lines += ["", choice.reason.escaped(limit: 4000)] }
    if !parts.isEmpty {
      lines += ["", "each alone\(partBits.map { ", \($0) bits" } ?? "")", ""]
      lines += Self.table(
        ["", "weights", "KL mean", "median", "99 %", "top 1", "right"],
        parts.map {
          [
            $0.name, $0.shareOfWeights.map { Numbers.percent($0) } ?? "", Numbers.small($0.divergence?.mean),
            Numbers.small($0.divergence?.median),
            Numbers.small($0.divergence?.percentile99), $0.topAgreement.map { Numbers.percent($0.share) } ?? "",
            Numbers.percent($0.closed.share),
          ]
        })
    }
    for variant in variants { lines += Self.changes(variant) }
    return lines.joined(separator: "\n")
  }

  private var hasDescriptions: Bool { baseline.descriptions != nil }

  private static let shownChanges = 12

  /// The questions that a variant won and lost.
  private static func changes(_ result: ModelResult) -> [String] {
    guard let changes = result.changes, !changes.isEmpty else { return [] }
    var lines = ["", "\(result.name.escaped()): \(result.gained ?? 0) won, \(result.lost ?? 0) lost"]
    for change in changes.prefix(shownChanges) {
      let place = change.video.map { $0.escaped() + ": " } ?? ""
      lines.append("  \(change.isGained ? "+" : "−") \(place)\(change.question.escaped()) → \(change.answer.escaped())")
    }
    if changes.count > shownChanges { lines.append("  and \(changes.count - shownChanges) more, in report.json") }
    return lines
  }

  private func row(_ result: ModelResult) -> [String] {
    let divergence = result.divergence
    var cells = [result.name.escaped(), result.bitsPerWeight.map { Numbers.fixed($0, 2) } ?? ""]
    cells.append(result.fileBytes.map(Numbers.gigabytes) ?? "")
    cells.append(result.tokensPerSecond.map(Numbers.rate) ?? "")
    cells.append(divergence.map { Numbers.small($0.mean) } ?? "")
    cells.append(divergence?.meanInterval.map(Numbers.smallInterval) ?? "")
    cells.append(divergence.map { Numbers.small($0.median) } ?? "")
    cells.append(divergence.map { Numbers.small($0.percentile99) } ?? "")
    cells.append(result.topAgreement.map { Numbers.percent($0.share) } ?? "")
    cells.append(result.perplexity.map { Numbers.fixed($0, 3) } ?? "–")
    cells += [Numbers.percent(result.closed.share), Numbers.interval(result.closedBounds)]
    if hasDescriptions { cells.append(result.descriptions.map { Numbers.percent($0.share) } ?? "") }
    cells.append(result.gained.map { "+\($0)/−\(result.lost ?? 0)" } ?? "")
    cells.append(result.pValue.map(Numbers.probability) ?? "")
    return cells
  }

  /// Columns as wide as their widest cell; all but the first stand at the right.
  private static func table(_ header: [String], _ rows: [[String]]) -> [String] {
    let all = [header] + rows
    let widths = header.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
    return all.map { row in
      row.enumerated().map { column, cell in
        let space = String(repeating: " ", count: widths[column] - cell.count)
        return column == 0 ? cell + space : space + cell
      }.joined(separator: "  ")
    }
  }
}

/// Numbers as reports write them.
enum Numbers {
  static func fixed(_ value: Double, _ digits: Int) -> String { value.fixed(digits) }

  /// `98.4 %`
  static func percent(_ share: Double, digits: Int = 1) -> String { fixed(100 * share, digits) + " %" }

  /// Two or three digits that count, whatever the size: `0.0124`, `3.1·10⁻⁵`.
  static func small(_ value: Double?) -> String {
    guard let value, value.isFinite else { return "–" }
    if value == 0 { return "0" }
    let power = Int(log10(value.magnitude).rounded(.down))
    if power >= 2 { return fixed(value, 0) }
    if power >= -3 { return fixed(value, max(0, 2 - power)) }
    return fixed(value / pow(10, Double(power)), 1) + "·10" + superscript(power)
  }

  static func superscript(_ number: Int) -> String {
    let digits = Array("⁰¹²³⁴⁵⁶⁷⁸⁹")
    return (number < 0 ? "⁻" : "") + String(String(number.magnitude).compactMap { $0.wholeNumberValue.map { digits[$0] } })
  }

  /// `71.2–83.4` as percentages.
  static func interval(_ proportion: Proportion) -> String { "\(fixed(100 * proportion.low, 1))–\(fixed(100 * proportion.high, 1))" }

  static func seconds(_ value: Double) -> String {
    value < 0.0005 ? "0" : value < 1 ? fixed(value, 3) : value < 100 ? fixed(value, 2) : fixed(value, 0)
  }

  /// `71.2–83.4` as percentages.
  static func interval(_ interval: Interval) -> String { "\(fixed(100 * interval.low, 1))–\(fixed(100 * interval.high, 1))" }

  /// A difference of shares: `−1.9 to +0.3 points (95 %)`.
  static func points(_ interval: Interval) -> String {
    func signed(_ value: Double) -> String {
      let text = fixed((100 * value).magnitude, 1)
      return text == "0.0" ? "0" : (value < 0 ? "−" : "+") + text
    }
    let (low, high) = (signed(interval.low), signed(interval.high))
    return low == high ? "\(low) points" : "\(low) to \(high) points (95 %)"
  }

  /// `2.1·10⁻⁴–5.0·10⁻⁴`
  static func smallInterval(_ interval: Interval) -> String { "\(small(interval.low))–\(small(interval.high))" }

  /// `8.5 billion`, `5.2 million`
  static func millions(_ count: Int) -> String {
    count < 1_000_000_000 ? fixed(Double(count) / 1e6, 1) + " million" : fixed(Double(count) / 1e9, 2) + " billion"
  }

  /// Of a second.
  static func rate(_ value: Double) -> String { fixed(value, value < 100 ? 1 : 0) }

  static func probability(_ value: Double) -> String { value < 0.001 ? "< 0.001" : fixed(value, value < 0.1 ? 3 : 2) }

  /// `4.83 GB`, `2.6 MB`: decimal, as files are told.
  static func gigabytes(_ bytes: Int) -> String {
    bytes < 999_500_000 ? fixed(Double(bytes) / 1e6, bytes < 100_000_000 ? 1 : 0) + " MB" : fixed(Double(bytes) / 1e9, 2) + " GB"
  }
}

/// What a report says of the machine it was made on.
enum Machine {
  /// `AMD EPYC 9R14, 2 processors, 24 GB`
  static var description: String {
    let processors = ProcessInfo.processInfo.activeProcessorCount
    let memory = Double(ProcessInfo.processInfo.physicalMemory) / 1e9
    return "\(name), \(processors) processor\(processors == 1 ? "" : "s"), \(Numbers.fixed(memory, 0)) GB"
  }

  /// The processor's name; a board's where the system tells only that.
  private static var name: String {
    func text(_ path: String) -> String? { (try? Data(contentsOf: URL(fileURLWithPath: path))).map { String(decoding: $0, as: UTF8.self) } }
    let line = text("/proc/cpuinfo")?.split(separator: "\n").first { $0.hasPrefix("model name") }
    let processor = line?.split(separator: ":", maxSplits: 1).dropFirst().first.map(String.init)
    let board = text("/proc/device-tree/model")
    let found = (processor ?? board ?? "").trimmingCharacters(in: CharacterSet.whitespacesAndNewlines.union(.controlCharacters))
    if !found.isEmpty { return found }
    #if arch(x86_64)
      return "x86-64"
    #else
      return "ARM64"
    #endif
  }
}
