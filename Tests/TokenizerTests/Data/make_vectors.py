"""Writes the reduced tokenizers of this folder and what the PyPI package `tokenizers` makes of texts with them.

    pip install tokenizers==0.23.3
    python3 make_vectors.py DIRECTORY_OF_QWEN2_TOKENIZER

`qwen2/` is the beginning of Qwen2's vocabulary (Apache-2.0): its first 3000 merges and the tokens that they need, as
`tokenizer.json` and as `vocab.json`, `merges.txt` and `tokenizer_config.json`.
"""

import copy
import json
import sys
from pathlib import Path
from random import Random

from tokenizers import Tokenizer, normalizers

MERGES = 3000
here = Path(__file__).parent


def write(path, value):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n", encoding="utf-8")


# The reduced tokenizer, in both forms.
full = json.loads((Path(sys.argv[1]) / "tokenizer.json").read_text(encoding="utf-8"))
merges = [m if isinstance(m, list) else m.split(" ") for m in full["model"]["merges"][:MERGES]]
needed = {token for token, id in full["model"]["vocab"].items() if len(token) == 1 and id < 256}
needed |= {a + b for a, b in merges}
vocab = {t: i for i, t in enumerate(sorted(needed, key=full["model"]["vocab"].get))}
special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<im_start>", "<im_end>"]

reduced = copy.deepcopy(full)
reduced["model"]["vocab"], reduced["model"]["merges"] = vocab, merges
reduced["added_tokens"] = [{"id": len(vocab) + i, "content": name, **special} for i, name in enumerate(names)]
write(here / "qwen2/tokenizer.json", reduced)
write(here / "qwen2/vocab.json", vocab)
(here / "qwen2/merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
write(here / "qwen2/tokenizer_config.json", {
    "tokenizer_class": "Qwen2Tokenizer", "add_prefix_space": False, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
    "added_tokens_decoder": {str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in reduced["added_tokens"]}})

TEXTS = [
    "", " ", "  ", "\n", "\r\n", "\t", "a", "\x00", "\x00\x01\x7f\x80\x9f", "Hello, world!", "the quick brown fox jumps over the lazy dog",
    "What happens in this video? Answer with one word.", "Please describe this video in detail.",
    # Contractions: every case, ſ for s, and what only looks like one.
    "It's I'll we've they're don't I'm he'd", "IT'S I'LL WE'VE THEY'RE DON'T I'M HE'D", "it'S i'lL We'Ve the'rE don'T",
    "'s't're've'm'll'd", "'\u017f '\u017ft x'\u017f\u017f 'r 'v 'l 'ſe", "''s '' 's' l'l l'oeil 'tis d'accord rock'n'roll 'em",
    "don\u2019t it\u2019s \u02bcs \uff07s", "'\u0130 'K '\u212a 'ß '\ufb06 '\u1e9b", "'RE're'rE'Re 'LL'll'lL 'VE've",
    # Digits and numbers.
    "1234567890", "3.14159 1,000,000 1e-10 0x1F", "½ ² ₃ ① Ⅷ 五 ༳ ௧ ٣٤ ४५ ４２ 𝟙𝟚 \U0001f101", "a1b2c3", "v2.0-rc1", "2024-12-31T23:59:59Z",
    # White space.
    "   leading", "trailing   ", "a  b   c    d", "a\n\nb\n\n\nc", "a \n b", "a\n b", "a \n\n b\r\nc\r\rd\n\re", " \n \n ", "\t\tx\t \ty",
    "a\u00a0b\u00a0\u00a0c", "\u3000全角\u3000\u3000空白", "x\u2028y\u2029z", "a\u0085b\x0bc\x0cd", "\u200bzero\u200cwidth\u200d\ufeff",
    "\u1680\u2000\u2001\u202f\u205f", "    def f(x):\n        return x  # two\n\n\n", " " * 100, "\n" * 100, " \n" * 50 + "x", "\r\n" * 20 + " y",
    # Punctuation.
    "!!!", "...?!\n\n(a) [b] {c}", "http://example.com/a?b=c&d=%20e#f", "foo_bar.baz->qux::quux();\r\n\r\n", "x+y=z; a&&b||!c", "\\n \\t \\u0041",
    "“quotes” — dashes… «guillemets» ¿qué?", "$100 €50 £20 ¥3000 100%", " !a !!b -c --d",
    # Latin with marks, composed and not; the order of marks; singletons; what is never composed.
    "café cafe\u0301 naïve nai\u0308ve", "A\u030a \u212b Å \u2126 \u03a9 K\u212a", "q\u0323\u0307 q\u0307\u0323 d\u0307\u0323", "e\u0301\u0301 \u0301e",
    "\u1e9b\u0323 \u0344 \u0340\u0341", "\u0958\u0959 \u0915\u093c", "\u0f77\u0f79 \u0f73", "\u2adc \u2add\u0338", "\U0001d15e\U0001d160",
    "\uf900\ufa30\U0002f800", "a\u0334\u0327\u0301\u0345b", "o\u031b\u0323\u0302 u\u031b\u0301", "Việt Nam Vie\u0323\u0302t", "\u0374 \u037e \u0387 \u1fef",
    "\U00011131\U00011127 \U000110a5\U000110ba", "\U00011935\U00011930", "a\u07fd\u0334 a\u1df6\u0334", "ﬁ ﬀ ǆ Ǆ ŉ ĳ",
    # Hangul: syllables, jamo that compose, and those that do not.
    "안녕하세요", "\u1112\u1161\u11ab\u1100\u1173\u11af", "\uac00\u11a8 \uac01\u11a8 \u1100\uac00", "\u1161\u11a8 \u1100\u1100\u1161 \u115f\u1160",
    # Other scripts.
    "视频里发生了什么？请用一个词回答。", "ビデオで何が起きていますか？ が か\u3099 ハ\u309a", "動画を説明してください。", "Привет, как дела? Ёлка Е\u0308лка й и\u0306",
    "مرحبا بالعالم ا\u0653 \u0627\u0654 ﻻ", "שלום עולם \u05e9\u05c1 \ufb2a", "हिन्दी भाषा में वीडियो", "ภาษาไทย น้ำ", "தமிழ் க\u0bc6\u0bbe", "Ελληνικά ά α\u0301 ΐ ι\u0308\u0301",
    "ქართული ᲥᲐᲠᲗᲣᲚᲘ", "አማርኛ", "བོད་སྐད", "ភាសាខ្មែរ", "Tiếng Việt", "İstanbul ıI", "ᏣᎳᎩ ꭰ", "𐐀𐐨 𝔘𝔫𝔦 𠜎𠜱", "𞤀𞤣𞤤𞤢𞤥", "\u1c89\ua7cb \U00010d4a\U00010d40 \U00016d68\U00016d67",
    # Emoji and other symbols; unassigned and private characters.
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇷🇺 ok", "👍🏽👍🏿 ❤️ ☺︎ 1️⃣ #️⃣", "🫨🪿🫸 \U0001fae9", "→ ↔ ∑ ∫ ≠ ≤", "\u0378 \u2065 \ue000 \U000f0000 \U0010ffff \ufffe \ufffd",
    # Special tokens.
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n", "\nQ?<|im_end|>\n<|im_start|>assistant\n",
    "x<|endoftext|>y<|im_end|>z<|im_start|>", "<|im_start|><|im_start|>", "<|im_", "<|im_end|", "<<|im_end|>>", " <|im_end|> ", "e<|im_end|>\u0301",
    "<image>", "<im_start><image><im_end>", "\u0301<|im_end|>\u0301", "don<|im_end|>'t",
]
LONG = [["a", 5000], ["ab", 3000], [" ", 3001], ["the ", 1000], ["x" * 47, 1], ["x" * 48, 1], ["x" * 49, 1], ["e\u0301", 2000], ["中", 2000],
        ["internationalization", 300], ["\u0301\u0316", 500], ["=-", 1500], ["0", 500], ["<|im_end|>", 300], ["\r\n ", 400]]


def digest(ids):
    """One number for many ids."""
    value = 0
    for id in ids:
        value = (value * 1000003 + id) % (1 << 61)
    return value


def vectors(tokenizer):
    cases = []
    for text in TEXTS:
        tokenizer.encode_special_tokens = False
        case = {"text": text, "ids": tokenizer.encode(text).ids}
        case["decoded"] = tokenizer.decode(case["ids"], skip_special_tokens=False)
        case["decodedWithoutSpecial"] = tokenizer.decode(case["ids"], skip_special_tokens=True)
        tokenizer.encode_special_tokens = True
        case["idsAsText"] = tokenizer.encode(text).ids
        cases.append(case)
    tokenizer.encode_special_tokens = False
    long = []
    for unit, times in LONG:
        ids = tokenizer.encode(unit * times).ids
        long.append({"unit": unit, "times": times, "count": len(ids), "digest": digest(ids)})
    return {"texts": cases, "long": long}


write(here / "qwen2/vectors.json", vectors(Tokenizer.from_str(json.dumps(reduced))))

# The same vocabulary with GPT-2's pattern and without NFC: what differs in tokenizer.json, and the vectors.
changes = {"normalizer": None,
           "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}}
write(here / "gpt2/changes.json", changes)
write(here / "gpt2/vectors.json", vectors(Tokenizer.from_str(json.dumps({**reduced, **changes}))))

# And with SmolLM2's way: digits are cut off first.
digits = {"normalizer": None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
    {"type": "Digits", "individual_digits": True}, changes["pre_tokenizer"]]}}
write(here / "smollm2/changes.json", digits)
write(here / "smollm2/vectors.json", vectors(Tokenizer.from_str(json.dumps({**reduced, **digits}))))

# Added tokens of every kind, on texts that tell them apart.
plain = {**special, "special": False}
added = [
    {**special, "content": "<L>", "lstrip": True}, {**special, "content": "<R>", "rstrip": True},
    {**special, "content": "<B>", "lstrip": True, "rstrip": True}, {**plain, "content": "word", "single_word": True},
    {**plain, "content": "zqx", "single_word": True}, {**plain, "content": "zqxy", "single_word": True}, {**plain, "content": "<a"}, {**plain, "content": "<a>"}, {**special, "content": "<a>b"},
    {**plain, "content": "n\u00f6rm", "normalized": True}, {**plain, "content": "\u2603 \u00e9"}, {**special, "content": "\u00e9\u00e9"},
    {**plain, "content": " sp", "lstrip": True}, {**special, "content": "<N>", "normalized": True},
]
next_id = len(vocab) + len(names)
for token in added:
    token["id"] = vocab.get(token["content"], next_id)
    next_id += token["id"] == next_id
texts = [
    "zqx", "a zqx.", "szqx zqxs zqx", "zqx_ zqx \u00e9zqx zqx\u0301 zqx\u200d zqx-zqx", "zqxy zqx zqxyzqx", "_zqx \u00b2zqx 5zqx \u24d0zqx \u0301zqx",
    "zqx\u00b2 zqx\u24d0 zqx\u203f zqx\u0660 zqx\u2160 \U0001f130zqx zqx\u1ad3 zqx\U00016ebd", "a <L> b", "a \n\u3000<L>b <L> <L>", "a <R> b", "a<R> \u00a0\n b<R>", "x  <B>  y <B> <B>  ", "word", "a word.", "sword words word", "word_ \u00e9word word\u0301 word\u200d word-word",
    "wordy word wordyword", "<a<a><a>b<a>bb", "n\u00f6rm no\u0308rm xno\u0308rmx", "\u2603 \u00e9 \u2603 e\u0301", "\u00e9\u00e9 e\u0301e\u0301", "x  sp<R> sp", "<N> <L><R> <N>",
    "<R> <L>", "<R> sp", "a  <L>word", "  ", "<a>word", "\u00b2word 5word \u24d0word",
]
tokenizer = Tokenizer.from_str(json.dumps({**reduced, "added_tokens": reduced["added_tokens"] + added}))
cases = []
for text in texts:
    tokenizer.encode_special_tokens = False
    ids = tokenizer.encode(text).ids
    case = {"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False)}
    case["decodedWithoutSpecial"] = tokenizer.decode(ids, skip_special_tokens=True)
    tokenizer.encode_special_tokens = True
    case["idsAsText"] = tokenizer.encode(text).ids
    cases.append(case)
write(here / "added/changes.json", {"added_tokens": reduced["added_tokens"] + added})
write(here / "added/vectors.json", {"texts": cases, "long": []})

# Sequences of ids that are no text: bytes that are not UTF-8, ids of no token.
tokenizer = Tokenizer.from_str(json.dumps(reduced))
byte = {b: tokenizer.encode(chr(b)).ids[0] for b in range(128)}
lead = tokenizer.encode("\u00e9\u20ac\U0001f600\u0800").ids
high = [vocab[c] for c in map(chr, range(0x100, 0x144)) if c in vocab] + [vocab[chr(c)] for c in range(0xA1, 0x100) if chr(c) in vocab]
sequences = [[], [byte[65]], lead, lead[:1], lead[:3], lead[1:], [9999], [byte[65], 5000, byte[66]], high, high[::-1]]
state = 1
for _ in range(200):
    sequence = []
    for _ in range(12):
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        sequence.append(high[(state >> 33) % len(high)] if state >> 62 else (state >> 33) % (len(vocab) + 5))
    sequences.append(sequence)
write(here / "qwen2/decoding.json", [{"ids": s, "decoded": tokenizer.decode(s, skip_special_tokens=False)} for s in sequences])

# NFC: random texts of letters, marks and jamo, and digests over whole blocks of scalars.
nfc = normalizers.NFC().normalize_str
pool = [int(x, 16) for x in """20 61 65 6f 71 75 c5 e9 1b0 1ea1 300 301 302 307 308 30a 316 31b 323 327 328 334 338 340 344 345 3b1 3b9 5d0 5b0 5c1 627 653 654 915
    93c 9c7 9be bc6 bbe dd9 dcf dca f71 f72 f73 f74 1025 102e 1100 1112 1161 1175 11a7 11a8 11c2 11c3 ac00 ac01 d788 212b 2126 2adc 3046 3099 309a 30cf
    4e2d f900 fb2a 110a5 110ba 11131 11127 1d15e 1d165 1d16e 1f600 2f800 7fd 1df6 11935 11930""".split()]
random = Random(9)
texts = ["".join(chr(random.choice(pool)) for _ in range(random.randint(1, 12))) for _ in range(600)]
blocks = []
for start in [0, 0x1000, 0x2000, 0x3000, 0xA000, 0xC000, 0xF000, 0x10000, 0x11000, 0x16000, 0x1B000, 0x1D000, 0x1E000, 0x2F000]:
    scalars = [chr(c) for c in range(start, start + 0x1000)]
    units = (u for c in scalars for t in (c, f"a{c}\u0301", f"q\u0345{c}\u0334", f"{c}\u0327\u0301") for u in nfc(t).encode())
    blocks.append({"start": start, "digest": digest(units)})
write(here / "unicode/nfc.json", {"texts": [{"text": t, "normalized": nfc(t)} for t in texts], "blocks": blocks})
