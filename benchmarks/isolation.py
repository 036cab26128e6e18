#!/usr/bin/env python3
"""What it costs to decode clips in processes of their own: isolation.py SLOWFAST MODEL [CLIPS].

A batch over CLIPS small clips (200 of the demonstration's, links to them), whose time is that of opening, decoding and encoding each, on one thread beside
which a processor is free, and on all of them; and the frames of a minute of 1080p, whose time is that of decoding. Each with a process apart and with
--in-process, in turn; medians.
"""
import glob
import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
REPEATS = 9


def seconds(command):
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def in_turn(command, fresh):
    """Medians of the seconds with a process apart, and in one; the first round counts for nothing."""
    times = [[], []]
    for _ in range(REPEATS + 1):
        for place, option in enumerate(([], ["--in-process"])):
            fresh()
            times[place].append(seconds(command + option))
    return [statistics.median(found[1:]) for found in times]


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    program, model = map(os.path.realpath, sys.argv[1:3])
    count = int(sys.argv[3]) if len(sys.argv) == 4 else 200
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        os.mkdir("clips")
        clips = sorted(glob.glob(HERE + "/demo/examples/clips/*.mp4"))
        for number in range(count):
            # Copies, since equal links would be one clip to the cache.
            with open(clips[number % len(clips)], "rb") as source, open(f"clips/{number:04}.mp4", "wb") as copy:
                # A box that nobody reads makes each another.
                copy.write(source.read() + (8 + 8).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big"))

        def fresh():
            subprocess.run(["rm", "-rf", "answers.jsonl", "answers.jsonl.partial", "answers.jsonl.clips"], check=True)

        print("| work | apart | in one process | cost |\n|---|---|---|---|")
        processors = len(os.sched_getaffinity(0))
        for threads in sorted({1, processors}):
            command = [program, "batch", model, "clips", "-q", "?", "-o", "answers.jsonl", "--max-tokens", "1", "--frames", "2", "--threads", str(threads)]
            apart, together = in_turn(command, fresh)
            print(f"| {count} clips of 128 pixels, 2 frames each, tower on {threads} of {processors} processors | {apart:.2f} s | {together:.2f} s "
                  f"| {(apart - together) / count * 1000:.1f} ms a clip |", flush=True)
        subprocess.run(
            ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=1920x1080:rate=30", "-t", "60", "-pix_fmt", "yuv420p", "-g", "250", "minute.mp4"],
            check=True)
        apart, together = in_turn([program, "frames", "minute.mp4", "-n", "64", "--json"], fresh)
        print(f"| 64 frames of a minute of 1080p (H.264) | {apart:.2f} s | {together:.2f} s | {(apart / together - 1) * 100:+.1f} % |")


if __name__ == "__main__":
    main()
