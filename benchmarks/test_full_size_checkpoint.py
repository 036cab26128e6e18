"""The full-size checkpoint's layout, at a size that takes a second: python3 -m pytest benchmarks/test_full_size_checkpoint.py"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from checkpoint_layout import Shape, SiglipShape, bf16, config, tensors, write_shards  # noqa: E402
from full_size_checkpoint import SHAPES, VARIANTS, random_values, variant_of  # noqa: E402
from smolvlm_layout import SMOLVLM_SHAPES, SmolVLMShape  # noqa: E402
from onevision_layout import ONEVISION_SHAPES, OnevisionShape  # noqa: E402

TINY = Shape(
    depths=(1, 1, 2, 1), widths=(8, 16, 24, 32), head_classes=10, input_size=64, vocabulary=300, hidden=64, intermediate=96,
    layers=5, heads=4, kv_heads=2, cross_every=2)


def write(folder: Path, shape: Shape = TINY, seed: int = 0, largest: float = 100_000) -> list[Path]:
    folder.mkdir()
    total = 2 * sum(math.prod(size) for _, size in tensors(shape))
    return write_shards(folder, list(tensors(shape)), random_values(seed, shape.layers, total), largest)


def test_shards_hold_every_tensor_once_and_agree_with_the_index(tmp_path: Path):
    safetensors = pytest.importorskip("safetensors")
    paths = write(tmp_path / "a")
    index = json.loads((tmp_path / "a/model.safetensors.index.json").read_text())
    found = {}
    for path in paths:
        with safetensors.safe_open(path, "np") as file:
            for name in file.keys():
                assert index["weight_map"][name] == path.name and name not in found
                part = file.get_slice(name)
                assert part.get_dtype() == "BF16"
                found[name] = tuple(part.get_shape())
    assert found == dict(tensors(TINY)) and list(index["weight_map"]) == [name for name, _ in tensors(TINY)]
    assert index["metadata"]["total_size"] == 2 * sum(math.prod(size) for size in found.values())
    assert len(paths) > 2 and paths[0].name == f"model-00001-of-{len(paths):05}.safetensors"


def test_bytes_follow_from_the_seed(tmp_path: Path):
    first, second, other = (write(tmp_path / name, seed=seed) for name, seed in (("a", 3), ("b", 3), ("c", 4)))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert first[0].read_bytes() != other[0].read_bytes()


def test_values_have_the_scale_that_keeps_activations_of_order_one():
    values = random_values(0, 28, 1 << 40)
    bits = np.concatenate(list(values("model.layers.1.mlp.up_proj.weight", (512, 400))))
    up = (bits.astype(np.uint32) << 16).view(np.float32)
    assert abs(up.std() * 400**0.5 - 1) < 0.02 and abs(up.mean()) < 0.001


def test_bf16_rounds_to_nearest_even():
    exact = np.array([1.0, -2.5, 0.0], np.float32)
    assert (bf16(exact).astype(np.uint32) << 16).view(np.float32).tolist() == exact.tolist()
    ties = np.array([0x3F808000, 0x3F818000, 0x3F808001], np.uint32).view(np.float32)
    assert bf16(ties).tolist() == [0x3F80, 0x3F82, 0x3F81]


def test_published_shape():
    published = SHAPES["published"]
    assert sum(math.prod(size) for _, size in tensors(published)) == 8_500_648_304
    hybrid = [name for name, _ in tensors(published) if name.endswith("warm_up_gate")]
    assert hybrid == [f"model.layers.{n}.self_attn.cross_attn_warm_up_gate" for n in (0, 8, 16, 24)]
    settings = config(replace(published, fast=VARIANTS[variant_of(Path("x-576-frame128-s2t4"))]), 1, 2)
    assert settings["fast_token_temporal_sampling_stride"] == 2 and "input_image_size" not in settings


def header(path: Path) -> dict[str, tuple[int, ...]]:
    with path.open("rb") as file:
        found = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return {name: tuple(tensor["shape"]) for name, tensor in found.items() if name != "__metadata__"}


def test_a_siglip_tower_has_the_names_and_shapes_of_a_golden_checkpoint():
    golden = Path(__file__).resolve().parent.parent / "Tests/Golden/slowfast-siglip"
    tower = header(golden / "google/siglip-tiny-patch8-60/model.safetensors")
    whole = header(golden / "model.safetensors")
    expected = {"model.vision_tower.vision_tower." + name: size for name, size in tower.items() if ".head." not in name}
    expected |= {name: size for name, size in whole.items() if ".vision_tower." not in name}
    shape = Shape(
        siglip=SiglipShape("google/siglip-tiny-patch8-60", 96, 208, layers=3, tokens=49, patch=8), vocabulary=512, hidden=64,
        intermediate=176, layers=4, heads=4, kv_heads=2, cross_every=2)
    assert dict(tensors(shape)) == expected
    count = sum(math.prod(size) for name, size in tensors(SHAPES["long"]) if ".vision_tower." in name)
    assert round(count / 1e6) == 86  # as SigLIP base has it without its pooling head


def test_onevision_has_the_names_and_shapes_of_a_checkpoint_that_the_published_code_reads():
    path = Path(__file__).resolve().parent.parent / "Tests/Golden/llava-next-onevision/model.safetensors"
    expected = header(path)
    shape = OnevisionShape(
        hidden=48, intermediate=128, layers=3, heads=4, kv_heads=2, vocabulary=512, tied=False,
        tower=SiglipShape("google/siglip-tiny", 32, 72, layers=3, tokens=729, patch=2))
    assert dict(shape.tensors()) == expected
    total = sum(math.prod(size) for _, size in ONEVISION_SHAPES["onevision-0.5b"].tensors())
    assert round(total / 1e6) == 894  # as the published model has it


def test_smolvlm_has_the_names_and_shapes_of_a_checkpoint_that_transformers_reads():
    path = Path(__file__).resolve().parent.parent / "Tests/Golden/smolvlm/model.safetensors"
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    expected = {name: tuple(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__"}
    shape = SmolVLMShape(
        hidden=64, intermediate=128, layers=3, heads=4, kv_heads=2, vocabulary=480, tower_width=48, tower_inner=96, tower_layers=2,
        image=32, patch=4)
    assert dict(shape.tensors()) == expected
    total = sum(math.prod(size) for _, size in SMOLVLM_SHAPES["smolvlm2-500m"].tensors())
    assert round(total / 1e6) == 507  # as the published model has it
