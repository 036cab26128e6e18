#!/usr/bin/env python3
"""Stands in for the process that decodes a clip: says what its own name asks for (links of that name lead here), and no picture is in it.
Started as that process is: the socket that tells of clips is descriptor 3."""
import array
import os
import socket
import struct
import sys
import time


def number(value):
    return struct.pack("<q", value)


def message(kind, payload=b""):
    return struct.pack("<I", 1 + len(payload)) + bytes([kind]) + payload


def frame(index=0, width=64, height=64, pixel_width=64, pixel_height=64, pixels=None):
    part = b"\0" if pixels is None else b"\1" + number(len(pixels)) + pixels
    numbers = b"".join(number(value) for value in (index, width, height, pixel_width, pixel_height))
    return message(5, numbers + struct.pack("<dd", 0, 0) + part)


def end(decoded=10, warnings=(), rotation=0):
    texts = b"".join(number(len(text)) + text for text in warnings)
    return message(9, number(decoded) + number(rotation) + number(len(warnings)) + texts + b"\0\0")


BEGIN, REPEATED, RESTART = message(4, number(2)), message(6), message(7)
SAYINGS = {
    "garbage": b"\xff" * 64,
    "nothing-long": struct.pack("<I", 0),
    "too-long": struct.pack("<I", 0x7FFFFFFF),
    "unknown": message(99),
    "cut-short": message(4, b"\1"),
    "more-behind": message(4, number(2) + b"x"),
    "frame-first": frame(),
    "repeated-first": BEGIN + REPEATED,
    "restart-first": RESTART,
    "twice-begun": BEGIN + BEGIN,
    "no-frames": message(4, number(0)),
    "too-many": message(4, number(1 << 40)),
    "negative": message(4, number(-1)),
    "one-too-many": BEGIN + frame(0) + frame(1) + frame(2),
    "backwards": BEGIN + frame(5) + frame(4),
    "huge": BEGIN + frame(0, 1 << 30, 1 << 30, 1 << 30, 1 << 30),
    "overflowing": BEGIN + frame(0, 1 << 62, 4, 1 << 62, 4),
    "flat": BEGIN + frame(0, 0, 64, 0, 64),
    "other-size": BEGIN + frame(0, 64, 64, 32, 32),
    "pixels-inside": BEGIN + frame(0, pixels=b"x" * 64 * 64 * 3),
    "no-such-file": message(3, number(1)),
    "negative-file": message(3, number(-1)),
    "too-early": BEGIN + frame(0) + end(),
    "no-begin": end(),
    "fewer-than-shown": BEGIN + frame(7) + frame(8) + end(3),
    "many-warnings": message(9, number(10) + number(0) + number(1 << 60)),
    "huge-error": message(10, number(12) + number(0) + number(1 << 62) + number(1 << 62) + number(1)),
    "memory": message(8, number(1) + number(1)),
    "for-ever-again": (BEGIN + RESTART) * 1000,
    # These are told as they are.
    "control": message(10, number(15) + number(0) + number(14) + b"\x1b[31mred\nline\0"),
    "other-name": message(10, number(15) + number(9) + number(2) + b"no"),
    "warning": BEGIN + frame(7) + frame(8) + end(10, [b"\x1b[31mred"]),
    # Nothing at all; and that it is at work, again and again.
    "silent": b"",
    "alive": b"",
}


def main():
    saying = SAYINGS[os.path.basename(sys.argv[0])]
    control = socket.socket(fileno=3)
    while True:
        data, ancillary, _, _ = control.recvmsg(1, socket.CMSG_SPACE(8))
        if not data:
            return
        ends = array.array("i")
        ends.frombytes(ancillary[0][2])
        clip = socket.socket(fileno=ends[0])
        clip.recv(1 << 16)
        try:
            clip.sendall(saying)
            while os.path.basename(sys.argv[0]) == "alive":
                clip.sendall(message(2))
                time.sleep(0.05)
            clip.settimeout(20)
            while clip.recv(1 << 16):
                pass
        except OSError:
            time.sleep(0)
        clip.close()
        os.close(ends[1])


main()
