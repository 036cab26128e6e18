/// What stays on a terminal's screen: rows without end, so that nothing scrolls away. Knows CR, LF, BS, the bell, erasing from the cursor
/// (`ESC[K`, `ESC[J`), moving in a row (`ESC[nC`, `ESC[nD`) and wrapping; other escape sequences leave no trace. As xterm it cuts rows when
/// it becomes narrower. Characters from CJK's on take two columns.
struct TerminalScreen {
  private(set) var columns: Int
  private var cells: [[Character]] = [[]]
  private var row = 0
  private var column = 0
  /// Bytes of a character or an escape sequence that is not whole yet.
  private var pending: [UInt8] = []

  init(columns: Int) { self.columns = columns }

  /// Rows from the first to the last that is not empty, without the spaces at their ends.
  var lines: [String] {
    var lines = cells.map { String($0.filter { $0 != Self.filler }).replacing(#/ +$/#, with: "") }
    while lines.last == "" { lines.removeLast() }
    return lines
  }

  /// How a text is shown: its lines, broken after each `columns` characters.
  static func wrapped(_ text: String, columns: Int) -> [String] {
    var screen = TerminalScreen(columns: columns)
    screen.feed(Array(text.replacing("\n", with: "\r\n").utf8))
    return screen.lines
  }

  mutating func resize(columns: Int) {
    self.columns = columns
    cells = cells.map { Array($0.prefix(columns)) }
    column = min(column, columns)
  }

  mutating func feed(_ bytes: some Sequence<UInt8>) {
    for byte in bytes { feed(byte) }
  }

  private mutating func feed(_ byte: UInt8) {
    if pending.first == 0x1b {
      pending.append(byte)
      // `ESC [ parameters letter`, or `ESC` and one character.
      if pending.count == 2 ? byte != UInt8(ascii: "[") : (0x40...0x7e).contains(byte) {
        if pending.count > 2 { control(String(decoding: pending[2..<pending.count - 1], as: UTF8.self), pending[pending.count - 1]) }
        pending = []
      }
      return
    }
    switch byte {
    case 0x1b: pending = [byte]
    case UInt8(ascii: "\r"): column = 0
    case UInt8(ascii: "\n"): down()
    case 0x08: column = max(0, column - 1)
    case 0x07: break
    default:
      pending.append(byte)
      guard let character = String(validating: pending, as: UTF8.self)?.first else { return }
      pending = []
      put(character)
    }
  }

  private mutating func control(_ parameters: String, _ letter: UInt8) {
    let count = max(1, Int(parameters) ?? 1)
    switch letter {
    case UInt8(ascii: "K"), UInt8(ascii: "J"):
      guard parameters == "" || parameters == "0" else { return }
      cells[row] = Array(cells[row].prefix(column))
      if letter == UInt8(ascii: "J") { cells.removeSubrange((row + 1)...) }
    case UInt8(ascii: "C"): column = min(columns - 1, column + count)
    case UInt8(ascii: "D"): column = max(0, column - count)
    case UInt8(ascii: "G"): column = min(columns, count) - 1
    case UInt8(ascii: "@"): if column < cells[row].count { cells[row].insert(contentsOf: Array(repeating: " ", count: count), at: column) }
    case UInt8(ascii: "P"): if column < cells[row].count { cells[row].removeSubrange(column..<min(cells[row].count, column + count)) }
    default: break
    }
  }

  private mutating func put(_ character: Character) {
    let isWide = character.unicodeScalars.contains { (0x2e80...0xfe6f).contains($0.value) || $0.value >= 0x1f300 }
    // A full row breaks when the next character comes.
    if column + (isWide ? 2 : 1) > columns {
      column = 0
      down()
    }
    if cells[row].count < column { cells[row] += Array(repeating: " ", count: column - cells[row].count) }
    for cell in isWide ? [character, Self.filler] : [character] {
      if column < cells[row].count { cells[row][column] = cell } else { cells[row].append(cell) }
      column += 1
    }
  }

  /// The second column of a wide character.
  private static let filler: Character = "\0"

  private mutating func down() {
    row += 1
    if row == cells.count { cells.append([]) }
  }
}
