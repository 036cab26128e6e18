/// What a family writes between the tokens of what it is shown: around each frame of a clip, and each tile of a picture.
///
/// `{frames}`, `{duration}` and `{time}` stand for a clip's number of frames in words, its length as H:MM:SS and a frame's time as MM:SS;
/// `{row}` and `{column}` for a tile's place, from 1 on.
package struct ViewTexts: Hashable, Sendable {
  /// Before a clip's frames.
  package var clipStart: String
  /// Around each of them.
  package var frame: PromptTemplate.Wrapping
  /// After the last.
  package var clipEnd: String
  /// Before a tile.
  package var tile: String
  /// After a row of them.
  package var rowEnd: String
  /// Before the whole of a picture that has tiles.
  package var tilesEnd: String
  /// Around the whole of a picture.
  package var whole: PromptTemplate.Wrapping

  /// SmolVLM2's, to the letter.
  package static let smolVLM = ViewTexts(
    clipStart: "You are provided the following series of {frames} frames from a {duration} [H:MM:SS] video.\n",
    frame: .init(start: "\nFrame from {time}:<fake_token_around_image><global-img>", end: "<fake_token_around_image>"),
    clipEnd: "\n\n", tile: "<fake_token_around_image><row_{row}_col_{column}>", rowEnd: "\n", tilesEnd: "\n",
    whole: .init(start: "<fake_token_around_image><global-img>", end: "<fake_token_around_image>"))

  /// Before each frame's tokens, and after the last's. `times` of the frames and `duration` are in seconds.
  package func clip(times: [Double], duration: Double) -> [String] {
    let opening = clipStart.replacing("{frames}", with: EnglishNumber.words(times.count)).replacing(
      "{duration}", with: Self.hours(duration))
    var texts: [String] = []
    for (index, time) in times.enumerated() {
      texts.append((index == 0 ? opening : frame.end) + frame.start.replacing("{time}", with: Self.minutes(time)))
    }
    return texts + [(times.isEmpty ? opening : frame.end) + clipEnd]
  }

  /// Before each tile's tokens, before the whole's, which come last, and after these. Without tiles there is only the whole.
  package func picture(rows: Int, columns: Int) -> [String] {
    var texts: [String] = []
    var end = ""
    for row in 0..<rows {
      for column in 0..<columns {
        texts.append(end + tile.replacing("{row}", with: "\(row + 1)").replacing("{column}", with: "\(column + 1)"))
        end = ""
      }
      end = rowEnd
    }
    if !texts.isEmpty { end += tilesEnd }
    return texts + [end + whole.start, whole.end]
  }

  /// `0:01:05`, from a day on `1 day, 0:01:05`: as Python writes whole seconds.
  private static func hours(_ seconds: Double) -> String {
    let total = whole(seconds)
    let (days, rest) = total.quotientAndRemainder(dividingBy: 86400)
    let text = "\(rest / 3600):\(twoDigits(rest / 60 % 60)):\(twoDigits(rest % 60))"
    return days == 0 ? text : "\(days) day\(days == 1 ? "" : "s"), \(text)"
  }

  /// `01:05`.
  private static func minutes(_ seconds: Double) -> String {
    let total = whole(seconds)
    return "\(twoDigits(total / 60)):\(twoDigits(total % 60))"
  }

  private static func whole(_ seconds: Double) -> Int { seconds.isFinite ? Int(min(max(0, seconds), 1e12)) : 0 }
  private static func twoDigits(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
}

/// Numbers as English writes them out.
package enum EnglishNumber {
  private static let small = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen",
    "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
  ]
  private static let tens = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]

  /// `one hundred and twenty-eight`, `one thousand, five hundred and thirty-six`; below a million, beyond it digits.
  package static func words(_ number: Int) -> String {
    switch number {
    case 0..<20: return small[number]
    case 20..<100: return tens[number / 10] + (number % 10 == 0 ? "" : "-" + small[number % 10])
    case 100..<1000: return small[number / 100] + " hundred" + (number % 100 == 0 ? "" : " and " + words(number % 100))
    case 1000..<1_000_000:
      let rest = number % 1000
      return words(number / 1000) + " thousand" + (rest == 0 ? "" : (rest < 100 ? " and " : ", ") + words(rest))
    default: return "\(number)"
    }
  }
}
