#!/usr/bin/env python3
"""A disk that fails for real: an ext4 on a loop device whose file loses its end (reading gives EIO) or has no room to grow (writing does).

    Tests/torture/device.py SLOWFAST

Needs root, loop devices and mkfs.ext4; says so and ends with 0 where they are not there. What is read or written there must end with
status 1 and one line, never by a signal, and leave no output. Status 1 where something was found.
"""
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile

import jobs

MEBIBYTE = 1 << 20


def call(*words):
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True).stdout.strip()


@contextlib.contextmanager
def mounted(folder, image):
    place = os.path.join(folder, "disk")
    os.makedirs(place, exist_ok=True)
    device = call("losetup", "--find", "--show", image)
    try:
        call("mount", "-o", "errors=continue", device, place)
        try:
            yield place
        finally:
            call("umount", place)
    finally:
        call("losetup", "--detach", device)


def expect_refusal(name, program, arguments, found):
    run = subprocess.run([program] + arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=jobs.environment(), text=True, timeout=600)
    lines = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    print(f"{name}: status {run.returncode}: {run.stderr.strip()}")
    if run.returncode != 1 or len(lines) != 1:
        found.append(name)


def main():
    program = os.path.realpath(sys.argv[1])
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4") or not os.path.exists("/dev/loop-control"):
        print("left out: a failing disk needs root, loop devices and mkfs.ext4")
        return 0
    folder = tempfile.mkdtemp(prefix="slowfast-device-")
    found = []
    try:
        image = os.path.join(folder, "image")
        with open(image, "wb") as file:
            file.truncate(128 * MEBIBYTE)
        call("mkfs.ext4", "-q", "-O", "^has_journal", image)
        clip = os.path.join(jobs.CLIPS, "003.mp4")
        with mounted(folder, image) as place:
            # Something before them, so that their blocks are the ones that are lost.
            with open(os.path.join(place, "before"), "wb") as file:
                file.write(os.urandom(48 * MEBIBYTE))
                os.fsync(file.fileno())
            for bits in ("4", "16"):
                subprocess.run([program, "convert", jobs.DEMO, f"{place}/model{bits}.sfq", "--bits", bits, "--compress", "none"], check=True,
                               stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            shutil.copytree(jobs.DEMO, f"{place}/checkpoint")
            shutil.copy(clip, f"{place}/clip.mp4")
            blocks = {}
            for name in ("model4.sfq", "model16.sfq", "checkpoint/model.safetensors", "clip.mp4"):
                text = call("filefrag", "-v", "-b1", f"{place}/{name}")
                starts = [line.split(":")[2].split("..")[0].strip() for line in text.splitlines() if line.strip()[:1].isdigit()]
                blocks[name] = int(starts[0])
        end = os.path.getsize(image)
        with mounted(folder, image) as place:
            for name, arguments in [
                ("model4.sfq", ["run", f"{place}/model4.sfq", clip, "-q", "What?"]),
                ("model16.sfq", ["run", f"{place}/model16.sfq", clip, "-q", "What?"]),
                ("model4.sfq", ["verify", f"{place}/model4.sfq"]),
                ("model4.sfq", ["pack", f"{place}/model4.sfq", f"{folder}/out.sfq"]),
                ("checkpoint/model.safetensors", ["convert", f"{place}/checkpoint", f"{folder}/out.sfq"]),
                ("checkpoint/model.safetensors", ["run", f"{place}/checkpoint", clip, "-q", "What?"]),
                ("clip.mp4", ["frames", f"{place}/clip.mp4", "-n", "4", "--sheet", f"{folder}/out.png"]),
            ]:
                # Half of it cannot be read any more; headers can.
                if name.endswith(".sfq"):
                    call(program, "inspect", f"{place}/{name}")
                middle = blocks[name] + os.path.getsize(f"{place}/{name}") // 2
                with open(image, "r+b") as file:
                    file.seek(middle)
                    rest = file.read()
                    file.truncate(middle)
                expect_refusal(f"{arguments[0]}, {name} that cannot be read", program, arguments, found)
                for left in ("out.sfq", "out.sfq.partial", "out.sfq.partial.journal", "out.png"):
                    if os.path.exists(os.path.join(folder, left)):
                        found.append(f"{arguments[0]} leaves {left}")
                with open(image, "r+b") as file:
                    file.seek(middle)
                    file.write(rest)
                    file.truncate(end)
        # A file with holes where there is no room for what they are to hold.
        small = os.path.join(folder, "small")
        os.makedirs(small)
        call("mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", small)
        try:
            image = os.path.join(small, "image")
            with open(image, "wb") as file:
                file.truncate(64 * MEBIBYTE)
            call("mkfs.ext4", "-q", "-O", "^has_journal", "-E", "lazy_itable_init=1", image)
            with mounted(folder, image) as place:
                expect_refusal("convert to a disk that fails", program, ["convert", jobs.DEMO, f"{place}/model.sfq", "--bits", "16"], found)
                if any(name.startswith("model.sfq") for name in os.listdir(place)):
                    found.append(f"convert leaves {os.listdir(place)}")
        finally:
            call("umount", small)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for name in found:
        print(f"FOUND  {name}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
