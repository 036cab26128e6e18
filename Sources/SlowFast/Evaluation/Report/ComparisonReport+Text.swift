import Support

extension ComparisonReport {
  /// Tables for a terminal.
  public var text: String {
    var lines = [
      "\(checkpoint.escaped()): \(clips) clips, \(questions) questions, \(tokens) answer tokens, \(frames) frames a clip, \(kernels) kernels",
      "KL in nats against the unquantized model; exact match with its 95 % interval; +/− questions gained and lost.", "",
    ]
    lines += Self.table(
      ["", "bits", "file", "KL mean", "median", "99 %", "top 1", "ppl", "exact match", "interval", "+/−"],
      ([baseline] + variants).map { row($0) })
    if !parts.isEmpty {
      lines += ["", "each alone\(partBits.map { ", \($0) bits" } ?? "")", ""]
      lines += Self.table(
        ["", "weights", "KL mean", "median", "99 %", "top 1", "exact match"],
        parts.map {
          [
            $0.name, $0.shareOfWeights.map { Numbers.percent($0) } ?? "", Numbers.small($0.divergence?.mean),
            Numbers.small($0.divergence?.median),
            Numbers.small($0.divergence?.percentile99), $0.topAgreement.map { Numbers.percent($0.share) } ?? "",
            Numbers.percent($0.exactMatch.share),
          ]
        })
    }
    return lines.joined(separator: "\n")
  }

  private func row(_ result: ModelResult) -> [String] {
    [
      result.name.escaped(), result.bitsPerWeight.map { Numbers.fixed($0, 2) } ?? "", result.fileBytes.map(formatBytes) ?? "",
      result.divergence.map { Numbers.small($0.mean) } ?? "", result.divergence.map { Numbers.small($0.median) } ?? "",
      result.divergence.map { Numbers.small($0.percentile99) } ?? "", result.topAgreement.map { Numbers.percent($0.share) } ?? "",
      result.perplexity.map { Numbers.fixed($0, 3) } ?? "–", Numbers.percent(result.exactMatch.share), Numbers.interval(result.exactMatch),
      result.gained.map { "+\($0)/−\(result.lost ?? 0)" } ?? "",
    ]
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
