#!/usr/bin/env python3
"""Writes the conformance files and manifest.json beside itself. Needs numpy, zstandard and xxhash.

Nothing here is shared with a reader or the product's writer: the layout is written down a second time, field by field. Seeded, so
that only another zstd release may change a byte (of the frames, and of the checksums of those).
"""

import json
import os
import struct

import numpy as np
import xxhash
import zstandard

FOLDER = os.path.dirname(os.path.abspath(__file__))
CHUNK = 4096
random = np.random.default_rng(1)


def up(value, alignment):
    return -(-value // alignment) * alignment


def xxh3(data):
    return xxhash.xxh3_64_intdigest(data)


class Field(dict):
    """Named values of a record; what a malformed file gives replaces what is right."""

    def __call__(self, name, right):
        return self.get(name, right)


def pack(raw):
    frame = zstandard.ZstdCompressor(level=3, write_content_size=True).compress(raw)
    return (1, frame) if len(frame) * 100 <= len(raw) * 97 else (0, raw)


def plane(data, raw, compress, wrong):
    """Appends the chunks to `data`; the plane's part of a record."""
    offset = wrong("offset", up(len(data), 4096 if len(raw) >= 65536 else 64))
    data.extend(bytes(max(0, offset - len(data))))
    chunks = b""
    for index in range(0, len(raw), CHUNK):
        piece = raw[index : index + CHUNK]
        codec, stored = pack(piece) if compress else (0, piece)
        stored = wrong("frame", stored)
        data.extend(bytes(-len(data) % 64))
        digest = xxh3(stored)
        stored = wrong("damaged", stored)
        data.extend(stored)
        chunks += struct.pack(
            "<IB3sQ", wrong("stored", len(stored)), wrong("codec", codec), wrong("chunk_reserved", bytes(3)), digest
        )
    count = wrong("chunks", len(chunks) // 16)
    return struct.pack("<QQII", offset, wrong("raw_length", len(raw)), count, wrong("plane_reserved", 0)) + chunks


def record(body, wrong):
    body += bytes(-(len(body) + 4) % 8) + wrong("extra", b"")
    return struct.pack("<I", wrong("record_length", len(body) + 4)) + body


CODES = {"float32": 0, "float16": 1, "bfloat16": 2, "symmetric": 3, "asymmetric": 4, "uneven": 5}
LEVELS = [-31, -25, -19, -15, -11, -8, -5, -2, 0, 3, 6, 9, 12, 16, 20, 26]


def tensor(data, name, shape, encoding, planes, bits=0, group=0, compress=False, **wrong):
    wrong = Field(wrong)
    name = name if isinstance(name, bytes) else name.encode()
    body = struct.pack(
        "<HBBBBHI",
        wrong("name_length", len(name)),
        wrong("encoding_code", CODES[encoding]),
        wrong("rank", len(shape)),
        bits,
        wrong("plane_count", len(planes)),
        wrong("reserved", 0),
        group,
    )
    body += b"".join(struct.pack("<Q", size) for size in shape)
    none = Field()
    for index, raw in enumerate(planes):
        body += plane(data, raw, compress, wrong if index == 0 else none)
    return record(body + name, wrong)


def section(data, name, content, compress=False, **wrong):
    wrong = Field(wrong)
    name = name.encode()
    body = struct.pack("<HH", len(name), wrong("reserved", 0)) + plane(data, content, compress, wrong) + name
    return record(body, wrong)


def build(tensors=(), sections=(), **wrong):
    """A file. `tensors` and `sections` are arguments of the functions above."""
    wrong = Field(wrong)
    data = bytearray(64)
    records = b"".join(tensor(data, **entry) for entry in tensors)
    records += b"".join(section(data, **entry) for entry in sections)
    end = len(data)
    data.extend(bytes(-len(data) % 64))
    data.extend(wrong("before_table", b""))
    table_offset = len(data)
    if "gap" in wrong:
        data[end] = wrong["gap"]
    table = struct.pack(
        "<IIII",
        wrong("chunk_size", CHUNK),
        wrong("tensor_count", len(tensors)),
        wrong("section_count", len(sections)),
        wrong("table_reserved", 0),
    )
    table += records + wrong("after_records", b"")
    data.extend(table)
    prelude = b"\x89SFQ\r\n\x1a\n" + struct.pack(
        "<HHIQQQQQ",
        wrong("major", 1),
        wrong("minor", 0),
        wrong("flags", 0),
        wrong("table_offset", table_offset),
        wrong("table_length", len(table)),
        wrong("table_checksum", xxh3(table)),
        wrong("file_length", len(data)),
        wrong("prelude_reserved", 0),
    )
    data[:64] = prelude + struct.pack("<Q", wrong("prelude_checksum", xxh3(prelude)))
    return bytes(data)


# Contents -------------------------------------------------------------------------------------------------------------


def floats(shape, kind):
    values = random.standard_normal(shape).astype(np.float32)
    if kind == "float32":
        return values.astype("<f4").tobytes(), values
    if kind == "float16":
        half = values.astype("<f2")
        return half.tobytes(), half.astype(np.float32)
    high = (values.view(np.uint32) >> 16).astype("<u2")
    return high.tobytes(), (high.astype(np.uint32) << 16).view(np.float32)


def place_3_bits(plane, block, row, column, code):
    """One bit after the other, so that this is no copy of what a reader does."""
    four = column // 4
    places = [[(four // 2, 3 * (four % 2) + bit) for bit in range(3)], [(four - 6, 6), (four - 6, 7), (2, four)]]
    for bit, (part, shift) in enumerate(places[four >= 6]):
        plane[((block * 3 + part) * 32 + row) * 4 + column % 4] |= (code >> bit & 1) << shift


def quantized(rows, columns, bits, group, symmetric, uneven):
    """Planes and the values that they stand for, code by code in plain loops."""
    panels, groups = up(rows, 32) // 32, up(columns, group) // group
    codes = random.integers(0, 1 << bits, (rows, columns))
    scales = random.uniform(0.01, 0.1, (rows, groups)).astype("<f2")
    minima = random.uniform(-1, 0, (rows, groups)).astype("<f2")
    zero = 1 << (bits - 1)
    filler = zero if symmetric else 0
    code_plane = bytearray(panels * 32 * groups * group * bits // 8)
    scale_plane = np.zeros((panels, groups, 32), "<f2")
    minimum_plane = np.zeros((panels, groups, 32), "<f2")
    values = np.zeros((rows, columns), np.float32)
    per_block = 8 if bits == 4 else 4
    for row in range(panels * 32):
        for column in range(groups * group):
            inside = row < rows and column < columns
            code = int(codes[row, column]) if inside else filler
            p, i, g, c = row // 32, row % 32, column // group, column % group
            block, j = c // per_block, c % 4
            if bits == 3:
                place_3_bits(code_plane, (p * groups + g) * (group // 32) + c // 32, i, c % 32, code)
            else:
                at = (((p * groups + g) * (group // per_block) + block) * 32 + i) * 4 + j
                code_plane[at] |= code << (4 if bits == 4 and c % 8 >= 4 else 0)
            if inside:
                scale, minimum = np.float32(scales[row, g]), np.float32(minima[row, g])
                level = LEVELS[code] if uneven else code - zero
                values[row, column] = scale * np.float32(level) if symmetric else scale * np.float32(code) + minimum
    for row in range(rows):
        scale_plane[row // 32, :, row % 32] = scales[row]
        minimum_plane[row // 32, :, row % 32] = minima[row]
    planes = [bytes(code_plane), scale_plane.tobytes()] + ([] if symmetric else [minimum_plane.tobytes()])
    return planes, values


def float_tensor(name, shape, kind, **more):
    raw, values = floats(shape, kind)
    return dict(name=name, shape=shape, encoding=kind, planes=[raw], **more), values


def quantized_tensor(name, shape, bits, group, symmetric, uneven=False, **more):
    rows, columns = shape[0], int(np.prod(shape[1:]))
    planes, values = quantized(rows, columns, bits, group, symmetric, uneven)
    kind = "uneven" if uneven else "symmetric" if symmetric else "asymmetric"
    return dict(name=name, shape=shape, encoding=kind, planes=planes, bits=bits, group=group, **more), values.reshape(shape)


CONFIG = dict(name="config.json", content=b'{"model_type": "example"}\n')
manifest = []


def good(file, note, tensors=(), sections=(), **more):
    """A file that must be read: its contents go into the manifest."""
    with open(f"{FOLDER}/{file}", "wb") as output:
        output.write(build([entry for entry, _ in tensors], sections, **more))
    listed = []
    for entry, values in tensors:
        bits = f"int{entry.get('bits')}/{entry.get('group')}"
        names = {"symmetric": bits, "asymmetric": bits + " asymmetric", "uneven": bits + " uneven"}
        listed.append(
            {
                "name": entry["name"],
                "shape": list(entry["shape"]),
                "encoding": names.get(entry["encoding"], entry["encoding"]),
                "planes": [f"{xxh3(raw):016x}" for raw in entry["planes"]],
                "values": f"{xxh3(np.ascontiguousarray(values, '<f4').tobytes()):016x}",
            }
        )
    listed_sections = [{"name": entry["name"], "checksum": f"{xxh3(entry['content']):016x}"} for entry in sections]
    manifest.append({"file": file, "note": note, "contents": {"tensors": listed, "sections": listed_sections}})


def bad(rule, note, data, variant=""):
    """A file that breaks one rule."""
    file = f"malformed/{rule}{variant}.sfq"
    with open(f"{FOLDER}/{file}", "wb") as output:
        output.write(data)
    manifest.append({"file": file, "note": note, "refuse": rule})


def small(**wrong):
    """The smallest file with a tensor in it, and what is wrong with the tensor."""
    return dict(dict(name="w", shape=(2, 3), encoding="float32", planes=[bytes(range(24))]), **wrong)


def small_quantized(**wrong):
    planes = [b"\x88" * 512, bytes(64)]
    return dict(dict(name="q", shape=(2, 3), encoding="symmetric", planes=planes, bits=4, group=32), **wrong)


def write_good():
    values = np.arange(24, dtype=np.uint8).view("<f4")
    good("smallest.sfq", "one tensor of 2 × 3 float32 and one section", [(small(), values)], [CONFIG])
    good(
        "floats.sfq", "a single number, three float types, a plane of two chunks, a section",
        [
            (dict(name="scalar", shape=(), encoding="float32", planes=[struct.pack("<f", 1.5)]), np.float32(1.5)),
            float_tensor("half", (3, 5), "float16"),
            float_tensor("brain", (2, 3, 4), "bfloat16"),
            float_tensor("two.chunks", (40, 32), "float32"),
        ],
        [CONFIG],
    )
    steps = np.repeat(np.arange(64, dtype="<f2"), 32)
    # All finite: what becomes of a NaN's bits in float32 differs between machines.
    noise = random.integers(0, 0x7C00, 1500) | random.integers(0, 2, 1500) << 15
    mixed = steps.tobytes() + noise.astype("<u2").tobytes()
    half = np.frombuffer(mixed, "<f2").astype(np.float32)
    good(
        "packed.sfq", "a plane whose first chunk is a zstd frame and whose second, which would not shrink, is raw",
        [(dict(name="mixed", shape=(len(mixed) // 2,), encoding="float16", planes=[mixed], compress=True), half)],
        [dict(CONFIG, content=CONFIG["content"] * 20, compress=True)],
    )
    good(
        "aligned.sfq", "a plane of 65536 bytes begins at a multiple of 4096, whatever its chunks are stored as",
        [
            float_tensor("short", (7,), "float32"),
            (
                dict(name="long", shape=(256, 128), encoding="bfloat16", planes=[bytes(65536)], compress=True),
                np.zeros((256, 128)),
            ),
        ],
    )
    good(
        "quantized4.sfq", "4 bits: symmetric and asymmetric, rows and columns padded, three dimensions",
        [
            quantized_tensor("symmetric", (40, 64), 4, 32, True),
            quantized_tensor("asymmetric", (33, 40), 4, 64, False),
            quantized_tensor("three", (5, 4, 16), 4, 32, True),
        ],
    )
    good(
        "quantized8.sfq", "8 bits: symmetric and asymmetric",
        [
            quantized_tensor("symmetric", (3, 70), 8, 32, True),
            quantized_tensor("asymmetric", (32, 32), 8, 32, False),
        ],
    )
    good("empty.sfq", "no tensor and no section")
    good(
        "names.sfq",
        "control characters, a name in two Unicode forms (two names), the longest name, an empty section",
        [
            float_tensor("bell\a\n\x1b[31m", (1,), "float32"),
            float_tensor("caf\u00e9", (1,), "float32"),
            float_tensor("cafe\u0301", (1,), "float32"),
            float_tensor("n" * 512, (1,), "float32"),
        ],
        [dict(name="nothing", content=b"")],
    )
    extra = dict(extra=bytes(range(16)), reserved=7, plane_reserved=9, chunk_reserved=b"abc")
    newer, values = float_tensor("w", (2, 3), "float32", **extra)
    good(
        "newer.sfq", "minor version 7: optional flags, longer records, bytes after the records, reserved fields in use",
        [(newer, values)], [dict(CONFIG, extra=b"8 bytes!", reserved=3)],
        minor=7, flags=0xABCD0000, after_records=b"something new", prelude_reserved=5, table_reserved=6,
    )
    good(
        "quantized3.sfq", "3 bits, of version 1.1: symmetric and asymmetric, rows and columns padded, beside 4 bits",
        [
            quantized_tensor("symmetric", (40, 64), 3, 32, True),
            quantized_tensor("asymmetric", (33, 70), 3, 64, False),
            quantized_tensor("long", (5, 4, 32), 3, 128, True),
            quantized_tensor("four", (5, 32), 4, 32, True),
        ],
        minor=1, flags=1,
    )
    good(
        "uneven.sfq", "4 bits with uneven levels, of version 1.2: rows and columns padded, beside even ones",
        [
            quantized_tensor("uneven", (40, 64), 4, 32, True, uneven=True),
            quantized_tensor("padded", (33, 70), 4, 64, True, uneven=True),
            quantized_tensor("even", (5, 32), 4, 32, True),
        ],
        minor=2, flags=2,
    )
    good(
        "uneven3.sfq", "uneven levels beside codes of 3 bits: both flags",
        [quantized_tensor("uneven", (5, 32), 4, 32, True, uneven=True), quantized_tensor("three", (5, 32), 3, 32, True)],
        minor=2, flags=3,
    )


def write_bad():
    whole = build([small()], [CONFIG])
    bad("prelude-short", "the first 40 bytes of a file", whole[:40])
    bad("prelude-short", "an empty file", b"", "-empty")
    bad("magic", "another kind of file", b"GGUF" + bytes(100))
    bad("mangled", "line ends converted to CR LF", whole.replace(b"\n", b"\r\n"), "-crlf")
    bad("mangled", "line ends converted to LF", whole.replace(b"\r\n", b"\n"), "-lf")
    bad("mangled", "the eighth bit cut off", bytes([whole[0] & 127]) + whole[1:], "-7bit")
    bad("major-version", "major version 2", build([small()], major=2))
    bad("prelude-checksum", "one bit of the prelude flipped", whole[:20] + bytes([whole[20] ^ 1]) + whole[21:])
    bad("required-flag", "a feature that no reader of version 1.2 knows", build([small()], flags=4, minor=2))
    bad("required-flag", "the same in a newer minor version", build([small()], flags=0x8000, minor=3), "-newer")
    bad("reserved", "a reserved field of the prelude", build([small()], prelude_reserved=1), "-prelude")
    bad("file-length", "the last byte is missing", whole[:-1], "-truncated")
    bad("file-length", "a byte was appended", whole + b"\0", "-appended")
    bad("table-range", "the table begins beyond the file", build([small()], table_offset=1 << 40), "-beyond")
    bad("table-range", "offset + length overflows", build([small()], table_offset=2**64 - 64, table_length=128), "-overflow")
    bad("table-range", "the table ends before the file does", build([small()], table_length=16), "-short")
    bad("table-range", "the table lies in the prelude", build([small()], table_offset=0), "-prelude")
    bad("table-checksum", "another checksum than the table's", build([small()], table_checksum=1))
    bad("chunk-size", "0", build([small()], chunk_size=0), "-zero")
    bad("chunk-size", "5000", build([small()], chunk_size=5000), "-odd")
    bad("chunk-size", "8 MiB", build([small()], chunk_size=8 << 20), "-large")
    bad("count-limit", "4 294 967 295 tensors", build([small()], tensor_count=2**32 - 1), "-tensors")
    bad("count-limit", "257 sections", build([small()], section_count=257), "-sections")
    bad("reserved", "a reserved field of the table", build([small()], table_reserved=1), "-table")
    bad("reserved", "a reserved field of a tensor", build([small(reserved=1)]), "-tensor")
    bad("reserved", "a reserved field of a section", build([small()], [dict(CONFIG, reserved=1)]), "-section")
    bad("reserved", "a reserved field of a plane", build([small(plane_reserved=1)]), "-plane")
    bad("reserved", "a reserved field of a chunk", build([small(chunk_reserved=b"\0\0\1")]), "-chunk")
    bad("table-bounds", "one tensor more is announced than there is", build([small()], tensor_count=2), "-missing")
    bad("table-bounds", "a record longer than the table", build([small(record_length=1 << 20)]), "-record")
    bad("table-bounds", "a plane of more chunks than its record has room for", build([small(chunks=2**32 - 1)]), "-chunks")
    bad("table-bounds", "a name longer than its record", build([small(name_length=400)]), "-name")
    bad("table-trailing", "bytes after the last record", build([small()], after_records=bytes(8)))
    bad("record-length", "no multiple of 8", build([small(record_length=75)]), "-odd")
    bad("record-length", "shorter than its fixed part", build([small(record_length=8)]), "-short")
    bad("record-length", "longer than what is in it", build([small(extra=bytes(8))]), "-long")
    bad("tensor-name", "no name", build([small(name="")]), "-none")
    bad("tensor-name", "513 bytes", build([small(name="n" * 513)]), "-long")
    bad("tensor-name", "no UTF-8", build([small(name=b"\xff\xfe")]), "-utf8")
    bad("section-name", "a space", build([], [dict(CONFIG, name="a name")]), "-space")
    bad("section-name", "65 characters", build([], [dict(CONFIG, name="n" * 65)]), "-long")
    bad("duplicate-name", "two tensors of one name", build([small(), small()]), "-tensor")
    bad("duplicate-name", "two sections of one name", build([], [CONFIG, CONFIG]), "-section")
    bad("encoding", "encoding 200", build([small(encoding_code=200)]))
    bad("encoding", "uneven levels without the flag that says so", build([small_quantized(encoding="uneven")]), "-unflagged")
    wide = small_quantized(encoding="uneven", bits=8, planes=[b"\x80" * 1024, bytes(64)])
    bad("bits", "8 bits with uneven levels", build([wide], flags=2, minor=2), "-uneven")
    bad("bits", "2 bits", build([small_quantized(bits=2)]))
    bad("bits", "3 bits without the flag that says so", build([small_quantized(bits=3, planes=[b"\x24" * 384, bytes(64)])]), "-unflagged")
    bad("bits", "bits of a float", build([small(bits=4)]), "-float")
    bad("group", "a group of 48", build([small_quantized(group=48)]))
    bad("group", "a group of 0", build([small_quantized(group=0)]), "-zero")
    bad("group", "a group of a float", build([small(group=32)]), "-float")
    nine = dict(shape=(1,) * 9, planes=[bytes(4)])
    bad("rank", "nine dimensions", build([small(**nine)]))
    bad("rank", "a quantized vector", build([small_quantized(shape=(6,))]), "-quantized")
    bad("dimension", "a dimension of 0", build([small(shape=(2, 0))]), "-zero")
    bad("dimension", "a dimension of 2^63", build([small(shape=(2**63, 3))]), "-large")
    bad("element-limit", "2^40 × 2^40 values, 0 of them modulo 2^64", build([small(shape=(2**40, 2**40))]))
    padded = dict(shape=(2**38, 3), group=65536)
    bad("element-limit", "too many with the padding", build([small_quantized(**padded)]), "-padded")
    bad("section-limit", "a section of 1 GiB", build([], [dict(CONFIG, raw_length=1 << 30, chunks=1)]))
    bad("plane-count", "two planes of a float", build([small(planes=[bytes(24), bytes(24)])]))
    bad("plane-length", "20 bytes for six float32", build([small(planes=[bytes(20)])]))
    bad("chunk-count", "two chunks for 24 bytes", build([small(chunks=2, extra=bytes(16))]))
    bad("plane-alignment", "a plane at byte 96", build([small(offset=96)]))
    page = dict(shape=(256, 128), encoding="bfloat16", planes=[bytes(65536)], compress=True)
    bad("plane-alignment", "a plane of 65536 bytes at byte 64", build([small(**page, offset=64)]), "-page")
    bad("placement", "a plane in the prelude", build([small(offset=0)]), "-prelude")
    second = small(name="v", offset=64)
    bad("placement", "two planes at one place", build([small(), second]), "-overlap")
    data = build([small()])
    at = data.index(struct.pack("<QQ", 64, 24))
    bad("placement", "a plane in the table", rewrite_table(data, at, struct.pack("<Q", 128)), "-table")
    bad("placement", "a plane at byte 2^63", rewrite_table(data, at, struct.pack("<Q", 2**63)), "-far")
    bad("codec", "codec 2", build([small(codec=2)]))
    bad("stored-length", "a raw chunk shorter than its bytes", build([small(stored=23)]), "-raw")
    bad("stored-length", "a frame of no bytes", build([small(codec=1, stored=0)]), "-empty")
    bad("stored-length", "a frame no shorter than its bytes", build([small(codec=1)]), "-frame")
    bad("chunk-checksum", "one bit of a raw chunk flipped", build([small(damaged=b"\1" + bytes(range(1, 24)))]))
    zeros = dict(shape=(1024,), planes=[bytes(4096)], compress=True)
    frame = pack(bytes(4096))[1]
    flipped = frame[:-1] + bytes([frame[-1] ^ 1])
    bad("chunk-checksum", "one bit of a frame flipped", build([small(**zeros, damaged=flipped)]), "-frame")
    bad("frame", "no zstd frame", build([small(**zeros, frame=b"not a frame")]))
    bad("frame", "a frame cut short", build([small(**zeros, frame=frame[:-1])]), "-short")
    bad("frame", "two frames", build([small(**zeros, frame=frame + pack(bytes(0x80))[1])]), "-two")
    silent = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(4096))
    bad("frame", "a frame that does not tell its content's size", build([small(**zeros, frame=silent)]), "-silent")
    bad("frame-length", "a frame of 4095 bytes", build([small(**zeros, frame=pack(bytes(4095))[1])]), "-less")
    bad("frame-length", "a frame of 8192 bytes", build([small(**zeros, frame=pack(bytes(8192))[1])]), "-more")
    bad("padding", "a byte between the last chunk and the table", build([small()], gap=1))


def rewrite_table(data, at, replacement):
    """`data` with other bytes in its table, and checksums that fit."""
    data = bytearray(data)
    data[at : at + len(replacement)] = replacement
    table_offset = struct.unpack_from("<Q", data, 16)[0]
    struct.pack_into("<Q", data, 32, xxh3(bytes(data[table_offset:])))
    struct.pack_into("<Q", data, 56, xxh3(bytes(data[:56])))
    return bytes(data)


if __name__ == "__main__":
    os.makedirs(f"{FOLDER}/malformed", exist_ok=True)
    write_good()
    write_bad()
    with open(f"{FOLDER}/manifest.json", "w", encoding="utf-8") as output:
        json.dump({"files": manifest}, output, indent=1, ensure_ascii=True)
        output.write("\n")
