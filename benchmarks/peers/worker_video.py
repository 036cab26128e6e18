#!/usr/bin/env python3
"""Frames `int(linspace(0, count − 1, n))` of a clip as RGB, with PyAV or decord.

    worker_video.py CLIP --frames 64 --by pyav|pyav-seek|decord

pyav decodes everything up to the last frame; pyav-seek jumps to the key frame before each wanted frame where that skips something.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from measurement import report, time_runs


def wanted(count: int, frames: int) -> list[int]:
    return np.linspace(0, count - 1, frames).astype(int).tolist()


def pyav(path: Path, frames: int, threads: int, seek: bool) -> list:
    import av

    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        packets = [(p.pts, p.is_keyframe) for p in file.demux(stream) if p.pts is not None]
        times = sorted(pts for pts, _ in packets)
        keys = sorted(pts for pts, key in packets if key)
        targets = [times[i] for i in wanted(len(times), frames)]
        file.seek(min(times), stream=stream)
        found, last, decoder = [], None, file.decode(stream)
        for target in targets:
            if last is not None and last.pts == target:
                found.append(found[-1])
                continue
            key = max((k for k in keys if k <= target), default=times[0])
            if seek and (last is None or last.pts < key):
                file.seek(key, stream=stream)
                decoder = file.decode(stream)
            last = next(frame for frame in decoder if frame.pts is not None and frame.pts >= target)
            found.append(last.to_ndarray(format="rgb24"))
    return found


def decord(path: Path, frames: int, threads: int) -> list:
    import decord as library

    reader = library.VideoReader(str(path), num_threads=threads)
    return list(reader.get_batch(wanted(len(reader), frames)).asnumpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--by", choices=("pyav", "pyav-seek", "decord"), required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()

    def run() -> None:
        if options.by == "decord":
            found = decord(options.clip, options.frames, options.threads)
        else:
            found = pyav(options.clip, options.frames, options.threads, options.by == "pyav-seek")
        if len(found) != options.frames:
            raise SystemExit(f"{options.clip}: {len(found)} frames, expected {options.frames}")

    package = __import__("decord" if options.by == "decord" else "av")
    report(time_runs(run, options.repeats), options.frames, note=f"{package.__name__} {package.__version__}")


if __name__ == "__main__":
    main()
