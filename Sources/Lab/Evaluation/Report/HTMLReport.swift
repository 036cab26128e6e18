import Support

/// A comparison as one page that needs nothing else: no network, no script.
struct HTMLReport {
  let report: ComparisonReport

  init(_ report: ComparisonReport) { self.report = report }

  var text: String {
    let sections = [opening, summary, sizes, layers, parts, kinds, costs, changes, variants, failures, notes]
    return """
      <!doctype html>
      <html lang="en">
      <head>
      <meta charset="utf-8">
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <meta name="color-scheme" content="light dark">
      <title>\(report.checkpoint.html): what each bit costs</title>
      <style>\(HTMLStyle.css)</style>
      </head>
      <body>
      <main>
      \(sections.filter { !$0.isEmpty }.joined(separator: "\n"))
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
    <p class="lead"><b>\(report.checkpoint.html)</b> against itself with fewer bits, on \(counted(report.clips, "clip"))
    with \(counted(report.questions, "question")) (\(counted(report.tokens, "answer token")), \
    \(counted(report.frames, "frame")) a clip).</p>
    <p class="lead">\(Numbers.millions(report.parameters)) weights; measured on \(report.machine.html) \
    with \(counted(report.threads, "thread")),
    \(report.kernels.html) kernels; <span class="date">\(report.date.html)</span>.</p>
    \(advice)
    </header>
    """
  }

  /// What to choose, and what to beware of.
  private var advice: String {
    var paragraphs: [String] = []
    if let choice = report.choice {
      paragraphs.append("<p class=\"choice\">\(choice.reason.html)</p>")
    }
    if let verdict = report.verdict { paragraphs.append("<p>\(verdict.html)</p>") }
    paragraphs += report.notes.map { "<p class=\"warning\">\($0.html).</p>" }
    return paragraphs.isEmpty ? "" : "<div class=\"advice\">\(paragraphs.joined(separator: "\n"))</div>"
  }

  private var hasDescriptions: Bool { report.baseline.descriptions != nil }

  private static func soft(_ text: String) -> String { "<span class=\"soft\">\(text)</span>" }

  private var summary: String {
    var columns = [
      "model", "bits a weight", "file", "tokens/s", "KL mean", "95 %", "KL 99 %", "same top token", "perplexity", "right answers", "95 %",
    ]
    if hasDescriptions { columns.append("descriptions") }
    var table = HTMLTable(columns + ["won / lost", "p"])
    for result in [report.baseline] + report.variants {
      let divergence = result.divergence
      let chance = result.isWithinChance.map { $0 ? "noise" : "differs" } ?? ""
      var cells = [HTMLTable.strong(result.name), result.bitsPerWeight.map { Numbers.fixed($0, 2) } ?? ""]
      cells.append(result.fileBytes.map(Numbers.gigabytes) ?? "")
      cells.append(result.tokensPerSecond.map(Numbers.rate) ?? "")
      cells.append(divergence.map { Numbers.small($0.mean) } ?? "")
      cells.append(Self.soft(divergence?.meanInterval.map(Numbers.smallInterval) ?? ""))
      cells.append(divergence.map { Numbers.small($0.percentile99) } ?? "")
      cells.append(result.topAgreement.map { Numbers.percent($0.share) } ?? "")
      cells.append(result.perplexity.map { Numbers.fixed($0, 3) } ?? "–")
      cells.append("<b>\(Numbers.percent(result.closed.share))</b>")
      cells.append(Self.soft(Numbers.interval(result.closedBounds)))
      if hasDescriptions { cells.append(result.descriptions.map { Numbers.percent($0.share) } ?? "") }
      cells.append(result.gained.map { "\($0) / \(result.lost ?? 0)" } ?? "")
      cells.append(result.pValue.map { "\(Numbers.probability($0).html) <small>\(chance)</small>" } ?? "")
      let isChosen = result.name == report.choice?.name && result.pValue != nil
      table.add(cells, style: result.name == report.baseline.name ? "base" : isChosen ? "chosen" : "")
    }
    let apart =
      hasDescriptions ? ", of questions with one right answer; descriptions, which may be right in other words too, stand apart" : ""
    return section(
      "",
      """
      KL is the Kullback–Leibler divergence, in nats, of the next-token distribution given the video and the right answer so far.
      Right answers are greedy and the given ones to the letter\(apart).
      Intervals are 95 % of what other clips of the same sort would give (bootstrap by clip). Won and lost are questions that one of the two
      models answers rightly; p is how likely chance alone makes them so uneven (McNemar’s exact test): from 0.05 on, and where the interval
      of the change has 0 in it, the difference is noise. Tokens/s: generation with a short context on this machine.
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
    let (base, band) = (report.baseline.closed, report.baseline.closedBounds)
    let accuracy = ScatterChart(
      points: known.map {
        .init(
          name: $0.name, x: $0.bitsPerWeight ?? 0, y: 100 * $0.closed.share,
          interval: 100 * $0.closedBounds.low...100 * max($0.closedBounds.low, $0.closedBounds.high))
      },
      xTitle: "bits a weight, in memory", yTitle: "right answers (%), more is better", yIsLogarithmic: false, prefersHigh: true,
      reference: (100 * base.share, 100 * band.low...100 * max(band.low, band.high)),
      yLabel: { Numbers.fixed($0, $0 == $0.rounded() ? 0 : 1) },
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
    let schemes = [
      ComparedModel.partNames.cache, ComparedModel.partNames.cache8, ComparedModel.partNames.weights, ComparedModel.partNames.inputs,
    ]
    let rows = report.parts.compactMap { result -> DotChart.Row? in
      guard let value = result.divergence?.mean else { return nil }
      return .init(
        name: result.name, note: result.shareOfWeights.map { "\(Numbers.percent($0)) of the weights" } ?? "", value: value,
        beginsGroup: result.name == schemes[0])
    }
    var table = HTMLTable(["alone", "KL mean", "KL 99 %", "same top token", "right answers", "won / lost"])
    for result in report.parts {
      table.add([
        HTMLTable.strong(result.name), Numbers.small(result.divergence?.mean), Numbers.small(result.divergence?.percentile99),
        result.topAgreement.map { Numbers.percent($0.share) } ?? "", Numbers.percent(result.closed.share),
        "\(result.gained ?? 0) / \(result.lost ?? 0)",
      ])
    }
    return section(
      "Cost by part",
      "Each part quantized alone to \(report.partBits ?? 0) bits, everything else as in the checkpoint; below, what is no part: "
        + "the cache, and the two halves of the integer scheme.",
      "<figure>\(DotChart(rows: rows, title: "mean KL (nats)").svg())</figure>" + table.text)
  }

  /// Models side by side, so that a table fits a page.
  private static let modelsInATable = 7

  private var kinds: String {
    guard report.baseline.kinds.count > 1 else { return "" }
    var tables: [String] = []
    for start in stride(from: 0, to: max(1, report.variants.count), by: Self.modelsInATable) {
      tables.append(kinds([report.baseline] + report.variants.dropFirst(start).prefix(Self.modelsInATable)))
    }
    return section(
      "Right answers by kind", "Under each share its 95 % interval (Wilson’s); tinted where it differs from the unquantized model’s.",
      tables.joined(separator: "\n"), style: "kinds")
  }

  private func kinds(_ models: [ModelResult]) -> String {
    var table = HTMLTable(["kind", "questions"] + models.map(\.name))
    func row(_ name: String, _ proportions: [Proportion?], style: String = "") {
      guard let base = proportions.first ?? nil else { return }
      let cells = proportions.map { proportion -> String in
        guard let found = proportion else { return "" }
        let change = found.share - base.share
        let tint = change < 0 ? "worse" : change > 0 ? "better" : ""
        let strength = min(0.55, abs(change) * 2.2)
        let style = tint.isEmpty ? "" : " class=\"\(tint)\" style=\"--tint:\(Numbers.fixed(strength, 2))\""
        return "<span\(style)>\(Numbers.percent(found.share))<small>\(Numbers.interval(found))</small></span>"
      }
      table.add([HTMLTable.strong(name), "\(base.total)"] + cells, style: style)
    }
    let kinds = report.baseline.kinds
    for kind in kinds.filter({ !$0.isDescription }) + kinds.filter(\.isDescription) {
      if kind.isDescription, kind == kinds.first(where: \.isDescription) { row("all closed", models.map(\.closed), style: "base") }
      row(kind.kind, models.map { model in model.kinds.first { $0.kind == kind.kind }?.exactMatch })
    }
    row(hasDescriptions ? "all" : "all closed", models.map(\.exactMatch), style: "base")
    return table.text
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
      "Of the whole run: \(counted(report.clips, "clip")), each encoded once. "
        + "\(report.kernels.html) kernels, \(counted(report.threads, "thread")).",
      table.text)
  }

  /// The questions that each variant won and lost.
  private var changes: String {
    let changed = report.variants.filter { $0.changes?.isEmpty == false }
    guard !changed.isEmpty else { return "" }
    let tables = changed.map { result -> String in
      var table = HTMLTable(["", "clip", "question", "right answer", "kind"])
      for change in result.changes ?? [] {
        table.add([change.isGained ? "won" : "lost", (change.video ?? "").html, change.question.html, change.answer.html, change.kind.html])
      }
      let title = "\(HTMLTable.strong(result.name)): \(result.gained ?? 0) won, \(result.lost ?? 0) lost"
      return "<details\((result.changes ?? []).count <= 8 ? " open" : "")><summary>\(title)</summary>\(table.text)</details>"
    }
    return section(
      "Answers won and lost", "Won: only this variant’s answer is right; lost: only the unquantized model’s.",
      tables.joined(separator: "\n"),
      style: "changes")
  }

  private var variants: String {
    let described = ([report.baseline] + report.variants).filter { $0.description != nil }
    guard !described.isEmpty else { return "" }
    var table = HTMLTable(["model", "what it is", "file", "in memory", "bits a weight"])
    for result in described {
      table.add([
        HTMLTable.strong(result.name), (result.description ?? "").html, result.fileBytes.map(Numbers.gigabytes) ?? "",
        result.residentBytes.map(Numbers.gigabytes) ?? "", result.bitsPerWeight.map { Numbers.fixed($0, 2) } ?? "",
      ])
    }
    return section("What the names stand for", "", table.text, style: "words")
  }

  private var failures: String {
    guard !report.failures.isEmpty else { return "" }
    let items = report.failures.map { "<li><b>\($0.video.html)</b> (\($0.model.html)): \($0.reason.html)</li>" }
    return section("Left out", "Clips that could not be measured.", "<ul>\(items.joined())</ul>")
  }

  private var notes: String {
    """
    <footer>Data: \(report.data.html). While an answer is made,
    \(report.slowAttention == .prompt ? "only the prompt reads" : "all text reads") the
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

/// A table whose cells are parts of a page.
struct HTMLTable {
  private let header: [String]
  private var rows: [(cells: [String], style: String)] = []

  /// Titles of the columns, as plain text.
  init(_ header: [String]) { self.header = header }

  static func strong(_ text: String) -> String { "<b>\(breakable(text))</b>" }

  /// A long name may go on in the next line after its parts.
  private static func breakable(_ text: String) -> String {
    text.count < 14 ? text.html : [":", "/"].reduce(text.html) { $0.replacing($1, with: $1 + "<wbr>") }
  }

  mutating func add(_ cells: [String], style: String = "") { rows.append((cells, style)) }

  var text: String {
    let head = header.map { "<th>\(Self.breakable($0))</th>" }.joined()
    let body = rows.map { row in
      "<tr\(row.style.isEmpty ? "" : " class=\"\(row.style)\"")>" + row.cells.map { "<td>\($0)</td>" }.joined() + "</tr>"
    }
    return "<div class=\"scroll\"><table><thead><tr>\(head)</tr></thead><tbody>\(body.joined(separator: "\n"))</tbody></table></div>"
  }
}

/// How the page looks: by day, in the dark, on a phone, on paper.
enum HTMLStyle {
  /// Of the lines of a chart: told apart by most eyes, readable on white, and in the dark.
  static let seriesColors = [
    ("#1f5fbf", "#6ea8ff"), ("#d1622b", "#ff9a63"), ("#2d8659", "#5fc791"), ("#8a4fbf", "#c193f0"), ("#b8336a", "#f07aa8"),
    ("#5b6b7d", "#a3b3c5"), ("#a07c1c", "#dab54a"), ("#1a8a99", "#4fc6d6"),
  ]

  private static func series(_ color: (Int) -> String) -> String {
    seriesColors.indices.map { "--series\($0): \(color($0));" }.joined(separator: " ")
  }

  private static let light = """
    --ink: #1c2430; --soft: #5f6977; --line: #e3e6ea; --rule: #cfd5dc; --accent: #1f5fbf; --paper: #fff; --shade: #f6f7f9; --label: #48525f;
    --grid: #eceef1; --axis: #b9c0c9; --mark: #9aa5b3; --stem: #c9d6ea; --chosen: #e9f1fd; --warn: #8a4b00; \(series { seriesColors[$0].0 })
    """

  private static let dark = """
    --ink: #e4e8ee; --soft: #9aa5b3; --line: #2a313b; --rule: #3a434f; --accent: #6ea8ff; --paper: #181d24; --shade: #0f1318;
    --label: #b9c2cd;
    --grid: #262d36; --axis: #4a5461; --mark: #6f7b8a; --stem: #2f4463; --chosen: #1c2b42; --warn: #ffb35c; \(series { seriesColors[$0].1 })
    """

  static let css = """
    :root { color-scheme: light; \(light) }
    @media screen and (prefers-color-scheme: dark) { :root { color-scheme: dark; \(dark) } }
    * { box-sizing: border-box; }
    body { margin: 0; background: var(--shade); color: var(--ink);
      font: 15px/1.5 "Inter", "Helvetica Neue", "Segoe UI", "Liberation Sans", Arial, sans-serif; }
    main { max-width: 1180px; margin: 0 auto; padding: 40px 28px 56px; }
    header { margin: 0 4px 22px; }
    .kicker { margin: 0; color: var(--accent); font-weight: 600; font-size: 13px; letter-spacing: .02em; }
    h1 { margin: 2px 0 6px; font-size: 32px; line-height: 1.15; letter-spacing: -.015em; }
    .lead { margin: 0; max-width: 760px; color: var(--soft); font-size: 16px; }
    .lead b { color: var(--ink); }
    .lead + .lead { font-size: 14px; margin-top: 4px; }
    .date { white-space: nowrap; }
    .advice { margin: 18px 0 0; padding: 14px 18px; max-width: 860px; background: var(--chosen); border-left: 4px solid var(--accent);
      border-radius: 0 8px 8px 0; }
    .advice p { margin: 0; overflow-wrap: anywhere; }
    .advice p + p { margin-top: 8px; }
    .advice .choice { font-weight: 600; }
    .advice .warning { color: var(--warn); }
    section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 22px 24px; margin: 0 0 20px; }
    h2 { margin: 0 0 12px; font-size: 19px; letter-spacing: -.01em; }
    .note { margin: 12px 0 0; color: var(--soft); font-size: 13px; max-width: 860px; }
    figure { margin: 0; min-width: 0; }
    figure + .scroll, .scroll + .scroll { margin-top: 14px; }
    .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 28px; }
    svg { display: block; width: 100%; height: auto; }
    svg text { font: 12px "Inter", "Helvetica Neue", "Segoe UI", "Liberation Sans", Arial, sans-serif; fill: var(--ink); }
    svg .tick { fill: var(--soft); font-size: 11px; }
    svg .axis-title { fill: var(--soft); font-size: 12px; }
    svg .label { fill: var(--label); paint-order: stroke; stroke: var(--paper); stroke-width: 3px; stroke-linejoin: round; }
    svg .label.best, svg .strong { font-weight: 600; fill: var(--ink); }
    svg .grid { stroke: var(--grid); }
    svg .axis { stroke: var(--axis); }
    svg .front { fill: none; stroke: var(--accent); stroke-width: 1.6; stroke-opacity: .55; stroke-linejoin: round; }
    svg .point { fill: var(--mark); stroke: var(--paper); stroke-width: 1.2; }
    svg .point.best { fill: var(--accent); }
    svg .dot { stroke: var(--paper); stroke-width: .8; }
    svg .whisker { stroke: var(--mark); stroke-width: 1.2; }
    svg .band { fill: var(--accent); fill-opacity: .08; }
    svg .reference { stroke: var(--accent); stroke-dasharray: 4 4; stroke-opacity: .6; }
    svg .series { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
    svg .dashed { stroke-dasharray: 6 4; }
    svg .stem { stroke: var(--stem); stroke-width: 3; }
    .scroll { overflow-x: auto; }
    table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }
    th { color: var(--soft); font-weight: 500; font-size: 12px; text-align: right; vertical-align: bottom; padding: 4px 10px 7px;
      border-bottom: 1px solid var(--rule); overflow-wrap: break-word; max-width: 150px; }
    td { text-align: right; padding: 6px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; }
    tr:last-child td { border-bottom: 0; }
    th:first-child, td:first-child { text-align: left; padding-left: 0; }
    td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 92px; }
    td:first-child b { font-weight: 600; }
    tr.base td { background: var(--shade); }
    tr.chosen td { background: var(--chosen); }
    tr.base td:first-child, tr.chosen td:first-child { padding-left: 8px; }
    .soft, small { color: var(--soft); }
    .kinds small { display: block; font-size: 11px; line-height: 1.2; }
    .kinds td span { display: block; border-radius: 5px; padding: 2px 7px; margin: -2px -7px; }
    .kinds .worse { background: rgba(214, 74, 48, var(--tint)); }
    .kinds .better { background: rgba(45, 134, 89, var(--tint)); }
    .changes td, .changes th, .words td:nth-child(2), .words th:nth-child(2) { text-align: left; }
    .changes td, .words td { white-space: normal; vertical-align: top; }
    .changes td:first-child, .changes th:first-child { min-width: 40px; }
    .changes td:nth-child(3) { min-width: 200px; }
    .changes td:nth-child(4) { min-width: 120px; }
    .words td:nth-child(2) { min-width: 240px; }
    .words td:nth-child(n+3) { white-space: nowrap; }
    summary { cursor: pointer; padding: 6px 0; overflow-wrap: anywhere; }
    ul { margin: 0; padding-left: 18px; overflow-wrap: anywhere; }
    footer { margin: 4px; color: var(--soft); font-size: 12.5px; overflow-wrap: anywhere; }
    @media screen and (max-width: 860px) {
      .pair { grid-template-columns: 1fr; }
      main { padding: 24px 12px; }
      section { padding: 16px; }
      h1 { font-size: 26px; }
      figure { overflow-x: auto; }
      figure svg { min-width: 480px; }
      section > figure svg { min-width: 760px; }
      th:first-child, td:first-child { position: sticky; left: 0; z-index: 1; background: var(--paper); }
      tr.base td:first-child { background: var(--shade); }
      tr.chosen td:first-child { background: var(--chosen); }
    }
    @page { size: A4 landscape; margin: 11mm; }
    @media print {
      body { background: none; font-size: 9.5pt; }
      main { max-width: none; padding: 0; }
      section { border: 0; border-radius: 0; padding: 0; margin: 0 0 7mm; }
      .scroll { overflow: visible; }
      table { font-size: 7.5pt; }
      th { font-size: 7pt; padding: 2px 4px 4px; }
      td { padding: 2.5px 4px; }
      td:first-child { min-width: 0; }
      .note { font-size: 8pt; max-width: none; }
      tr, svg, .advice { break-inside: avoid; }
      h2, summary { break-after: avoid; }
      thead { display: table-header-group; }
      details::details-content { content-visibility: visible; display: block; height: auto; }
      * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
    }
    """
}
