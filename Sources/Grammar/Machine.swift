/// Reads a form byte by byte. What it is inside of, from the value in hand out to the whole answer, is a list of frames; where a form
/// leaves a choice open, several such lists are followed side by side. Frames and lists are kept once each and known by number.
///
/// No list is followed that cannot be finished: bounds of numbers and lengths, required properties and the limit of nesting are looked at
/// before a byte is taken, so that every text that was taken so far has an end.
struct Machine {
  /// A list of frames by its innermost one; 0 is the end, where the answer is whole.
  typealias Thread = Int32

  struct Frame: Hashable {
    enum Kind: UInt8 {
      case end
      /// Before a value of `rule`.
      case value
      /// `a ..< b` of the texts of list `rule` agree in what has been written, `c` bytes.
      case literal
      /// Within a string: at least `a`, at most `b` more scalars; `c` is the place within a character (`Machine.text`).
      case string
      case number
      /// Within the object `rule`: properties from `a` on may come; `b` are the other properties that it has (`NameList`).
      case objectStart, objectNext, objectKey, objectColon
      /// `a ..< b` of the keys of object `rule` agree in what has been written, `c` bytes.
      case key
      /// A key that is no property's: `c` is the place within a character, `a` the text so far (`NameList`).
      case otherKey
      /// Within an array of rule `rule`: at least `a`, at most `b` more items.
      case arrayStart, arrayNext
    }
    var kind: Kind
    /// Objects and arrays that it is inside of.
    var depth: UInt8
    var rule: Int32
    var a: Int32 = 0
    var b: Int32 = 0
    var c: Int32 = 0
    var number: NumberRange.Progress?
    var parent: Thread
  }

  /// Names that grow by a byte, and sets of names: each entry adds one thing to an earlier one.
  private struct NameList {
    private struct Entry: Hashable {
      var before: Int32
      var added: Int32
    }
    /// Entry 0 is empty.
    private var entries = [Entry(before: 0, added: 0)]
    private var places: [Entry: Int32] = [:]

    mutating func adding(_ added: Int32, to before: Int32) -> Int32 {
      let entry = Entry(before: before, added: added)
      if let place = places[entry] { return place }
      entries.append(entry)
      places[entry] = Int32(entries.count - 1)
      return Int32(entries.count - 1)
    }

    /// The last thing first.
    func things(_ place: Int32) -> [Int32] {
      var found: [Int32] = []
      var place = place
      while place != 0 {
        found.append(entries[Int(place)].added)
        place = entries[Int(place)].before
      }
      return found
    }
  }

  let form: Form
  /// Lists that are followed side by side; beyond that the later choices of a form are given up.
  static let threadLimit = 256
  private(set) var frames = [Frame(kind: .end, depth: 0, rule: 0, parent: 0)]
  private var places: [Frame: Thread] = [:]
  private var alternatives: [Form.RuleID: [Form.RuleID]] = [:]
  private var names = NameList()
  private var simplified: [Thread: Thread] = [0: 0]

  init(_ form: Form) { self.form = form }

  /// Before the answer.
  mutating func start() -> Thread { intern(Frame(kind: .value, depth: 0, rule: 0, parent: 0)) }

  private mutating func intern(_ frame: Frame) -> Thread {
    if let place = places[frame] { return place }
    frames.append(frame)
    let place = Thread(frames.count - 1)
    places[frame] = place
    return place
  }

  /// The same list without what does not matter for the next `reach` bytes, and without the names of other properties: many lists are one
  /// then. It takes the bytes that the list takes, and names that the list has already.
  mutating func simplified(_ thread: Thread, reach: Int32) -> Thread {
    if let known = simplified[thread] { return known }
    var frame = frames[Int(thread)]
    frame.parent = simplified(frame.parent, reach: reach)
    switch frame.kind {
    case .string, .arrayStart, .arrayNext:
      frame.a = min(frame.a, reach)
      if frame.b != Form.unbounded { frame.b = min(frame.b, reach) }
    case .otherKey: frame.a = 0
    case .objectStart, .objectNext, .objectKey, .objectColon: frame.b = 0
    default: break
    }
    let found = intern(frame)
    simplified[thread] = found
    return found
  }

  // MARK: A byte

  /// Appends to `next` where `byte` leads. With `exactly`, no name comes twice in an object.
  mutating func step(_ thread: Thread, _ byte: UInt8, exactly: Bool, to next: inout [Thread]) {
    var frame = frames[Int(thread)]
    switch frame.kind {
    case .end: break
    case .value: begin(frame.rule, byte, depth: frame.depth, parent: frame.parent, to: &next)
    case .literal:
      let list = form.literals[Int(frame.rule)]
      if list.texts[Int(frame.a)].count == Int(frame.c) { step(frame.parent, byte, exactly: exactly, to: &next) }
      let range = list.narrowed(frame.a..<frame.b, frame.c, byte)
      if !range.isEmpty { literal(frame.rule, range, frame.c + 1, frame, to: &next) }
    case .string:
      switch Self.text(frame.c, byte) {
      case Self.dead: break
      case Self.quote: if frame.a == 0 { add(frame.parent, to: &next) }
      case let place:
        if frame.c == 0 {
          if frame.b == 0 { break }
          frame.a = max(0, frame.a - 1)
          if frame.b != Form.unbounded { frame.b -= 1 }
        }
        frame.c = place
        add(intern(frame), to: &next)
      }
    case .number:
      guard case .number(let range) = form.rules[Int(frame.rule)], let progress = frame.number else { break }
      if range.mayEnd(progress) { step(frame.parent, byte, exactly: exactly, to: &next) }
      if let progress = range.next(progress, byte) {
        frame.number = progress
        add(intern(frame), to: &next)
      }
    case .objectStart, .objectNext:
      let object = form.objects[Int(frame.rule)]
      if byte == UInt8(ascii: "}"), object.nextRequired[Int(frame.a)] == object.properties.count { add(frame.parent, to: &next) }
      if frame.kind == .objectStart {
        key(frame, byte, to: &next)
      } else if byte == UInt8(ascii: ","), takesOther(frame) || hasKey(frame, 0..<Int32(object.properties.count)) {
        frame.kind = .objectKey
        add(intern(frame), to: &next)
      }
    case .objectKey: key(frame, byte, to: &next)
    case .key:
      let object = frames[Int(frame.parent)]
      let keys = form.objects[Int(frame.rule)].keys
      narrow(object, keys.narrowed(frame.a..<frame.b, frame.c, byte), frame.c + 1, to: &next)
    case .otherKey: otherKey(frame, byte, exactly: exactly, to: &next)
    case .objectColon:
      guard byte == UInt8(ascii: ":"), let rule = form.objects[Int(frame.rule)].additional else { break }
      frame.kind = .objectNext
      add(intern(Frame(kind: .value, depth: frame.depth, rule: rule, parent: intern(frame))), to: &next)
    case .arrayStart, .arrayNext:
      guard case .array(let items, _, _) = form.rules[Int(frame.rule)] else { break }
      if byte == UInt8(ascii: "]"), frame.a == 0 { add(frame.parent, to: &next) }
      guard frame.b > 0, form.nesting[Int(items)] <= Form.nestingLimit - frame.depth else { break }
      let isFirst = frame.kind == .arrayStart
      frame.kind = .arrayNext
      frame.a = max(0, frame.a - 1)
      if frame.b != Form.unbounded { frame.b -= 1 }
      if isFirst {
        begin(items, byte, depth: frame.depth, parent: intern(frame), to: &next)
      } else if byte == UInt8(ascii: ",") {
        add(intern(Frame(kind: .value, depth: frame.depth, rule: items, parent: intern(frame))), to: &next)
      }
    }
  }

  private func add(_ thread: Thread, to next: inout [Thread]) {
    if next.count < Self.threadLimit, !next.contains(thread) { next.append(thread) }
  }

  /// The first byte of a value.
  private mutating func begin(_ rule: Form.RuleID, _ byte: UInt8, depth: UInt8, parent: Thread, to next: inout [Thread]) {
    let choices: [Form.RuleID]
    if let known = alternatives[rule] {
      choices = known
    } else {
      choices = form.alternatives(of: rule)
      alternatives[rule] = choices
    }
    for choice in choices where form.nesting[Int(choice)] <= Form.nestingLimit - depth {
      var frame = Frame(kind: .value, depth: depth, rule: choice, parent: parent)
      switch form.rules[Int(choice)] {
      case .literals(let number):
        let list = form.literals[Int(number)]
        let range = list.narrowed(0..<Int32(list.texts.count), 0, byte)
        if !range.isEmpty { literal(number, range, 1, frame, to: &next) }
      case .string(let minimum, let maximum):
        guard byte == UInt8(ascii: "\"") else { continue }
        (frame.kind, frame.a, frame.b) = (.string, minimum, maximum)
        add(intern(frame), to: &next)
      case .number(let range):
        guard let progress = range.begin(byte) else { continue }
        (frame.kind, frame.number) = (.number, progress)
        add(intern(frame), to: &next)
      case .object(let number):
        guard byte == UInt8(ascii: "{") else { continue }
        (frame.kind, frame.rule, frame.depth) = (.objectStart, number, depth + 1)
        add(intern(frame), to: &next)
      case .array(_, let minimum, let maximum):
        guard byte == UInt8(ascii: "[") else { continue }
        (frame.kind, frame.a, frame.b, frame.depth) = (.arrayStart, minimum, maximum, depth + 1)
        add(intern(frame), to: &next)
      case .anyOf: break
      }
    }
  }

  private mutating func literal(_ list: Int32, _ range: Range<Int32>, _ offset: Int32, _ frame: Frame, to next: inout [Thread]) {
    if range.count == 1, form.literals[Int(list)].texts[Int(range.lowerBound)].count == Int(offset) { return add(frame.parent, to: &next) }
    var frame = frame
    (frame.kind, frame.rule, frame.a, frame.b, frame.c) = (.literal, list, range.lowerBound, range.upperBound, offset)
    add(intern(frame), to: &next)
  }

  // MARK: Keys

  /// Whether one of these keys may come in the object.
  private func hasKey(_ frame: Frame, _ range: Range<Int32>) -> Bool {
    let object = form.objects[Int(frame.rule)]
    // None that is required may be passed over.
    let last = min(object.nextRequired[Int(frame.a)], Int32(object.properties.count) - 1)
    guard frame.a <= last else { return false }
    return range.contains { place in
      let property = object.propertyOfKey[Int(place)]
      return property >= frame.a && property <= last
        && form.nesting[Int(object.properties[Int(property)].rule)] <= Form.nestingLimit - frame.depth
    }
  }

  /// Whether a property that is not named may come.
  private func takesOther(_ frame: Frame) -> Bool {
    let object = form.objects[Int(frame.rule)]
    guard let additional = object.additional else { return false }
    return object.nextRequired[Int(frame.a)] == object.properties.count
      && form.nesting[Int(additional)] <= Form.nestingLimit - frame.depth
  }

  /// The first byte of a key.
  private mutating func key(_ frame: Frame, _ byte: UInt8, to next: inout [Thread]) {
    guard byte == UInt8(ascii: "\"") else { return }
    let keys = form.objects[Int(frame.rule)].keys
    narrow(frame, keys.narrowed(0..<Int32(keys.texts.count), 0, byte), 1, to: &next)
    guard takesOther(frame) else { return }
    var object = frame
    (object.kind, object.a) = (.objectColon, Int32(form.objects[Int(frame.rule)].properties.count))
    add(intern(Frame(kind: .otherKey, depth: frame.depth, rule: frame.rule, parent: intern(object))), to: &next)
  }

  /// Keys that agree with what has been written: the last byte of one leads to its value.
  private mutating func narrow(_ object: Frame, _ range: Range<Int32>, _ offset: Int32, to next: inout [Thread]) {
    guard !range.isEmpty, hasKey(object, range) else { return }
    let rule = form.objects[Int(object.rule)]
    if rule.keys.texts[Int(range.lowerBound)].count == Int(offset) {
      let property = rule.propertyOfKey[Int(range.lowerBound)]
      var after = object
      (after.kind, after.a) = (.objectNext, property + 1)
      let value = Frame(kind: .value, depth: object.depth, rule: rule.properties[Int(property)].rule, parent: intern(after))
      return add(intern(value), to: &next)
    }
    let frame = Frame(
      kind: .key, depth: object.depth, rule: object.rule, a: range.lowerBound, b: range.upperBound, c: offset, parent: intern(object))
    add(intern(frame), to: &next)
  }

  /// Such a key has no escapes but those of quotation marks and backslashes: each has one form, and can be told from the others by it.
  private mutating func otherKey(_ frame: Frame, _ byte: UInt8, exactly: Bool, to next: inout [Thread]) {
    if frame.c == Self.escape, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") { return }
    switch Self.text(frame.c, byte) {
    case Self.dead: break
    case Self.quote:
      guard exactly else { return add(frame.parent, to: &next) }
      var object = frames[Int(frame.parent)]
      let text = names.things(frame.a).reversed().map { UInt8($0) }
      if form.objects[Int(object.rule)].names.contains(text) || names.things(object.b).contains(frame.a) { return }
      object.b = names.adding(frame.a, to: object.b)
      add(intern(object), to: &next)
    case let place:
      var frame = frame
      frame.c = place
      if exactly { frame.a = names.adding(Int32(byte), to: frame.a) }
      add(intern(frame), to: &next)
    }
  }

  // MARK: Ends

  /// The answer may end here.
  func mayEnd(_ thread: Thread) -> Bool {
    let frame = frames[Int(thread)]
    switch frame.kind {
    case .end: return true
    case .literal: return frame.parent == 0 && form.literals[Int(frame.rule)].texts[Int(frame.a)].count == Int(frame.c)
    case .number:
      guard frame.parent == 0, case .number(let range) = form.rules[Int(frame.rule)], let progress = frame.number else { return false }
      return range.mayEnd(progress)
    default: return false
    }
  }

  /// Where it is between characters of a string: how many more may come.
  func roomInString(_ thread: Thread) -> Int? {
    let frame = frames[Int(thread)]
    return frame.kind == .string && frame.c == 0 ? Int(frame.b) : nil
  }

  // MARK: Characters

  static let (dead, quote, escape): (Int32, Int32, Int32) = (-1, -2, 8)

  /// Where a byte leads within a string: 0 is between characters; 1 to 7 within one of UTF-8, which has no surrogates, no code beyond
  /// U+10FFFF and no longer form than must be; from 8 on within an escape, where surrogates come in pairs.
  static func text(_ place: Int32, _ byte: UInt8) -> Int32 {
    func from(_ low: UInt8, _ high: UInt8, _ next: Int32) -> Int32 { byte >= low && byte <= high ? next : dead }
    let digit: UInt8? =
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
      case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
      case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
      default: nil
      }
    func hexadecimal(_ digits: ClosedRange<UInt8>, _ next: Int32) -> Int32 { digit.map(digits.contains) == true ? next : dead }
    switch place {
    case 0:
      switch byte {
      case UInt8(ascii: "\""): return quote
      case UInt8(ascii: "\\"): return escape
      case 0x20..<0x80: return 0
      case 0xC2..<0xE0: return 1
      case 0xE0: return 4
      case 0xED: return 5
      case 0xE1..<0xF0: return 2
      case 0xF0: return 6
      case 0xF1..<0xF4: return 3
      case 0xF4: return 7
      default: return dead
      }
    case 1: return from(0x80, 0xBF, 0)
    case 2: return from(0x80, 0xBF, 1)
    case 3: return from(0x80, 0xBF, 2)
    case 4: return from(0xA0, 0xBF, 1)
    case 5: return from(0x80, 0x9F, 1)
    case 6: return from(0x90, 0xBF, 2)
    case 7: return from(0x80, 0x8F, 2)
    case escape:
      switch byte {
      case UInt8(ascii: "u"): return 9
      case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"), UInt8(ascii: "n"),
        UInt8(ascii: "r"), UInt8(ascii: "t"):
        return 0
      default: return dead
      }
    // Four digits; D may begin half a pair.
    case 9: return digit == 13 ? 13 : hexadecimal(0...15, 10)
    case 10: return hexadecimal(0...15, 11)
    case 11: return hexadecimal(0...15, 12)
    case 12: return hexadecimal(0...15, 0)
    case 13:
      let other = hexadecimal(0...7, 11)
      return other == dead ? hexadecimal(8...11, 14) : other
    case 14: return hexadecimal(0...15, 15)
    case 15: return hexadecimal(0...15, 16)
    case 16: return byte == UInt8(ascii: "\\") ? 17 : dead
    case 17: return byte == UInt8(ascii: "u") ? 18 : dead
    case 18: return hexadecimal(13...13, 19)
    case 19: return hexadecimal(12...15, 11)
    default: return dead
    }
  }
}
