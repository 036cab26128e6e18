import Testing
import Tokenizer

/// What SmolVLM2 reads between frames and tiles: as transformers 5.2 and num2words 0.5 write it.
@Suite struct ViewTextsTests {
  @Test func numbersInWords() {
    let words = [
      0: "zero", 8: "eight", 13: "thirteen", 20: "twenty", 64: "sixty-four", 100: "one hundred", 101: "one hundred and one",
      128: "one hundred and twenty-eight", 999: "nine hundred and ninety-nine", 1000: "one thousand", 1001: "one thousand and one",
      1536: "one thousand, five hundred and thirty-six", 4096: "four thousand and ninety-six",
      65100: "sixty-five thousand, one hundred",
    ]
    for (number, text) in words { #expect(EnglishNumber.words(number) == text) }
  }

  @Test func aClip() {
    let (start, end) = ("<fake_token_around_image><global-img>", "<fake_token_around_image>")
    let opening = "You are provided the following series of three frames from a 1:01:01 [H:MM:SS] video.\n"
    #expect(
      ViewTexts.smolVLM.clip(times: [0, 61.99, 3661], duration: 3661.9) == [
        opening + "\nFrame from 00:00:" + start, end + "\nFrame from 01:01:" + start, end + "\nFrame from 61:01:" + start, end + "\n\n",
      ])
    #expect(ViewTexts.smolVLM.clip(times: [6000], duration: 90000)[0].contains("one frames from a 1 day, 1:00:00 ["))
    #expect(
      ViewTexts.smolVLM.clip(times: [6000], duration: 180_065)[0].hasSuffix(
        "a 2 days, 2:01:05 [H:MM:SS] video.\n\nFrame from 100:00:" + start))
  }

  @Test func aPicture() {
    let mark = "<fake_token_around_image>"
    #expect(
      ViewTexts.smolVLM.picture(rows: 2, columns: 2) == [
        mark + "<row_1_col_1>", mark + "<row_1_col_2>", "\n" + mark + "<row_2_col_1>", mark + "<row_2_col_2>",
        "\n\n" + mark + "<global-img>", mark,
      ])
    #expect(ViewTexts.smolVLM.picture(rows: 0, columns: 0) == [mark + "<global-img>", mark])
  }
}
