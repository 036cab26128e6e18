#!/usr/bin/env python3
"""Clips that hardly change, for reuse.py: still_clips.py OUT. Writes OUT/camera.mp4 and OUT/screen.mp4, a minute of 720p each.

The camera stands and has noise, while a red block crosses what it sees; on the screen words are being typed. Needs ffmpeg and Pillow.
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from PIL import Image, ImageDraw

CLIP = Path(__file__).resolve().parent.parent / "Tests/Clips/nasa.mp4"
WORDS = "the model reads a clip and answers a question about what happens in it while nothing else moves on this screen".split()
ENCODE = ["-c:v", "libx264", "-preset", "veryfast"]


def camera(out: Path) -> None:
    picture = out / "picture.png"
    run = ["ffmpeg", "-v", "error", "-y"]
    subprocess.run([*run, "-i", str(CLIP), "-frames:v", "1", str(picture)], check=True)
    graph = ("[0:v]scale=1280:720,format=yuv420p[b];[b][1:v]overlay=x='20*t':y=400:shortest=0,noise=alls=4:allf=t,fps=10")
    subprocess.run([*run, "-loop", "1", "-i", str(picture), "-f", "lavfi", "-i", "color=red:s=60x120:r=10", "-filter_complex", graph,
                    "-t", "60", *ENCODE, "-crf", "23", str(out / "camera.mp4")], check=True)
    picture.unlink()


def screen(out: Path) -> None:
    random.seed(3)
    command = ["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "1280x720", "-r", "5", "-i", "-"]
    encoder = subprocess.Popen([*command, *ENCODE, "-crf", "20", str(out / "screen.mp4")], stdin=subprocess.PIPE)
    picture = Image.new("RGB", (1280, 720), (250, 250, 250))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 0, 1280, 30), fill=(60, 70, 90))
    pen.rectangle((0, 30, 220, 720), fill=(225, 228, 235))
    x, y = 240, 50
    for _ in range(300):
        word = random.choice(WORDS)
        pen.text((x, y), word, fill=(20, 20, 20))
        x += 8 * len(word) + 8
        if x > 1200:
            x, y = 240, y + 16
        encoder.stdin.write(picture.tobytes())
    encoder.stdin.close()
    if encoder.wait():
        raise SystemExit("ffmpeg failed")


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    camera(out)
    screen(out)


if __name__ == "__main__":
    main()
