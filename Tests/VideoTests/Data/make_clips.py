#!/usr/bin/env python3
"""Makes the small clips in this directory and clips.json, what a full decoding of each gives.

Needs PyAV and NumPy (pip install av numpy). Each frame shows its own number: a grey level and the position of a bright square.
clips.json holds, per clip, for every frame that decodes: its time in seconds and the mean colours of its four quarters as stored (not
rotated), decoded by FFmpeg through PyAV from the first packet to the last. At a packet that the decoder refuses, the frames that it
still held are dropped and decoding goes on at the next key frame.
"""
import json
import os
import struct
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))


def picture(number, width, height):
    image = np.zeros((height, width, 3), np.uint8)
    image[:, :, 0] = (number * 37) % 200 + 28
    image[:, :, 1] = np.linspace(30, 220, width, dtype=np.uint8)[None, :]
    image[:, :, 2] = np.linspace(220, 30, height, dtype=np.uint8)[:, None]
    x, y = (number * 5) % (width - 12), (number * 3) % (height - 12)
    image[y : y + 12, x : x + 12] = (250, 250, 20)
    return image


def encode(name, frames=30, width=64, height=48, codec="libx264", options=None, pixels="yuv420p", times=None, rate=25, full=False,
           container=None, matrix=None, gop=12, image=picture):
    path = os.path.join(HERE, name)
    with av.open(path, "w", format=container, options={"fflags": "+bitexact"} | (container_options.get(name, {}))) as output:
        stream = output.add_stream(codec, rate=rate, options={"flags": "+bitexact"} | (options or {}))
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.codec_context.gop_size = gop
        stream.codec_context.thread_count = 1
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        if full:
            stream.codec_context.color_range = 2
        if matrix:
            stream.codec_context.colorspace = matrix
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(image(number, width, height), format="rgb24")
            frame = frame.reformat(format=pixels, dst_color_range=2 if full else 1, dst_colorspace=matrix or 5)
            if full:
                frame.color_range = 2
            if matrix:
                frame.colorspace = matrix
            if times:
                frame.time_base, frame.pts = Fraction(1, 1000), times(number)
            else:
                frame.pts = number
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


container_options = {"cut.mp4": {"movflags": "+faststart"}, "broken_packet.mp4": {"movflags": "+faststart"}}


def read(name):
    with open(os.path.join(HERE, name), "rb") as file:
        return file.read()


def write(name, data):
    with open(os.path.join(HERE, name), "wb") as file:
        file.write(data)


def set_display_matrix(name, a, b, c, d):
    """Writes the matrix of the first track header box of an MP4 file (version 0)."""
    data = bytearray(read(name))
    at = data.index(b"tkhd") + 4 + 4 + 4 * 5 + 8 + 2 * 4
    data[at : at + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    write(name, data)


def trim(name, result, start, length=None):
    cut = ["-ss", start] + (["-t", length] if length else [])
    command = ["ffmpeg", "-v", "error", "-y"] + cut + ["-i", os.path.join(HERE, name), "-c", "copy", "-map", "0:v:0"]
    subprocess.run(command + [os.path.join(HERE, result)], check=True)


def packets(name):
    with av.open(os.path.join(HERE, name)) as file:
        return [(p.pos, p.size, p.is_keyframe) for p in file.demux(video=0) if p.size]


def make():
    encode("b_frames.mp4", 40, options={"bf": "3", "b_strategy": "0"})
    encode("one_key.mp4", 60, gop=600, options={"bf": "2", "sc_threshold": "0"})
    encode("irregular.mkv", 40, times=lambda n: n * 33 + (n * n * 7) % 29 + (2000 if n > 20 else 0), rate=30)
    encode("open_gop.mp4", 48, gop=8, options={"x264-params": "open-gop=1:scenecut=0:keyint=8:min-keyint=8", "bf": "3"})
    encode("open_gop.ts", 30, gop=8, options={"x264-params": "open-gop=1:scenecut=0:keyint=8:min-keyint=8", "bf": "3"})
    encode("open_gop_hevc.mp4", 48, codec="libx265", options={"x265-params": "open-gop=1:keyint=8:min-keyint=8:scenecut=0:log-level=none"})
    encode("turned.mp4", 6)
    set_display_matrix("turned.mp4", 0, 1, -1, 0)
    encode("mirrored.mp4", 6)
    set_display_matrix("mirrored.mp4", -1, 0, 0, 1)
    encode("full_range_709.mp4", 6, full=True, matrix=1)
    encode("ten_bits.mp4", 6, pixels="yuv420p10le")
    encode("monochrome.mp4", 6, pixels="gray")
    encode("grey.mkv", 6, codec="ffv1", pixels="gray")
    encode("av1.mkv", 30, codec="libsvtav1", options={"preset": "10"}, gop=10)
    encode("odd_size.mkv", 6, width=53, height=37, codec="ffv1", pixels="yuv444p")
    encode("hidden_vp8.webm", 40, codec="libvpx", options={"auto-alt-ref": "1", "lag-in-frames": "16", "arnr-maxframes": "7"}, gop=40)
    encode("hidden_vp9.webm", 40, codec="libvpx-vp9", options={"auto-alt-ref": "1", "lag-in-frames": "20"}, gop=20)
    encode("motion_jpeg.avi", 10, codec="mjpeg", pixels="yuvj420p", full=True)
    encode("interlaced.mp4", 20, options={"x264-params": "interlaced=1:tff=1", "flags": "+ildct+ilme"})
    encode("no_times.h264", 30, options={"bf": "2"}, container="h264")

    # Two sizes in one stream, and times that begin anew.
    first, second = encode("first.ts", 10), encode("second.ts", 10, width=80, height=32)
    write("two_sizes.ts", read("first.ts") + read("second.ts"))
    os.remove(first), os.remove(second)

    # The file ends in the middle of a packet; the header still promises all.
    encode("cut.mp4", 40, options={"bf": "2"})
    position, size, _ = packets("cut.mp4")[26]
    write("cut.mp4", read("cut.mp4")[: position + size // 2])

    # A packet overwritten with zeros, and a key frame later.
    encode("broken_packet.mp4", 40, gop=16, options={"bf": "0"})
    data = bytearray(read("broken_packet.mp4"))
    position, size, _ = packets("broken_packet.mp4")[6]
    data[position : position + size] = bytes(size)
    write("broken_packet.mp4", data)

    # A packet whose framing is whole and whose slice is noise: only the decoder sees it.
    encode("broken_slice.mp4", 40, gop=16, options={"bf": "0"})
    data = bytearray(read("broken_slice.mp4"))
    position, size, _ = packets("broken_slice.mp4")[22]
    data[position + 6 : position + size] = bytes((n * 73 + 41) % 251 for n in range(size - 6))
    write("broken_slice.mp4", data)

    # Noise deeper inside: libav can make up the rest of the picture.
    data = bytearray(read("one_key.mp4"))
    position, size, _ = packets("one_key.mp4")[33]
    data[position + 30 : position + size] = bytes((n * 91 + 41) % 251 for n in range(size - 30))
    write("broken_blocks.mp4", data)

    # Trimmed without re-encoding: the file begins with a key frame that an edit list hides (trimmed_33.mp4 is one more, 33 of 50 frames).
    trim("b_frames.mp4", "trimmed.mp4", "0.9")
    trim("b_frames.mp4", "trimmed_both.mp4", "0.52", "0.6")
    trim("open_gop.mp4", "trimmed_open_gop.mp4", "0.75")
    trim("open_gop_hevc.mp4", "trimmed_hevc.mp4", "0.83")
    trim("hidden_vp9.webm", "trimmed_vp9.mp4", "1.0")
    trim("av1.mkv", "trimmed_av1.mp4", "0.6")

    # A stream without one packet that decodes.
    encode("no_frames.mp4", 4)
    data = bytearray(read("no_frames.mp4"))
    for position, size, _ in packets("no_frames.mp4"):
        data[position : position + size] = bytes(size)
    write("no_frames.mp4", data)


def quarters(frame):
    image = frame.to_ndarray(format="rgb24").astype(float)
    height, width = image.shape[0] // 2, image.shape[1] // 2
    parts = [image[:height, :width], image[:height, width:], image[height:, :width], image[height:, width:]]
    return [[round(float(channel)) for channel in part.reshape(-1, 3).mean(0)] for part in parts]


def describe(name):
    frames, waits, rotation = [], False, 0
    with av.open(os.path.join(HERE, name)) as file:
        stream = file.streams.video[0]
        stream.thread_type = "SLICE"
        start = (file.start_time or 0) / 1e6
        rate = float(stream.guessed_rate or 25)
        for packet in file.demux(stream):
            if waits and not packet.is_keyframe:
                continue
            waits = False
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                stream.codec_context.flush_buffers()
                waits = True
                continue
            for frame in decoded:
                rotation = frame.rotation
                seconds = len(frames) / rate if frame.time is None else frame.time - start
                frames.append({"seconds": round(seconds, 6), "width": frame.width, "height": frame.height, "quarters": quarters(frame)})
    return {"rotation": rotation, "frames": frames}


if __name__ == "__main__":
    if "--describe-only" not in sys.argv:
        make()
    names = sorted(n for n in os.listdir(HERE) if n.rsplit(".", 1)[-1] in ("mp4", "mkv", "webm", "ts", "avi", "h264"))
    clips = {name: describe(name) for name in names}
    with open(os.path.join(HERE, "clips.json"), "w") as file:
        file.write("{\n" + ",\n".join(f'"{n}": {json.dumps(c, separators=(",", ":"))}' for n, c in clips.items()) + "\n}\n")
    for name, clip in clips.items():
        print(name, os.path.getsize(os.path.join(HERE, name)), len(clip["frames"]), clip["rotation"])
