"""Writes UnicodeTables.swift beside it: the Unicode data of the PyPI package `tokenizers`.

    pip install tokenizers==0.23.3
    python3 make_unicode_tables.py > UnicodeTables.swift

The classes are asked of the package's own regular expression engine, scalar by scalar. Decompositions and combining classes are
those of Python's `unicodedata` as far as the package's NFC knows them: it was made for an older Unicode and leaves younger
scalars as they are.
"""

import unicodedata

from tokenizers import Regex, normalizers
from tokenizers.pre_tokenizers import Split

LAST = 0x110000
nfc = normalizers.NFC().normalize_str


def scalars():
    return (c for c in range(LAST) if not 0xD800 <= c < 0xE000)


def matching(pattern):
    """The scalars that the engine says match the pattern."""
    split = Split(Regex(pattern), "removed", invert=True)
    found = set()
    for start in range(0, LAST, 0x1000):
        text = "".join(chr(c) for c in range(start, start + 0x1000) if not 0xD800 <= c < 0xE000)
        for piece, _ in split.pre_tokenize_str(text) if text else []:
            found.update(map(ord, piece))
    return found


def classes():
    kinds = [(1, matching(r"\p{L}")), (2, matching(r"\p{N}")), (3, matching(r"\s"))]
    result = [0] * LAST
    for kind, members in kinds:
        for c in members:
            assert result[c] == 0
            result[c] = kind
    result[0x0A] = result[0x0D] = 4
    return result


def known_combining_class(c):
    """The combining class that the package gives to a scalar: Unicode's or, if it does not know the scalar, 0."""
    ccc = unicodedata.combining(chr(c))
    if ccc == 0:
        return 0
    # A mark of a known class changes places with one of a lower class after it, or with one of a higher class before it.
    pair = "q" + ("\u0345" + chr(c) if ccc == 1 else chr(c) + "\u0334")
    return ccc if nfc(pair) == unicodedata.normalize("NFC", pair) != pair else 0


def decompositions():
    """(scalar, first, second or 0, whether the two compose again), Hangul syllables left out."""
    result = []
    for c in scalars():
        text = unicodedata.decomposition(chr(c))
        if not text or text.startswith("<"):
            continue
        parts = [int(part, 16) for part in text.split()]
        joined = "".join(map(chr, parts))
        normal = unicodedata.normalize("NFC", chr(c))
        if nfc(joined + "\u0301") != unicodedata.normalize("NFC", joined + "\u0301"):
            assert nfc(joined) == joined and nfc(chr(c)) == chr(c), hex(c)
            continue  # younger than the package's tables
        assert nfc(chr(c)) == normal
        result.append((c, parts[0], parts[1] if len(parts) > 1 else 0, normal == chr(c)))
    return result


def runs(values):
    """Start of each run of equal values, packed with the value: start | value << 24."""
    return [c | value << 24 for c, value in enumerate(values) if c == 0 or values[c - 1] != value]


def table(name, comment, element, values):
    width = max(len(f"{value:#x}") for value in values)
    columns = 136 // (width + 2)
    print(f"\n  /// {comment}\n  static let {name}: [{element}] = [")
    for start in range(0, len(values), columns):
        print("    " + ", ".join(f"{value:#x}" for value in values[start:start + columns]) + ",")
    print("  ]")


print("""// Written by make_unicode_tables.py. Do not edit.
// swift-format-ignore-file

/// The Unicode data that byte-level BPE tokenizers were made with: `\\p{L}`, `\\p{N}` and `\\s` of Unicode 16, NFC of Unicode 9.
enum UnicodeTables {""", end="")
table("classes", "Runs of one `ScalarClass`: the first scalar in the low 24 bits, the class above.", "UInt32", runs(classes()))
table("combiningClasses", "Runs of one canonical combining class: the first scalar in the low 24 bits, the class above.", "UInt32",
      runs([0 if 0xD800 <= c < 0xE000 else known_combining_class(c) for c in range(LAST)]))
table("decompositions",
      "Canonical decompositions in the order of the scalars: scalar << 42 | first << 21 | second or 0; bit 63: never composed.",
      "UInt64", [(0 if composes else 1 << 63) | c << 42 | first << 21 | second for c, first, second, composes in decompositions()])
print("}")
