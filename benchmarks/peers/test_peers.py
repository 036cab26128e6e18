"""The comparison at a size that takes seconds: python3 -m pytest benchmarks/peers"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from results import Journal, Row, summary, table  # noqa: E402
from sizes import SIZES, layer_products, prefill_products, tower_products  # noqa: E402

SLOWFAST = HERE.parent.parent / ".build/release/slowfast"


def compare(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, HERE / "compare.py", *map(str, arguments)], capture_output=True, text=True)


def test_multiply_adds_of_the_published_shape():
    shape = SIZES["full"].shape
    assert layer_products(shape) == 233_046_016  # the weights of a layer's seven matrices
    assert 0.99e12 < tower_products(SIZES["full"]) < 1.03e12
    assert prefill_products(shape, 512) > 512 * 28 * layer_products(shape)


def test_multiply_adds_of_onevision():
    size = SIZES["onevision-0.5b"]
    weights = sum(math.prod(shape) for name, shape in size.shape.tensors() if "encoder.layers." in name and len(shape) == 2)
    attention = 2 * 26 * 729**2 * 1152
    assert tower_products(size) == 729 * (weights + 1152 * 588) + attention and size.input_size == 384
    assert layer_products(size.shape) == 14_909_440


def test_small_size_keeps_the_matrices():
    full, small = SIZES["full"].shape, SIZES["small"].shape
    assert (full.widths, full.hidden, full.intermediate, full.vocabulary) == (small.widths, small.hidden, small.intermediate, small.vocabulary)
    assert 0.3 < tower_products(SIZES["small"]) / tower_products(SIZES["full"]) < 0.35


def test_journal_goes_on_after_a_line_that_was_cut(tmp_path: Path):
    path = tmp_path / "results.jsonl"
    journal = Journal(path)
    journal.add(Row("tiny", "tower", "a", True, 0, [2.0]))
    journal.add(Row("tiny", "tower", "b", False, 0, error="no memory"))
    with open(path, "a") as file:
        file.write('{"size": "tiny", "work')
    journal = Journal(path)
    assert journal.has(("tiny", "tower", "a", 0)) and not journal.has(("tiny", "tower", "b", 0))
    journal.add(Row("tiny", "tower", "b", False, 0, [5.0]))
    assert Journal(path).rows[("tiny", "tower", "b", 0)].seconds == [5.0]


def test_ratios_are_of_the_same_round(tmp_path: Path):
    journal = Journal(tmp_path / "results.jsonl")
    # The machine is half as fast in the second round, and the third has only one of both.
    for number, (ours, peer) in enumerate([(1.0, 1.5), (2.0, 3.0)]):
        journal.add(Row("tiny", "tower", "ours", True, number, [ours, ours, 9 * ours], products=4 * 10**9))
        journal.add(Row("tiny", "tower", "peer", False, number, [peer]))
    journal.add(Row("tiny", "tower", "peer", False, 2, [100.0]))
    journal.add(Row("tiny", "tower", "half", False, 0, [2.0], products=2 * 10**9))
    journal.add(Row("tiny", "tower", "absent", False, 0, error="package absent"))
    names = [("tower", name) for name in ("ours", "peer", "half", "absent")]
    ours, peer, half, absent = summary(journal, "tiny", ["tower"], names)
    assert (ours["seconds"], ours["ratio"], peer["ratio"], peer["rounds"]) == (1.5, 1.0, 1.5, 3)
    assert half["ratio"] == 4.0  # twice the time for half of the work
    assert absent["error"] == "package absent"
    text = table([ours, peer, absent], "a machine", {"products": [1.0, 3.0]})
    assert "| int8 multiply-adds, GMAC/s | 2.0 | 1.0 | 3.0 |" in text and "package absent" in text


def test_random_blocks_are_weights_about_zero():
    gguf = pytest.importorskip("gguf")
    from gguf_model import tensor

    random = np.random.default_rng(1)
    for kind in ("Q4_0", "Q5_0", "Q8_0", "Q4_K", "Q6_K"):
        chosen = gguf.GGMLQuantizationType[kind]
        weights = gguf.quants.dequantize(tensor("a.weight", (64, 1024), chosen, random), chosen)
        assert weights.shape == (64, 1024) and abs(weights.mean() * 32) < 0.15 and 0.9 < weights.std() * 32 < 1.1, kind


def test_gguf_file_has_every_tensor_of_its_type(tmp_path: Path):
    gguf = pytest.importorskip("gguf")
    from gguf_model import tensors, write

    shape = SIZES["tiny"].shape
    for kind in ("Q4_0", "Q4_K_M", "Q8_0"):
        write(tmp_path / "a.gguf", shape, kind)
        found = {t.name: (tuple(reversed(t.shape.tolist())), t.tensor_type) for t in gguf.GGUFReader(tmp_path / "a.gguf").tensors}
        assert found == {name: (size, chosen) for name, size, chosen in tensors(shape, kind)}
    found = {name: chosen.name for name, _, chosen in tensors(SIZES["onevision-0.5b"].shape, "Q4_K_M")}
    assert "output.weight" not in found and found["token_embd.weight"] == "Q8_0" and found["blk.1.attn_q.weight"] == "Q5_0"
    assert {found[f"blk.{layer}.ffn_down.weight"] for layer in range(24)} == {"Q4_K", "Q6_K"}
    types = [chosen.name for name, _, chosen in tensors(SIZES["full"].shape, "Q4_K_M") if name.endswith(("attn_v.weight", "ffn_down.weight"))]
    assert types.count("Q6_K") == types.count("Q4_K") == 28


def test_frames_are_those_of_the_published_sampling():
    from worker_video import wanted

    assert wanted(10, 4) == [0, 3, 6, 9] and wanted(2, 4) == [0, 0, 0, 1] and wanted(132, 64)[-1] == 131


@pytest.mark.skipif(not SLOWFAST.exists(), reason="needs swift build -c release")
def test_a_comparison_and_its_continuation(tmp_path: Path):
    pytest.importorskip("torch")
    arguments = (tmp_path, "--size", "tiny", "--stages", "prefill", "--only", "slowfast,PyTorch", "--threads", 1, "--rounds", 1)
    first = compare(*arguments)
    assert first.returncode == 0, first.stderr
    found = json.loads((tmp_path / "results-tiny.json").read_text())
    assert found["limits"]["bytes"] > 0 and not (tmp_path / "checkpoint").exists()
    entries = {(entry["workload"], entry["contestant"]): entry for entry in found["entries"]}
    assert len(entries) == 8 and all("error" not in entry for entry in entries.values())
    assert entries["prefill 16", "slowfast, 4 bits"]["ratio"] == 1 and entries["prefill 40", "PyTorch f32"]["ratio"] > 0
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    # A line less: that one is measured again, the others are not.
    (tmp_path / "results.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    again = compare(*arguments)
    assert again.returncode == 0 and again.stdout.count("round 1 of 1") == 1
    assert (tmp_path / "results.jsonl").read_text().splitlines()[:-1] == lines[:-1]


def test_bad_options_end_with_one_line(tmp_path: Path):
    there = ("--slowfast", HERE / "compare.py")
    for arguments, words in (
        (("--stages", "tower,nothing", *there), "--stages nothing: expected tower, prefill, generate, video"),
        (("--slowfast", tmp_path / "no"), "no such file"),
        (("--model", "5=a.sfq", *there), "--model 5=a.sfq: expected 4=FILE or 8=FILE, of an .sfq file"),
    ):
        done = compare(tmp_path, "--size", "tiny", *arguments)
        assert done.returncode == 1 and done.stdout == "" and words in done.stderr and done.stderr.count("\n") == 1
