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
