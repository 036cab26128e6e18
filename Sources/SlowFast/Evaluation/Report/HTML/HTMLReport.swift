/// A comparison as one page that needs nothing else: no network, no script.
struct HTMLReport {
  let report: ComparisonReport

  init(_ report: ComparisonReport) { self.report = report }

  var text: String {
    """
    <!doctype html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>\(report.checkpoint.html): what each bit costs</title>
    <style>\(HTMLStyle.css)</style>
    </head>
    <body>
    <main>
    \([opening, summary, sizes, layers, parts, kinds, costs, failures, notes].filter { !$0.isEmpty }.joined(separator: "\n"))
    </main>
    </body>
    </html>

    """
  }

  private var opening: String {
    """
    <header>
    <p class="kicker">slowfast compare</p>
    <h1>What each bit costs</h1>
    <p class="lead"><b>\(report.checkpoint.html)</b> against itself with fewer bits, on \(report.clips) clips with \(report.questions) questions
    (\(report.tokens) answer tokens, \(report.frames) frames a clip).</p>
    </header>
    """
  }

  private var summary: String {
    var table = HTMLTable([
      "model", "bits a weight", "file", "KL mean", "KL median", "KL 99 %", "same top token", "perplexity", "exact match", "95 %",
      "won / lost",
    ])
    for result in [report.baseline] + report.variants {
      table.add(
        [
          HTMLTable.strong(result.name), result.bitsPerWeight.map { Numbers.fixed($0, 2) } ?? "",
          result.fileBytes.map { formatBytes($0) } ?? "",
          result.divergence.map { Numbers.small($0.mean) } ?? "", result.divergence.map { Numbers.small($0.median) } ?? "",
          result.divergence.map { Numbers.small($0.percentile99) } ?? "", result.topAgreement.map { Numbers.percent($0.share) } ?? "",
          result.perplexity.map { Numbers.fixed($0, 3) } ?? "–", "<b>\(Numbers.percent(result.exactMatch.share))</b>",
          "<span class=\"soft\">\(Numbers.interval(result.exactMatch))</span>",
          result.gained.map { "\($0) / \(result.lost ?? 0)" } ?? "",
        ], style: result.name == report.baseline.name ? "base" : "")
    }
    return section(
      "",
      """
      KL is the Kullback–Leibler divergence, in nats, of the next-token distribution given the video and the right answer so far.
      Exact match is greedy; its interval is Wilson's.
      """, table.text)
  }

  private var sizes: String {
    let known = report.variants.filter { $0.bitsPerWeight != nil && $0.hasFloatInputs != true }
    guard !known.isEmpty else { return "" }
    let divergence = ScatterChart(
      points: known.compactMap { result in
        result.divergence?.mean.map { .init(name: result.name, x: result.bitsPerWeight ?? 0, y: $0) }
      },
      xTitle: "bits a weight, in memory", yTitle: "mean KL (nats), less is better", yIsLogarithmic: true, prefersHigh: false)
    let base = report.baseline.exactMatch
    let accuracy = ScatterChart(
      points: known.map {
        .init(
          name: $0.name, x: $0.bitsPerWeight ?? 0, y: 100 * $0.exactMatch.share,
          interval: 100 * $0.exactMatch.low...100 * $0.exactMatch.high)
      },
      xTitle: "bits a weight, in memory", yTitle: "exact match (%), more is better", yIsLogarithmic: false, prefersHigh: true,
      reference: (100 * base.share, 100 * base.low...100 * base.high), yLabel: { Numbers.fixed($0, $0 == $0.rounded() ? 0 : 1) },
      yLimits: 0...100)
    return section(
      "Quality against size",
      "Points on the line are the best at their size (the Pareto front). The band is the unquantized model's interval.",
      "<div class=\"pair\"><figure>\(divergence.svg())</figure><figure>\(accuracy.svg())</figure></div>")
  }

  private var layers: String {
    // What is the same bit by bit has no place on a logarithmic scale.
    let shown = report.variants.filter { $0.hasFloatInputs != true && $0.features.contains { $0.relative > 0 } }
    guard let first = shown.first else { return "" }
    let chart = LineChart(
      stages: first.features.map(\.stage),
      lines: shown.map {
        .init(name: $0.name, values: Dictionary($0.features.map { ($0.stage, $0.relative) }, uniquingKeysWith: { a, _ in a }))
      },
      title: "‖x − unquantized‖ / ‖unquantized‖, mean over positions")
    var table = HTMLTable(["cosine to the unquantized model"] + Self.milestones(first.features).map(\.stage))
    for result in shown {
      table.add([HTMLTable.strong(result.name)] + Self.milestones(result.features).map { Numbers.fixed($0.cosine, 5) })
    }
    return section("Error through the layers", "", "<figure>\(chart.svg())</figure>" + table.text)
  }

  /// Of the layers only the first, the middle and the last.
  private static func milestones(_ features: [FeatureError]) -> [FeatureError] {
    let layers = features.filter { $0.stage.hasPrefix("layer ") }
    guard layers.count > 3 else { return features }
    return features.filter { !$0.stage.hasPrefix("layer ") } + [layers[0], layers[layers.count / 2 - 1], layers[layers.count - 1]]
  }

  private var parts: String {
    guard !report.parts.isEmpty else { return "" }
    let schemes = [Subject.partNames.cache, Subject.partNames.weights, Subject.partNames.inputs]
    let rows = report.parts.compactMap { result -> DotChart.Row? in
      guard let value = result.divergence?.mean else { return nil }
      return .init(
        name: result.name, note: result.shareOfWeights.map { "\(Numbers.percent($0)) of the weights" } ?? "", value: value,
        beginsGroup: result.name == schemes[0])
    }
    var table = HTMLTable(["alone", "KL mean", "KL 99 %", "same top token", "exact match", "won / lost"])
    for result in report.parts {
      table.add([
        HTMLTable.strong(result.name), Numbers.small(result.divergence?.mean), Numbers.small(result.divergence?.percentile99),
        result.topAgreement.map { Numbers.percent($0.share) } ?? "", Numbers.percent(result.exactMatch.share),
        "\(result.gained ?? 0) / \(result.lost ?? 0)",
      ])
    }
    return section(
      "Cost by part",
      "Each part quantized alone to \(report.partBits ?? 0) bits, everything else as in the checkpoint; below, what is no part: "
        + "the cache, and the two halves of the integer scheme.",
      "<figure>\(DotChart(rows: rows, title: "mean KL (nats)").svg())</figure>" + table.text)
  }

  private var kinds: String {
    let models = [report.baseline] + report.variants
    guard report.baseline.kinds.count > 1 else { return "" }
    var table = HTMLTable(["kind", "questions"] + models.map(\.name))
    for kind in report.baseline.kinds {
      let cells = models.map { model -> String in
        guard let found = model.kinds.first(where: { $0.kind == kind.kind })?.exactMatch else { return "" }
        let change = found.share - kind.exactMatch.share
        let tint = change < 0 ? "worse" : change > 0 ? "better" : ""
        let strength = min(0.55, abs(change) * 2.2)
        let style = tint.isEmpty ? "" : " class=\"\(tint)\" style=\"--tint:\(Numbers.fixed(strength, 2))\""
        return "<span\(style)>\(Numbers.percent(found.share))<small>\(Numbers.interval(found))</small></span>"
      }
      table.add([HTMLTable.strong(kind.kind), "\(kind.exactMatch.total)"] + cells)
    }
    return section(
      "Exact match by kind", "Under each share its 95 % interval; tinted where it differs from the unquantized model's.", table.text,
      style: "kinds")
  }

  private var costs: String {
    let models = [report.baseline] + report.variants
    let stages = report.baseline.stages.map(\.stage)
    var table = HTMLTable(["seconds in all"] + stages + ["conversion", "peak, clip", "peak, answers"])
    for model in models {
      let seconds = stages.map { stage in model.stages.first { $0.stage == stage }.map { Numbers.seconds($0.seconds) } ?? "" }
      table.add(
        [HTMLTable.strong(model.name)] + seconds
          + [
            model.conversionSeconds.map(Numbers.seconds) ?? "", model.peakEncodingBytes.map { formatBytes($0) } ?? "",
            model.peakAnsweringBytes.map { formatBytes($0) } ?? "",
          ])
    }
    return section(
      "Seconds and memory",
      "Of the whole run: \(report.clips) clips, each encoded once. \(report.kernels.html) kernels, \(report.threads) threads.",
      table.text)
  }

  private var failures: String {
    guard !report.failures.isEmpty else { return "" }
    let items = report.failures.map { "<li><b>\($0.video.html)</b> (\($0.model.html)): \($0.reason.html)</li>" }
    return section("Left out", "Clips that could not be measured.", "<ul>\(items.joined())</ul>")
  }

  private var notes: String {
    """
    <footer>Data: \(report.data.html). While an answer is made, \(report.slowAttention == .prompt ? "only the prompt reads" : "all text reads") the
    slow tokens. \(report.program.html).</footer>
    """
  }

  private func section(_ title: String, _ explanation: String, _ content: String, style: String = "") -> String {
    """
    <section class="\(style)">
    \(title.isEmpty ? "" : "<h2>\(title)</h2>")
    \(content)
    \(explanation.isEmpty ? "" : "<p class=\"note\">\(explanation)</p>")
    </section>
    """
  }
}
