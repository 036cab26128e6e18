"""Who runs: every workload with its contestants, what each needs, and the command that measures it once."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from sizes import SIZES, Size, prefill_products, step_products, tower_products

HERE = Path(__file__).resolve().parent
STAGES = ("tower", "prefill", "generate", "video")


@dataclass
class Setup:
    """Where things are and how much is measured."""

    folder: Path
    size_name: str
    slowfast: Path
    threads: int
    repeats: int
    clips: list[Path] = field(default_factory=list)
    models: dict[int, Path] = field(default_factory=dict)  # by bits, where they are given

    @property
    def size(self) -> Size:
        return SIZES[self.size_name]

    def model(self, bits: int) -> Path:
        return self.models.get(bits) or self.folder / f"model-{self.size.key}-{bits}.sfq"

    def gguf(self, kind: str) -> Path:
        return self.folder / f"qwen2-{self.size.key}-{kind}.gguf"

    @property
    def llama_state(self) -> Path:
        return self.folder / f"qwen2-{self.size.key}-{self.size.context}.state"

    def tower_paths(self, whom: str) -> list[Path]:
        stem = f"tower-{self.size.tower_key}"
        endings = {"openvino": (".xml", "-int8.xml"), "onnxruntime": (".onnx", "-dynamic.onnx", "-static.onnx")}
        return [self.folder / (stem + ending) for ending in endings[whom]]


@dataclass(frozen=True)
class Contestant:
    workload: str
    name: str
    command: list[str]
    needs: tuple[str, ...] = ()
    stage: str | None = None  # of `slowfast bench`, for ours
    products: int | None = None  # multiply-adds that count for ours, the same as for the others

    @property
    def ours(self) -> bool:
        return self.stage is not None


def contestants(setup: Setup, stages: tuple[str, ...] = STAGES) -> list[Contestant]:
    made = {"tower": tower, "prefill": prefill, "generate": generate, "video": video}
    return [contestant for stage in stages for contestant in made[stage](setup)]


def ours(
    setup: Setup, workload: str, bits: int, stage: str, *arguments: object, repeats: int | None = None, products: int | None = None
) -> Contestant:
    command = [
        setup.slowfast, "bench", setup.model(bits), "--json", "--slow-attention", "all", "--threads", setup.threads,
        "--repeat", repeats or setup.repeats, *arguments]
    return Contestant(workload, f"slowfast, {bits} bits", [str(part) for part in command], (f"model:{bits}",), stage, products)


def worker(setup: Setup, script: str, *arguments: object) -> list[str]:
    return [sys.executable, str(HERE / script), *map(str, arguments), "--threads", str(setup.threads), "--repeats", str(setup.repeats)]


def tower(setup: Setup) -> list[Contestant]:
    size = ("--size", setup.size_name)
    found = [ours(setup, "tower", bits, "tower", "--stages", "tower", products=tower_products(setup.size)) for bits in (8, 4)]
    files = setup.tower_paths("openvino")
    for name, file, kind in (("int8", files[1], ()), ("bf16", files[0], ("--type", "bf16")), ("f32", files[0], ("--type", "f32"))):
        command = worker(setup, "worker_tower.py", *size, "--by", "openvino", "--file", file, *kind)
        found.append(Contestant("tower", f"OpenVINO {name}", command, ("package:openvino, nncf", "tower:openvino")))
    for name, file in zip(("f32", "int8 dynamic", "int8 static"), setup.tower_paths("onnxruntime")):
        command = worker(setup, "worker_tower.py", *size, "--by", "onnxruntime", "--file", file)
        found.append(Contestant("tower", f"ONNX Runtime {name}", command, ("package:onnxruntime, onnxscript", "tower:onnxruntime")))
    for kind in ("bf16", "f32"):
        command = worker(setup, "worker_tower.py", *size, "--by", "torch", "--type", kind)
        found.append(Contestant("tower", f"PyTorch {kind}", command, ("package:torch",)))
    return found


# Q4_K_M a second time, with the weights as they lie in the file.
LLAMA = (("Q4_0", ()), ("Q4_K_M", ()), ("Q4_K_M", ("--plain-weights",)), ("Q8_0", ()))


def llama(setup: Setup, workload: str, *arguments: object, needs: tuple[str, ...] = ()) -> list[Contestant]:
    found = []
    for kind, how in LLAMA:
        command = worker(setup, "worker_llama.py", setup.gguf(kind), "--size", setup.size_name, *arguments, *how)
        name = f"llama.cpp {kind}" + (", not repacked" if how else "")
        found.append(Contestant(workload, name, command, ("package:llama_cpp, gguf", f"gguf:{kind}", *needs)))
    return found


def decoder(setup: Setup, workload: str, *arguments: object) -> list[Contestant]:
    return [
        Contestant(
            workload, f"PyTorch {kind}", worker(setup, "worker_decoder.py", "--size", setup.size_name, "--type", kind, *arguments),
            ("package:torch",))
        for kind in ("bf16", "f32")]


def prefill(setup: Setup) -> list[Contestant]:
    found = []
    for length in setup.size.prompts:
        workload = f"prefill {length}"
        products = prefill_products(setup.size.shape, length)
        arguments = ("--stages", "prefill", "--prompts", length, "--frames", setup.size.frames)
        found += [ours(setup, workload, bits, workload, *arguments, products=products) for bits in (4, 8)]
        found += llama(setup, workload, "--prompt", length) + decoder(setup, workload, "--prompt", length)
    return found


def generate(setup: Setup) -> list[Contestant]:
    context, count = setup.size.context, setup.size.generated
    workload = f"generate after {context}"
    arguments = ("--stages", "generate", "--contexts", context, "--tokens", count, "--frames", setup.size.frames, "--slow-attention", "all")
    products = step_products(setup.size.shape, context)
    found = [ours(setup, workload, bits, workload, *arguments, repeats=1, products=products) for bits in (4, 8)]
    found += llama(setup, workload, "--context", context, "--state", setup.llama_state, needs=("state:",))
    return found + decoder(setup, workload, "--context", context)


def video(setup: Setup) -> list[Contestant]:
    found, frames = [], setup.size.frames
    for clip in setup.clips:
        workload = f"{frames} frames of {clip.name}"
        bits = min(setup.models, default=4)
        mine = ours(setup, workload, bits, "decode", "--stages", "decode", "--clip", clip, "--frames", frames)
        found.append(Contestant(workload, "slowfast", mine.command, mine.needs, mine.stage))
        for name, by, package in (("PyAV", "pyav", "av"), ("PyAV, seeking", "pyav-seek", "av"), ("decord", "decord", "decord")):
            command = worker(setup, "worker_video.py", clip, "--frames", frames, "--by", by)
            found.append(Contestant(workload, name, command, (f"package:{package}",)))
    return found
