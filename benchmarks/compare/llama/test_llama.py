"""The comparison with llama.cpp: python3 -m pytest benchmarks/compare/llama, with what compare.py needs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

for needed in ("llama_cpp", "gguf", "tokenizers", "torch", "safetensors"):
    pytest.importorskip(needed)
sys.path.insert(0, str(Path(__file__).resolve().parent))

import llama_cpp as llama  # noqa: E402
from gguf import GGUFReader  # noqa: E402

from compare import KEPT, Theirs, Tokens, divergences, log_probabilities, texts  # noqa: E402
from decoder import convert  # noqa: E402
from runtime import F32, Importance, Scorer, quantize  # noqa: E402

CHECKPOINT = Path(__file__).resolve().parents[2] / "demo/checkpoint"
ITEMS = [("Is there a red circle?", "yes"), ("Where does the red shape go?", "back and forth")]


def test_texts_come_once_and_without_videos(tmp_path: Path):
    lines = [{"video": f"{clip}.mp4", "question": "q", "answer": answer} for clip, answer in ((0, "a"), (0, "b"), (1, "a"), (2, "c"))]
    (tmp_path / "eval.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert texts(tmp_path, tmp_path / "out.jsonl", 2) == [("q", "a"), ("q", "b")]
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [
        {"video": None, "question": "q", "answer": "a"}, {"video": None, "question": "q", "answer": "b"}]


def test_divergence():
    generator = np.random.default_rng(0)
    p, q = (log_probabilities(generator.normal(0, 2, (7, KEPT))) for _ in range(2))
    assert np.allclose(divergences(p, q), (np.exp(p) * (p - q)).sum(-1)) and not divergences(p, p).any()
    # With more tokens than are kept, the rest are one: less, and little.
    p, q = (log_probabilities(generator.normal(0, 4, (7, 4 * KEPT))) for _ in range(2))
    whole, found = (np.exp(p) * (p - q)).sum(-1), divergences(p, q)
    assert (found <= whole).all() and np.allclose(found, whole, rtol=0.05)


def test_importance_is_what_the_matrices_take_and_counts(tmp_path: Path):
    floats, tokens = tmp_path / "f32.gguf", Tokens(CHECKPOINT)
    convert(CHECKPOINT, floats)
    importance = Importance()
    theirs = Theirs(tmp_path, tokens, 1)
    found, perplexity = theirs.read(floats, ITEMS, F32, importance)
    assert perplexity > 1 and len(found) == sum(len(tokens(*item)[1]) for item in ITEMS)
    assert len(importance.sums) == 6 * 7 + 1 and set(importance.counts.values()) <= set(range(1, 1000))
    # What q takes in the first layer can be told from the embedding and the norm alone.
    stored = {tensor.name: tensor.data for tensor in GGUFReader(floats).tensors}
    ids = [token for item in ITEMS for part in (tokens(*item)[0], tokens(*item)[1][:-1]) for token in part]
    x = stored["token_embd.weight"][ids].astype(np.float64)
    normed = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * stored["blk.0.attn_norm.weight"]
    assert np.allclose(importance.sums["blk.0.attn_q.weight"], (normed ** 2).sum(0), rtol=1e-4)
    # It makes another file, whose answers are others and near.
    for name, weights in (("plain", None), ("weighted", importance)):
        quantize(floats, tmp_path / f"{name}.gguf", llama.LLAMA_FTYPE_MOSTLY_Q4_K_M, weights, 1)
    plain, weighted = (theirs.read(tmp_path / f"{name}.gguf", ITEMS, F32)[0] for name in ("plain", "weighted"))
    assert (plain != weighted).any() and divergences(found, weighted).mean() < 0.5


def test_logits_of_a_part_are_those_of_the_whole(tmp_path: Path):
    floats = tmp_path / "f32.gguf"
    convert(CHECKPOINT, floats)
    model = Scorer(floats, 64, 1, F32)
    tokens = list(range(20, 40))
    assert np.allclose(model.logits(tokens, 5)[:3], model.logits(tokens[:8], 5), atol=1e-3)
