/// How the page looks.
enum HTMLStyle {
  static let css = """
    :root { --ink: #1c2430; --soft: #66707f; --line: #e3e6ea; --accent: #1f5fbf; --paper: #fff; --shade: #f6f7f9; }
    * { box-sizing: border-box; }
    body { margin: 0; background: var(--shade); color: var(--ink); font: 15px/1.5 "Inter", "Helvetica Neue", "Segoe UI", "Liberation Sans", Arial, sans-serif; }
    main { max-width: 1180px; margin: 0 auto; padding: 40px 28px 56px; }
    header { margin: 0 4px 22px; }
    .kicker { margin: 0; color: var(--accent); font-weight: 600; font-size: 13px; letter-spacing: .02em; }
    h1 { margin: 2px 0 6px; font-size: 32px; line-height: 1.15; letter-spacing: -.015em; }
    .lead { margin: 0; max-width: 760px; color: var(--soft); font-size: 16px; }
    .lead b { color: var(--ink); }
    section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 22px 24px; margin: 0 0 20px; }
    h2 { margin: 0 0 12px; font-size: 19px; letter-spacing: -.01em; }
    .note { margin: 12px 0 0; color: var(--soft); font-size: 13px; max-width: 860px; }
    figure { margin: 0; min-width: 0; }
    figure + .scroll { margin-top: 14px; }
    .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 28px; }
    @media (max-width: 860px) { .pair { grid-template-columns: 1fr; } main { padding: 24px 12px; } section { padding: 16px; } }
    svg { display: block; width: 100%; height: auto; }
    svg text { font: 12px "Inter", "Helvetica Neue", "Segoe UI", "Liberation Sans", Arial, sans-serif; fill: var(--ink); }
    svg .tick { fill: var(--soft); font-size: 11px; }
    svg .axis-title { fill: var(--soft); font-size: 12px; }
    svg .label { fill: #48525f; paint-order: stroke; stroke: #fff; stroke-width: 3px; stroke-linejoin: round; }
    svg .label.best, svg .strong { font-weight: 600; fill: var(--ink); }
    svg .grid { stroke: #eceef1; }
    svg .axis { stroke: #b9c0c9; }
    svg .front { fill: none; stroke: var(--accent); stroke-width: 1.6; stroke-opacity: .55; stroke-linejoin: round; }
    svg .point { fill: #9aa5b3; stroke: #fff; stroke-width: 1.2; }
    svg .point.best { fill: var(--accent); }
    svg .dot { stroke: #fff; stroke-width: .8; }
    svg .whisker { stroke: #9aa5b3; stroke-width: 1.2; }
    svg .band { fill: #1f5fbf; fill-opacity: .07; }
    svg .reference { stroke: var(--accent); stroke-dasharray: 4 4; stroke-opacity: .6; }
    svg .series { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
    svg .dashed { stroke-dasharray: 6 4; }
    svg .stem { stroke: #c9d6ea; stroke-width: 3; }
    .scroll { overflow-x: auto; }
    table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }
    th { color: var(--soft); font-weight: 500; font-size: 12px; text-align: right; vertical-align: bottom; padding: 4px 10px 7px; border-bottom: 1px solid #cfd5dc; }
    td { text-align: right; padding: 6px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; }
    tr:last-child td { border-bottom: 0; }
    th:first-child, td:first-child { text-align: left; padding-left: 0; }
    td:first-child b { font-weight: 600; }
    tr.base td { background: var(--shade); }
    tr.base td:first-child { padding-left: 8px; }
    .soft, small { color: var(--soft); }
    .kinds small { display: block; font-size: 11px; line-height: 1.2; }
    .kinds td span { display: block; border-radius: 5px; padding: 2px 7px; margin: -2px -7px; }
    .kinds .worse { background: rgba(214, 74, 48, var(--tint)); }
    .kinds .better { background: rgba(45, 134, 89, var(--tint)); }
    ul { margin: 0; padding-left: 18px; }
    footer { margin: 4px; color: var(--soft); font-size: 12.5px; }
    """
}
