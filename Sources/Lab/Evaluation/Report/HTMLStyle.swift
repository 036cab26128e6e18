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
    --ink: #e4e8ee; --soft: #9aa5b3; --line: #2a313b; --rule: #3a434f; --accent: #6ea8ff; --paper: #181d24; --shade: #0f1318; --label: #b9c2cd;
    --grid: #262d36; --axis: #4a5461; --mark: #6f7b8a; --stem: #2f4463; --chosen: #1c2b42; --warn: #ffb35c; \(series { seriesColors[$0].1 })
    """

  static let css = """
    :root { color-scheme: light; \(light) }
    @media screen and (prefers-color-scheme: dark) { :root { color-scheme: dark; \(dark) } }
    * { box-sizing: border-box; }
    body { margin: 0; background: var(--shade); color: var(--ink); font: 15px/1.5 "Inter", "Helvetica Neue", "Segoe UI", "Liberation Sans", Arial, sans-serif; }
    main { max-width: 1180px; margin: 0 auto; padding: 40px 28px 56px; }
    header { margin: 0 4px 22px; }
    .kicker { margin: 0; color: var(--accent); font-weight: 600; font-size: 13px; letter-spacing: .02em; }
    h1 { margin: 2px 0 6px; font-size: 32px; line-height: 1.15; letter-spacing: -.015em; }
    .lead { margin: 0; max-width: 760px; color: var(--soft); font-size: 16px; }
    .lead b { color: var(--ink); }
    .lead + .lead { font-size: 14px; margin-top: 4px; }
    .date { white-space: nowrap; }
    .advice { margin: 18px 0 0; padding: 14px 18px; max-width: 860px; background: var(--chosen); border-left: 4px solid var(--accent); border-radius: 0 8px 8px 0; }
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
    th { color: var(--soft); font-weight: 500; font-size: 12px; text-align: right; vertical-align: bottom; padding: 4px 10px 7px; border-bottom: 1px solid var(--rule); overflow-wrap: break-word; max-width: 150px; }
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
