#!/usr/bin/env python3
"""An independent reader of .sfq model files, written from sfq.md alone. Needs numpy, zstandard and xxhash.

    sfq_reader.py list FILE [--json]           what is in it
    sfq_reader.py explain FILE                 every field with its offset, every run of stored bytes
    sfq_reader.py verify FILE                  every byte; exit status 1 and one line for each damage
    sfq_reader.py section FILE NAME            a section's bytes to standard output
    sfq_reader.py dump FILE TENSOR OUT.npy     a tensor's values as float32
    sfq_reader.py contents FILE                checksums of all raw planes and values, as JSON like the manifest's
    sfq_reader.py conformance MANIFEST.json    the conformance files: all must be read, or refused, as the manifest says

As a module: `File(path)`, then `.tensors`, `.sections`, `.values(name)`, `.plane_bytes(plane)`, `.verify()`.
It reads whole files into memory and is meant for checking, not for speed.
"""

import json
import struct
import sys
from dataclasses import dataclass, field

import numpy as np
import xxhash
import zstandard

MAGIC = b"\x89SFQ\r\n\x1a\n"
MAJOR, MINOR = 1, 2
HAS_3_BITS, HAS_UNEVEN = 1, 2  # flags: a tensor has codes of 3 bits, has uneven levels
ELEMENT_LIMIT = 1 << 42
FLOATS = {0: ("float32", 4), 1: ("float16", 2), 2: ("bfloat16", 2)}
SYMMETRIC, ASYMMETRIC, UNEVEN = 3, 4, 5
LEVELS = np.array([-31, -25, -19, -15, -11, -8, -5, -2, 0, 3, 6, 9, 12, 16, 20, 26], np.float32)


class Refusal(Exception):
    """A rule of the specification that the file breaks."""

    def __init__(self, rule, message):
        super().__init__(f"{rule}: {message}")
        self.rule = rule


def require(condition, rule, message):
    if not condition:
        raise Refusal(rule, message)


def up(value, alignment):
    return -(-value // alignment) * alignment


def checksum(data):
    return xxhash.xxh3_64_intdigest(data)


@dataclass
class Chunk:
    offset: int
    stored: int
    raw: int
    codec: int
    checksum: int


@dataclass
class Plane:
    owner: str
    kind: str
    offset: int
    raw: int
    chunks: list = field(default_factory=list)


@dataclass
class Tensor:
    name: str
    shape: tuple
    encoding: int
    bits: int
    group: int
    planes: list = field(default_factory=list)

    @property
    def rows(self):
        return self.shape[0] if self.shape else 1

    @property
    def columns(self):
        result = 1
        for size in self.shape[1:]:
            result *= size
        return result

    @property
    def encoding_name(self):
        if self.encoding in FLOATS:
            return FLOATS[self.encoding][0]
        return f"int{self.bits}/{self.group}" + {ASYMMETRIC: " asymmetric", UNEVEN: " uneven"}.get(self.encoding, "")


class Cursor:
    """Reads little-endian fields one after the other; never beyond its end. Keeps what it read when `log` is a list."""

    def __init__(self, data, base, log=None):
        self.data, self.base, self.position, self.log = data, base, 0, log

    @property
    def left(self):
        return len(self.data) - self.position

    @property
    def offset(self):
        return self.base + self.position

    def bytes(self, count, label=None):
        require(count <= self.left, "table-bounds", f"byte {self.offset}: {count} bytes expected, {self.left} left")
        result = self.data[self.position : self.position + count]
        if self.log is not None and label:
            self.log.append((self.offset, result, label))
        self.position += count
        return result

    def number(self, size, label=None):
        return int.from_bytes(self.bytes(size, label), "little")


class File:
    def __init__(self, path, log=None):
        with open(path, "rb") as file:
            self.data = file.read()
        self.tensors, self.sections = [], []
        self._prelude(log)
        self._table(log)

    # The prelude ------------------------------------------------------------------------------------------------------

    def _prelude(self, log):
        data = self.data
        if not data.startswith(MAGIC):
            require(len(data) > 0, "prelude-short", "the file is empty")
            mangled = any(data[skip : skip + 3] == b"SFQ" for skip in range(4))
            raise Refusal("mangled" if mangled else "magic", f"the file begins with {data[:16].hex(' ')}")
        require(len(data) >= 64, "prelude-short", f"{len(data)} bytes")
        cursor = Cursor(data[:64], 0, log)
        cursor.bytes(8, "magic")
        self.major = cursor.number(2, "major version")
        self.minor = cursor.number(2, "minor version")
        require(self.major == MAJOR, "major-version", f"version {self.major}.{self.minor}")
        flags = cursor.number(4, "flags")
        self.table_offset = cursor.number(8, "table offset")
        table_length = cursor.number(8, "table length")
        table_checksum = cursor.number(8, "table checksum")
        file_length = cursor.number(8, "file length")
        reserved = cursor.number(8, "reserved")
        require(checksum(data[:56]) == cursor.number(8, "prelude checksum"), "prelude-checksum", "bytes 0 to 56 are damaged")
        require(flags & 0xFFFF & ~(HAS_3_BITS | HAS_UNEVEN) == 0, "required-flag", f"flags {flags:#x}")
        self.flags = flags
        self.newer = self.minor > MINOR
        require(reserved == 0 or self.newer, "reserved", "byte 48")
        require(file_length == len(data), "file-length", f"{len(data)} bytes instead of {file_length}")
        require(
            64 <= self.table_offset <= file_length
            and self.table_offset % 64 == 0
            and table_length == file_length - self.table_offset
            and 16 <= table_length <= 256 << 20,
            "table-range",
            f"{table_length} bytes at byte {self.table_offset}",
        )
        require(checksum(data[self.table_offset :]) == table_checksum, "table-checksum", "the table is damaged")

    # The table --------------------------------------------------------------------------------------------------------

    def _table(self, log):
        cursor = Cursor(self.data[self.table_offset :], self.table_offset, log)
        self.chunk_size = cursor.number(4, "chunk size")
        tensor_count = cursor.number(4, "tensors")
        section_count = cursor.number(4, "sections")
        reserved = cursor.number(4, "reserved")
        require(4096 <= self.chunk_size <= 4 << 20 and self.chunk_size % 4096 == 0, "chunk-size", f"{self.chunk_size}")
        require(tensor_count <= 65536, "count-limit", f"{tensor_count} tensors")
        require(section_count <= 256, "count-limit", f"{section_count} sections")
        self._zero(reserved, cursor.offset)
        self.end = 64  # of what is stored before the next chunk
        for _ in range(tensor_count):
            self.tensors.append(self._tensor(cursor))
            names = [tensor.name for tensor in self.tensors]
            require(names.count(names[-1]) == 1, "duplicate-name", names[-1])
        for _ in range(section_count):
            self.sections.append(self._section(cursor))
            names = [plane.owner for plane in self.sections]
            require(names.count(names[-1]) == 1, "duplicate-name", names[-1])
        require(cursor.left == 0 or self.newer, "table-trailing", f"byte {cursor.offset}: {cursor.left} bytes")

    def _zero(self, value, offset):
        require(value == 0 or self.newer, "reserved", f"before byte {offset}")

    def _record(self, cursor, minimum, kind):
        start = cursor.offset
        length = cursor.number(4, f"{kind}: record length")
        require(length >= minimum and length % 8 == 0, "record-length", f"byte {start}: {length}")
        return Cursor(cursor.bytes(length - 4), start + 4, cursor.log)

    def _end_record(self, record):
        # The record's own length field is not among the cursor's bytes.
        padding = -(record.position + 4) % 8
        self._zero(any(record.bytes(padding, "zeros" if padding else None)), record.offset)
        require(record.left == 0 or self.newer, "record-length", f"byte {record.offset}: {record.left} bytes too many")

    def _name(self, record, skip, planes, length):
        """The name stands after the planes; it is looked up first so that complaints can name the tensor."""
        ahead = Cursor(record.data[record.position :], record.offset)
        ahead.bytes(skip)
        for _ in range(planes):
            ahead.bytes(16)
            chunks = ahead.number(4)
            ahead.bytes(4 + 16 * chunks)
        return ahead.bytes(length)

    def _tensor(self, cursor):
        record = self._record(cursor, 16, "tensor")
        name_length = record.number(2, "name length")
        encoding = record.number(1, "encoding")
        rank = record.number(1, "rank")
        bits = record.number(1, "bits")
        plane_count = record.number(1, "planes")
        reserved = record.number(2, "reserved")
        self._zero(reserved, record.offset)
        group = record.number(4, "group")
        raw_name = self._name(record, 8 * rank, plane_count, name_length)
        try:
            require(1 <= name_length <= 512, "tensor-name", f"{name_length} bytes")
            name = raw_name.decode("utf-8")
        except UnicodeDecodeError:
            raise Refusal("tensor-name", repr(raw_name)) from None
        quantized = (SYMMETRIC, ASYMMETRIC, UNEVEN) if self.flags & HAS_UNEVEN else (SYMMETRIC, ASYMMETRIC)
        require(encoding in FLOATS or encoding in quantized, "encoding", f"{name!r}: {encoding}")
        if encoding in FLOATS:
            require(bits == 0, "bits", f"{name!r}: {bits}")
            require(group == 0, "group", f"{name!r}: {group}")
        kinds = ["values"] if encoding in FLOATS else ["codes", "scales", "minima"][: 2 + (encoding == ASYMMETRIC)]
        require(plane_count == len(kinds), "plane-count", f"{name!r}: {plane_count}")
        require(rank <= 8 and (encoding in FLOATS or rank >= 2), "rank", f"{name!r}: {rank}")
        shape = []
        for axis in range(rank):
            shape.append(record.number(8, f"dimension {axis}"))
            require(1 <= shape[-1] <= ELEMENT_LIMIT, "dimension", f"{name!r}: {shape[-1]}")
        tensor = Tensor(name, tuple(shape), encoding, bits, group)
        lengths = self._plane_lengths(tensor)
        for kind, length in zip(kinds, lengths):
            tensor.planes.append(self._plane(record, name, kind, length))
        record.bytes(name_length, f"name {name!r}")
        self._end_record(record)
        return tensor

    def _plane_lengths(self, tensor):
        require(tensor.rows * tensor.columns <= ELEMENT_LIMIT, "element-limit", repr(tensor.name))
        if tensor.encoding in FLOATS:
            return [tensor.rows * tensor.columns * FLOATS[tensor.encoding][1]]
        allowed = (4,) if tensor.encoding == UNEVEN else (3, 4, 8) if self.flags & HAS_3_BITS else (4, 8)
        require(tensor.bits in allowed, "bits", f"{tensor.name!r}: {tensor.bits}")
        require(32 <= tensor.group <= 65536 and tensor.group % 32 == 0, "group", f"{tensor.name!r}: {tensor.group}")
        rows, columns = up(tensor.rows, 32), up(tensor.columns, tensor.group)
        require(rows * columns <= ELEMENT_LIMIT, "element-limit", repr(tensor.name))
        halves = 2 * rows * columns // tensor.group
        return [rows * columns * tensor.bits // 8, halves, halves]

    def _section(self, cursor):
        record = self._record(cursor, 8, "section")
        name_length = record.number(2, "name length")
        reserved = record.number(2, "reserved")
        self._zero(reserved, record.offset)
        raw_name = self._name(record, 0, 1, name_length)
        require(
            1 <= name_length <= 64 and all(0x21 <= byte <= 0x7E for byte in raw_name), "section-name", repr(raw_name)
        )
        plane = self._plane(record, raw_name.decode("ascii"), "section", None)
        record.bytes(name_length, f"name {plane.owner!r}")
        self._end_record(record)
        return plane

    def _plane(self, record, owner, kind, length):
        what = f"{owner!r} {kind}"
        offset = record.number(8, f"{kind}: offset")
        raw = record.number(8, f"{kind}: raw length")
        count = record.number(4, f"{kind}: chunks")
        reserved = record.number(4, "reserved")
        self._zero(reserved, record.offset)
        if length is None:
            require(raw <= 64 << 20, "section-limit", f"{what}: {raw} bytes")
        else:
            require(raw == length, "plane-length", f"{what}: {raw} bytes instead of {length}")
        require(count == -(-raw // self.chunk_size), "chunk-count", f"{what}: {count}")
        require(offset % (4096 if raw >= 65536 else 64) == 0, "plane-alignment", f"{what}: byte {offset}")
        require(self.end <= offset <= self.table_offset, "placement", f"{what}: byte {offset}")
        plane = Plane(owner, kind, offset, raw)
        for index in range(count):
            stored = record.number(4, f"chunk {index}: stored length")
            codec = record.number(1, f"chunk {index}: codec")
            self._zero(any(record.bytes(3, "reserved")), record.offset)
            chunk = Chunk(offset, stored, min(self.chunk_size, raw - index * self.chunk_size), codec, 0)
            chunk.checksum = record.number(8, f"chunk {index}: checksum")
            require(codec in (0, 1), "codec", f"{what}, chunk {index}: {codec}")
            fits = stored == chunk.raw if codec == 0 else 0 < stored < chunk.raw
            require(fits, "stored-length", f"{what}, chunk {index}: {stored} bytes for {chunk.raw}")
            require(offset + stored <= self.table_offset, "placement", f"{what}, chunk {index}: byte {offset}")
            plane.chunks.append(chunk)
            self.end = offset + stored
            offset = up(self.end, 64)
        return plane

    # Bytes and values -------------------------------------------------------------------------------------------------

    def chunk_bytes(self, plane, chunk):
        what = f"{plane.owner!r} {plane.kind}, bytes {chunk.offset} to {chunk.offset + chunk.stored}"
        stored = self.data[chunk.offset : chunk.offset + chunk.stored]
        require(checksum(stored) == chunk.checksum, "chunk-checksum", what)
        if chunk.codec == 0:
            return stored
        try:
            size = zstandard.frame_content_size(stored)
            require(size >= 0, "frame", f"{what}: the frame does not tell its content's size")
            require(size == chunk.raw, "frame-length", f"{what}: {size} instead of {chunk.raw}")
            unpacker = zstandard.ZstdDecompressor().decompressobj()
            raw = unpacker.decompress(stored)
        except zstandard.ZstdError as error:
            raise Refusal("frame", f"{what}: {error}") from None
        require(unpacker.eof and not unpacker.unused_data, "frame", f"{what}: not exactly one frame")
        require(len(raw) == chunk.raw, "frame-length", f"{what}: {len(raw)} instead of {chunk.raw}")
        return raw

    def plane_bytes(self, plane):
        return b"".join(self.chunk_bytes(plane, chunk) for chunk in plane.chunks)

    def tensor(self, name):
        return next(tensor for tensor in self.tensors if tensor.name == name)

    def section(self, name):
        return self.plane_bytes(next(plane for plane in self.sections if plane.owner == name))

    def values(self, tensor):
        """A tensor's values as float32, in its shape."""
        planes = [self.plane_bytes(plane) for plane in tensor.planes]
        if tensor.encoding == 0:
            flat = np.frombuffer(planes[0], "<f4")
        elif tensor.encoding == 1:
            flat = np.frombuffer(planes[0], "<f2").astype(np.float32)
        elif tensor.encoding == 2:
            flat = (np.frombuffer(planes[0], "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            flat = dequantize(tensor, planes)
        return flat.reshape(tensor.shape)

    def verify(self):
        """A list of (first byte, byte after the last, owner, message) for all damage."""
        damage, end = [], 64
        planes = [plane for tensor in self.tensors for plane in tensor.planes] + self.sections
        for plane in planes:
            for chunk in plane.chunks:
                damage += self._gap(end, chunk.offset)
                end = chunk.offset + chunk.stored
                try:
                    self.chunk_bytes(plane, chunk)
                except Refusal as refusal:
                    damage.append((chunk.offset, end, plane.owner, str(refusal)))
        return damage + self._gap(end, self.table_offset)

    def _gap(self, start, end):
        return [(start, end, None, "padding: not zero")] if any(self.data[start:end]) else []


def dequantize(tensor, planes):
    """Codes [panels][groups][blocks][32][4], scales and minima [panels][groups][32], to rows × columns of float32."""
    panels, groups = up(tensor.rows, 32) // 32, up(tensor.columns, tensor.group) // tensor.group
    codes = np.frombuffer(planes[0], np.uint8)
    if tensor.bits == 3:
        # [panel][group][block of 32 inputs][row][four][byte] of three parts
        a, b, c = np.moveaxis(codes.reshape(panels, groups, tensor.group // 32, 3, 32, 4), 3, 0)
        fours = [a & 7, a >> 3 & 7, b & 7, b >> 3 & 7, c & 7, c >> 3 & 7, a >> 6 | c >> 4 & 4, b >> 6 | c >> 5 & 4]
        codes = np.stack(fours, axis=4)
    if tensor.bits == 4:
        bytes_ = codes.reshape(panels, groups, tensor.group // 8, 32, 4)
        codes = np.stack([bytes_ & 15, bytes_ >> 4], axis=4)  # [panel][group][block][row][half][byte]
    # To [panel][row][group][input in group].
    codes = codes.reshape(panels, groups, -1, 32, {3: 32, 4: 8, 8: 4}[tensor.bits]).transpose(0, 3, 1, 2, 4)
    codes = codes.reshape(panels, 32, groups, tensor.group).astype(np.float32)

    def per_group(plane):
        return np.frombuffer(plane, "<f2").astype(np.float32).reshape(panels, groups, 32).transpose(0, 2, 1)[..., None]

    if tensor.encoding == UNEVEN:
        values = per_group(planes[1]) * LEVELS[codes.astype(np.uint8)]
    elif tensor.encoding == SYMMETRIC:
        values = per_group(planes[1]) * (codes - np.float32(1 << (tensor.bits - 1)))
    else:
        values = per_group(planes[1]) * codes + per_group(planes[2])
    return values.reshape(panels * 32, groups * tensor.group)[: tensor.rows, : tensor.columns]


# The command ----------------------------------------------------------------------------------------------------------


def summary(file):
    return {
        "version": [file.major, file.minor],
        "chunk_size": file.chunk_size,
        "tensors": [
            {
                "name": tensor.name,
                "shape": list(tensor.shape),
                "encoding": tensor.encoding_name,
                "raw_bytes": sum(plane.raw for plane in tensor.planes),
                "stored_bytes": sum(chunk.stored for plane in tensor.planes for chunk in plane.chunks),
            }
            for tensor in file.tensors
        ],
        "sections": [{"name": plane.owner, "bytes": plane.raw} for plane in file.sections],
    }


def contents(file):
    """What the conformance manifest says of a whole file: checksums of the raw planes and of the float32 values."""
    return {
        "tensors": [
            {
                "name": tensor.name,
                "shape": list(tensor.shape),
                "encoding": tensor.encoding_name,
                "planes": [f"{checksum(file.plane_bytes(plane)):016x}" for plane in tensor.planes],
                "values": f"{checksum(np.ascontiguousarray(file.values(tensor), '<f4').tobytes()):016x}",
            }
            for tensor in file.tensors
        ],
        "sections": [
            {"name": plane.owner, "checksum": f"{checksum(file.plane_bytes(plane)):016x}"} for plane in file.sections
        ],
    }


def outcome(path):
    """What a careful reader finds: None and the file, or the rule that it breaks. Reads everything."""
    try:
        file = File(path)
        damage = file.verify()
        if damage:
            return damage[0][3].split(":")[0], None
        return None, file
    except Refusal as refusal:
        return refusal.rule, None


def conformance(manifest_path):
    folder = manifest_path.rpartition("/")[0] or "."
    with open(manifest_path, encoding="utf-8") as source:
        manifest = json.load(source)
    failures = 0
    for entry in manifest["files"]:
        rule, file = outcome(f"{folder}/{entry['file']}")
        expected = entry.get("refuse")
        if file is None:
            good = expected in (rule, "any rule")
        else:
            good = expected is None and includes(contents(file), entry["contents"])
        failures += not good
        print(f"{'ok  ' if good else 'FAIL'} {entry['file']}: " + (f"refused: {rule}" if rule else "read"))
    print(f"{len(manifest['files'])} files, {failures} failures")
    return 1 if failures else 0


def includes(found, expected):
    """Whether `found` is `expected`, where it may have more keys."""
    if isinstance(expected, dict):
        return all(key in found and includes(found[key], value) for key, value in expected.items())
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(includes, found, expected))
    return found == expected


def explain(path):
    """Every field and every run of stored bytes, in the order of the file."""
    log = []
    file = File(path, log)
    end = 64
    for plane in [plane for tensor in file.tensors for plane in tensor.planes] + file.sections:
        for index, chunk in enumerate(plane.chunks):
            log.append((end, file.data[end : chunk.offset], "gap"))
            end = chunk.offset + chunk.stored
            codec = "raw" if chunk.codec == 0 else f"zstd, {chunk.raw} bytes of"
            log.append((chunk.offset, file.data[chunk.offset : end], f"{codec} {plane.owner!r} {plane.kind}, chunk {index}"))
    log.append((end, file.data[end : file.table_offset], "gap"))
    for offset, data, label in sorted(log):
        shown = data.hex(" ") if len(data) <= 16 else f"{data[:8].hex(' ')} … ({len(data)} bytes)"
        plain = label == "magic" or "checksum" in label or label.startswith(("name '", "zeros", "gap", "raw", "zstd"))
        number = "" if plain else f" = {int.from_bytes(data, 'little')}"
        if data:
            print(f"{offset:6}  {shown:<48}  {label}{number}".rstrip())


def main(arguments):
    try:
        match arguments:
            case ["list", path]:
                file = File(path)
                for tensor in file.tensors:
                    print(tensor.name, list(tensor.shape), tensor.encoding_name)
                for plane in file.sections:
                    print(f"section {plane.owner}: {plane.raw} bytes")
            case ["list", path, "--json"]:
                print(json.dumps(summary(File(path))))
            case ["contents", path]:
                print(json.dumps(contents(File(path))))
            case ["explain", path]:
                explain(path)
            case ["verify", path]:
                damage = File(path).verify()
                for start, end, owner, message in damage:
                    print(f"bytes {start} to {end} ({owner or 'gap'}): {message}")
                return 1 if damage else 0
            case ["section", path, name]:
                sys.stdout.buffer.write(File(path).section(name))
            case ["dump", path, name, output]:
                file = File(path)
                np.save(output, file.values(file.tensor(name)))
            case ["conformance", manifest]:
                return conformance(manifest)
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except Refusal as refusal:
        print(f"refused: {refusal}", file=sys.stderr)
        return 1
    except StopIteration:
        print("no such tensor or section", file=sys.stderr)
        return 1
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
