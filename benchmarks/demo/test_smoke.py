"""The whole course on a tiny pool: tokenizer, clips, three training stages, going on after a cut, checkpoint, evaluation.

    python3 -m pytest benchmarks/demo/test_smoke.py     (a minute on one core)
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from batch import IMAGE, answers, collate, row  # noqa: E402
from check_golden import check, decode  # noqa: E402
from draw import digit_split, draw, sampled_times  # noqa: E402
from questions import CLOSED, OPEN, Item, questions  # noqa: E402
from settings import FAST, build, round_weights, settings  # noqa: E402
from tokenizer import AFTER, BEFORE, VOCABULARY, Prompts, write  # noqa: E402
from tower import ConvNeXt, depthwise  # noqa: E402
from video import sampled  # noqa: E402
from whiten import Whitening  # noqa: E402
from world import sample_scene  # noqa: E402


def run(*command: object) -> str:
    done = subprocess.run([sys.executable, *map(str, command)], cwd=HERE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write(folder / "work/tokenizer")
    run("pool.py", folder / "pool", "--shards", 2, "--clips", 32)
    run("train_tower.py", folder / "pool", folder / "work", "--steps", 2, "--batch", 16)
    run("features.py", folder / "pool", folder / "work")
    run("train.py", folder / "pool", folder / "work", "--steps", 4, "--batch", 4, "--report", 2)
    return folder


def test_training_goes_on_where_it_stopped(work: Path):
    run("train.py", work / "pool", work / "work", "--steps", 6, "--batch", 4, "--report", 2)
    lines = [json.loads(line) for line in (work / "work/decoder/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert set(CLOSED + OPEN) <= set(lines[0])


def test_checkpoint_is_the_trained_model_and_is_evaluated(work: Path):
    run("export.py", work / "work", work / "checkpoint")
    stored = load_file(work / "checkpoint/model.safetensors")
    trained = torch.load(work / "work/model.pt", weights_only=True)
    assert set(stored) == set(trained)
    assert all(torch.equal(stored[name], trained[name].to(torch.bfloat16)) for name in stored)
    assert sum(value.numel() for value in stored.values()) > 5_000_000
    assert (work / "checkpoint/model.safetensors").stat().st_size < 25_000_000

    run("make_eval.py", work / "eval", "--clips", 2)
    run("evaluate.py", work / "checkpoint", work / "eval", "--out", work / "report", "--generate")
    table = (work / "report/table.md").read_text()
    asked = (work / "eval/eval.jsonl").read_text().splitlines()
    closed = sum(json.loads(line)["kind"] in CLOSED for line in asked)
    assert f"| **all closed** | {closed} |" in table
    assert len((work / "report/answers.jsonl").read_text().splitlines()) == len(asked)


def test_a_row_of_questions_equals_one_by_one(work: Path):
    torch.manual_seed(0)
    model = round_weights(build()).eval()
    with torch.no_grad():
        for layer in model.model.layers:
            if layer.self_attn.hybrid:
                layer.self_attn.cross_attn_warm_up_gate.fill_(0.7)
    prompts = Prompts(Tokenizer.from_file(str(work / "work/tokenizer/tokenizer.json")))
    items = [Item("size", "Is it small?", "yes"), Item("sentence", "What does it do?", "It moves left.")]
    features = torch.randn(1, 16, 4, 256)
    _, slow, fast = model.pool(features)
    for mode, always in (("all", True), ("prompt", False)):
        with torch.no_grad():
            together, targets = answers(model, collate([row(prompts, FAST, items)]), features, mode)
        at = 0
        for item in items:
            prompt = [*prompts.before, IMAGE, *prompts.question(item.question)]
            answer = prompts.answer(item.answer)
            logits = decode(model, [*prompt, *answer[:-1]], slow, fast, len(prompt), None, always)[-len(answer) :]
            torch.testing.assert_close(together[at : at + len(answer)], logits, rtol=1e-4, atol=1e-4)
            assert targets[at : at + len(answer)].tolist() == answer
            at += len(answer)


def test_folded_whitening_changes_nothing():
    torch.manual_seed(0)
    features = torch.randn(50, 4, 6).mul(torch.logspace(-2, 1, 6)) + 3
    whiten, layer = Whitening(features.numpy()), torch.nn.Linear(6, 5)
    white = whiten(features).reshape(-1, 6)
    assert white.mean(0).abs().max() < 1e-4 and white.var(0).max() < 1.1
    expected = layer(white)
    whiten.fold(layer)
    torch.testing.assert_close(layer(features.reshape(-1, 6)), expected, rtol=1e-3, atol=1e-3)


def test_gates_start_closed_and_slow_tokens_then_change_nothing():
    model, rows = build().eval(), torch.randn(1, 5, 256)
    mask, positions = torch.ones(1, 1, 5, 5, dtype=torch.bool).tril(), torch.arange(5)[None]
    with torch.no_grad():
        closed = model(rows, positions, mask, torch.randn(1, 64, 256), torch.ones(1, 5))
        assert torch.equal(closed, model(rows, positions, mask, None, torch.ones(1, 5)))


def test_tokenizer_is_qwens_format(work: Path):
    tokenizer = Tokenizer.from_file(str(work / "work/tokenizer/tokenizer.json"))
    assert tokenizer.get_vocab_size() == VOCABULARY == settings()["vocab_size"]
    text = BEFORE + AFTER.format("Wie heißt das? 你好 🎬 café")
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text
    assert tokenizer.encode("<|im_end|>").ids == [settings()["eos_token_id"]]


def test_scenes_and_answers_follow_from_the_seed():
    def once() -> tuple[bytes, list[Item]]:
        rng = np.random.default_rng(4)
        scene = sample_scene(rng, digit_split(test=True))
        return draw(scene, 64, sampled_times()).tobytes(), questions(scene, rng)

    assert once() == once()


def test_digits_of_training_and_evaluation_differ():
    train, test = digit_split(False), digit_split(True)
    assert all(len(test[digit]) > 10 and not set(train[digit]) & set(test[digit]) for digit in range(10))


def test_decoded_clip_shows_what_was_drawn(work: Path):
    run("make_eval.py", work / "one", "--clips", 1, "--seed", 5)
    rng = np.random.default_rng([5, 3])
    scene = sample_scene(rng, digit_split(test=True))
    drawn = torch.from_numpy(draw(scene, 128, sampled_times())).float()
    assert (sampled(work / "one/clips/000.mp4", 16, 128).float() - drawn).abs().mean() < 8


def test_dense_depthwise_has_the_convolutions_values_and_gradients():
    torch.manual_seed(0)
    conv = ConvNeXt([1], [32]).stages[0].blocks[0].conv_dw
    x, g = torch.randn(3, 32, 4, 4, requires_grad=True), torch.randn(3, 32, 4, 4)
    found = []
    for y in (conv(x), depthwise(x, conv)):
        found.append((y, *torch.autograd.grad(y, (x, conv.weight, conv.bias), g)))
    for a, b in zip(*found):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


GOLDEN = sorted({path.parent for path in (HERE.parents[1] / "Tests").rglob("golden.safetensors")})


@pytest.mark.parametrize("folder", GOLDEN or [pytest.param(None, marks=pytest.mark.skip("no recorded tensors here"))])
def test_every_stage_equals_the_published_implementation(folder: Path):
    assert check(folder)
