#!/usr/bin/env python3
"""slowfast and llama.cpp with few bits, on the same decoder and the same texts.

    compare.py CHECKPOINT EVAL CALIBRATION WORK

EVAL and CALIBRATION are sets as benchmarks/demo/make_eval.py makes them; of both, questions and answers are taken without their videos.
Each model reads the question and the right answer so far, and its next-token distribution is compared with that of the unquantized
decoder: llama.cpp's files with llama.cpp in floats, slowfast's with slowfast unquantized (`slowfast compare`). That the two unquantized ones
agree is printed first. Importance matrix and calibration see the same texts. Writes the models, llama.md
and llama.json to WORK. Needs benchmarks/peers/requirements.txt (run.sh there makes an environment), safetensors and tokenizers.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import llama_cpp as llama
import numpy as np
from gguf import GGUFReader
from tokenizers import Tokenizer

import peers
from decoder import convert, names
from runtime import F16, F32, Importance, Scorer, quantize

SLOWFAST = os.environ.get("SLOWFAST", peers.BENCHMARKS.parent / ".build/release/slowfast")
PROMPT = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
KEPT = 128  # likeliest tokens of the baseline that count one by one; all others count as one, as in `slowfast compare`

# The type, whether an importance matrix weights the errors, and the embedding's own type if it is another.
THEIRS = {
    "Q8_0": (llama.LLAMA_FTYPE_MOSTLY_Q8_0, False, None),
    "Q6_K": (llama.LLAMA_FTYPE_MOSTLY_Q6_K, False, None),
    "Q5_K_S, importance matrix": (llama.LLAMA_FTYPE_MOSTLY_Q5_K_S, True, None),
    "Q4_K_M, importance matrix": (llama.LLAMA_FTYPE_MOSTLY_Q4_K_M, True, None),
    "Q4_K_M": (llama.LLAMA_FTYPE_MOSTLY_Q4_K_M, False, None),
    "Q4_K_S, importance matrix": (llama.LLAMA_FTYPE_MOSTLY_Q4_K_S, True, None),
    "Q4_0, importance matrix": (llama.LLAMA_FTYPE_MOSTLY_Q4_0, True, None),
    "IQ4_NL, importance matrix": (llama.LLAMA_FTYPE_MOSTLY_IQ4_NL, True, None),
    "IQ4_XS, importance matrix, Q8_0 embedding": (llama.LLAMA_FTYPE_MOSTLY_IQ4_XS, True, llama.GGML_TYPE_Q8_0),
    "IQ4_XS, importance matrix": (llama.LLAMA_FTYPE_MOSTLY_IQ4_XS, True, None),
    "Q3_K_M, importance matrix": (llama.LLAMA_FTYPE_MOSTLY_Q3_K_M, True, None),
    "IQ3_M, importance matrix": (llama.LLAMA_FTYPE_MOSTLY_IQ3_M, True, None),
    "Q2_K, importance matrix": (llama.LLAMA_FTYPE_MOSTLY_Q2_K, True, None),
}
# What convert is given beside the checkpoint. CALIBRATE stands for the calibration texts, TARGET=BITS for a --target-bits that leaves the
# tensors that text goes through so many bits a weight, all others having 4.
OURS = {
    "8 bits, groups of 32": "--bits 8 --group 32",
    "8 bits": "--bits 8",
    "gptq, calibrated, target 6": "--method gptq CALIBRATE TARGET=6",
    "gptq, calibrated, target 5.5": "--method gptq CALIBRATE TARGET=5.5",
    "gptq, calibrated, target 5": "--method gptq CALIBRATE TARGET=5",
    "search, groups of 32, uneven, 8 bits in embedding and head": "--group 32 --levels uneven --keep embedding=8 --keep head=8",
    "search, groups of 32, 8 bits in embedding and head": "--group 32 --keep embedding=8 --keep head=8",
    "search, groups of 32, uneven": "--group 32 --levels uneven",
    "search, groups of 32": "--group 32",
    "gptq, calibrated, groups of 32": "--method gptq CALIBRATE --group 32",
    "gptq, calibrated, target 4.5": "--method gptq CALIBRATE TARGET=4.5",
    "search, calibrated, target 4.5": "--method search CALIBRATE TARGET=4.5",
    "rtn, target 4.5": "--method rtn TARGET=4.5",
    "gptq, calibrated": "--method gptq CALIBRATE",
    "search, calibrated": "--method search CALIBRATE",
    "search": "--method search",
    "search, uneven": "--method search --levels uneven",
    "rtn": "--method rtn",
    "gptq, calibrated, target 4": "--method gptq CALIBRATE TARGET=4",
    "gptq, calibrated, 3 bits in perceptrons": "--method gptq CALIBRATE --keep mlp=3",
    "gptq, calibrated, target 3.5": "--method gptq CALIBRATE TARGET=3.5",
    "gptq, calibrated, 3 bits": "--method gptq CALIBRATE --bits 3",
    "search, 3 bits": "--method search --bits 3",
}


@dataclass
class Row:
    program: str
    name: str
    bits: float  # a weight, of all tensors that text goes through
    embedding: str
    head: str
    divergence: float
    interval: tuple[float, float]  # of its mean, 95 %, by question
    agreement: float
    perplexity: float


def texts(source: Path, target: Path, limit: int) -> list[tuple[str, str]]:
    """Questions and answers about the first `limit` clips, each once; as lines without videos in `target`."""
    clips: dict[str, None] = {}
    found: dict[tuple[str, str], None] = {}
    for line in (source / "eval.jsonl").read_text().splitlines():
        item = json.loads(line)
        clips.setdefault(item["video"])
        if len(clips) <= limit:
            found.setdefault((item["question"], item["answer"]))
    lines = [json.dumps({"video": None, "question": question, "answer": answer}) for question, answer in found]
    text = "\n".join(lines) + "\n"
    if not target.exists() or target.read_text() != text:
        target.write_text(text)
    return list(found)


class Tokens:
    def __init__(self, checkpoint: Path):
        self.tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
        self.end = self.tokenizer.token_to_id("<|im_end|>")

    def __call__(self, question: str, answer: str) -> tuple[list[int], list[int]]:
        """Of the prompt, and of the answer with its end."""
        def encode(text: str) -> list[int]:
            return self.tokenizer.encode(text, add_special_tokens=False).ids
        return encode(PROMPT.format(question)), encode(answer) + [self.end]


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def divergences(baseline: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of each row, in nats, with all but the baseline's likeliest tokens as one."""
    kept = np.argsort(-baseline, axis=-1, kind="stable")[:, :KEPT]
    p, q = np.take_along_axis(baseline, kept, -1), np.take_along_axis(other, kept, -1)
    rest = np.ones(baseline.shape, bool)
    np.put_along_axis(rest, kept, False, -1)
    tails = [np.where(rest, np.exp(each), 0).sum(-1).clip(1e-300) for each in (baseline, other)]
    return ((np.exp(p) * (p - q)).sum(-1) + tails[0] * np.log(tails[0] / tails[1])).clip(0)


def interval(divergence: np.ndarray, lengths: list[int]) -> tuple[float, float]:
    """Of the mean over all tokens: questions of so many tokens each drawn again and again."""
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    sums, counts = np.add.reduceat(divergence, starts), np.array(lengths)
    drawn = np.random.default_rng(1).integers(0, len(counts), (2000, len(counts)))
    low, high = np.quantile(sums[drawn].sum(1) / counts[drawn].sum(1), [0.025, 0.975])
    return float(low), float(high)


class Theirs:
    """llama.cpp's files and what they say."""

    def __init__(self, work: Path, tokens: Tokens, threads: int):
        self.work, self.tokens, self.threads = work, tokens, threads
        self.floats = work / "f32.gguf"

    def read(self, path: Path, items: list[tuple[str, str]], cache: int, importance: Importance | None = None) -> tuple[np.ndarray, float]:
        """Logarithms of probabilities at every answer token of all items, and the answers' perplexity."""
        pairs = [self.tokens(*item) for item in items]
        model = Scorer(path, max(len(prompt) + len(answer) for prompt, answer in pairs), self.threads, cache, importance)
        rows, likelihood = [], 0.0
        for prompt, answer in pairs:
            found = log_probabilities(model.logits(prompt + answer[:-1], len(prompt) - 1))
            likelihood += found[np.arange(len(answer)), answer].sum()
            rows.append(found)
        joined = np.concatenate(rows)
        return joined, math.exp(-likelihood / len(joined))

    def make(self, checkpoint: Path, calibration: list[tuple[str, str]]) -> None:
        convert(checkpoint, self.floats)
        importance = Importance()
        self.read(self.floats, calibration, F32, importance)
        for name, (kind, weighted, embedding) in THEIRS.items():
            quantize(self.floats, self.path(name), kind, importance if weighted else None, self.threads, embedding)

    def path(self, name: str) -> Path:
        return self.work / (name.replace(", importance matrix", "-imatrix").replace(", ", "-").replace(" ", "-") + ".gguf")

    def rows(self, items: list[tuple[str, str]]) -> tuple[list[Row], float, int]:
        baseline, perplexity = self.read(self.floats, items, F32)
        lengths = [len(self.tokens(*item)[1]) for item in items]
        rows = []
        for name in THEIRS:
            found, own = self.read(self.path(name), items, F16)
            stored = {tensor.name: tensor for tensor in GGUFReader(self.path(name)).tensors}
            head = stored.get("output.weight", stored["token_embd.weight"])
            away = divergences(baseline, found)
            rows.append(Row(
                "llama.cpp", name, 8 * sum(int(t.n_bytes) for t in stored.values()) / sum(int(t.n_elements) for t in stored.values()),
                stored["token_embd.weight"].tensor_type.name, head.tensor_type.name, float(away.mean()), interval(away, lengths),
                float((baseline.argmax(-1) == found.argmax(-1)).mean()), own))
        return rows, perplexity, len(baseline)


def slowfast(*arguments: object) -> str:
    return subprocess.run([SLOWFAST, *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True).stdout


def bits(tensors: list[dict]) -> float:
    return 8 * sum(tensor["bytes"] for tensor in tensors) / sum(math.prod(tensor["shape"]) for tensor in tensors)


def target(checkpoint: Path, text: set[str], work: Path) -> Callable[[float], list[str]]:
    """Options after which the tensors of `text` have so many bits a weight at most."""
    plain, rules = work / "plain.sfq", ["--keep", "tower=4", "--keep", "projector=4", "--keep", "cross=4"]
    slowfast("convert", checkpoint, plain, "--method", "rtn", *rules, "--force")
    tensors = json.loads(slowfast("inspect", plain, "--json"))["tensors"]
    weights = sum(math.prod(tensor["shape"]) for tensor in tensors)
    beside = [tensor for tensor in tensors if tensor["name"] not in text]
    share = sum(math.prod(tensor["shape"]) for tensor in beside) / weights
    return lambda wanted: [*rules, "--target-bits", f"{math.floor(1e4 * (bits(beside) * share + wanted * (1 - share))) / 1e4}"]


def ours(checkpoint: Path, data: Path, calibration: Path, work: Path, threads: int) -> tuple[list[Row], float, int]:
    """slowfast's rows, the unquantized perplexity and the number of tokens."""
    config = json.loads((checkpoint / "config.json").read_text())
    text = {name for name, _ in names(config["num_hidden_layers"], config["tie_word_embeddings"])}
    limit = target(checkpoint, text, work)

    def words(option: str) -> list[object]:
        if option.startswith("TARGET="):
            return limit(float(option.removeprefix("TARGET=")))
        return ["--calibrate", calibration] if option == "CALIBRATE" else [option]
    files = {}
    for name, options in OURS.items():
        files[name] = work / (name.replace(", ", "-").replace(" ", "") + ".sfq")
        arguments = [word for option in options.split() for word in words(option)]
        slowfast("convert", checkpoint, files[name], *arguments, "--force", "--threads", threads)
    report = json.loads(slowfast(
        "compare", checkpoint, *files.values(), "--data", data, "--parts", "none", "-o", work / "report", "--threads", threads, "--json"))
    results = {result["name"]: result for result in report["variants"]}
    rows = []
    for name, path in files.items():
        stored = [tensor for tensor in json.loads(slowfast("inspect", path, "--json"))["tensors"] if tensor["name"] in text]
        kinds = {tensor["name"]: tensor["encoding"] for tensor in stored}
        result = results[str(path)]
        rows.append(Row(
            "slowfast", name, bits(stored), kinds["model.embed_tokens.weight"], kinds.get("lm_head.weight", kinds["model.embed_tokens.weight"]), result["divergence"]["mean"],
            tuple(result["divergence"]["mean_interval"][end] for end in ("low", "high")), result["top_agreement"]["count"] / result["top_agreement"]["total"], result["perplexity"]))
    return rows, report["baseline"]["perplexity"], report["tokens"]


def table(rows: list[Row]) -> str:
    lines = ["| | | bits a weight | embedding | head | mean KL | interval | top 1 | perplexity |", "|---|---|---|---|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: -row.bits):
        lines.append(
            f"| {row.program} | {row.name} | {row.bits:.2f} | {row.embedding} | {row.head} | {row.divergence:.6f} | {row.interval[0]:.6f}–{row.interval[1]:.6f} | {100 * row.agreement:.2f} % "
            f"| {row.perplexity:.4f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("eval", type=Path)
    parser.add_argument("calibration", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--limit", type=int, default=200, help="clips whose questions are asked")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    data, calibration = options.work / "text.jsonl", options.work / "calibration.jsonl"
    items, seen = texts(options.eval, data, options.limit), texts(options.calibration, calibration, options.limit)

    theirs = Theirs(options.work, Tokens(options.checkpoint), options.threads)
    theirs.make(options.checkpoint, seen)
    rows, perplexity, count = theirs.rows(items)
    own, own_perplexity, own_count = ours(options.checkpoint, data, calibration, options.work, options.threads)
    agreement = (
        f"{len(items)} questions and answers, {count} answer tokens ({own_count} in slowfast); calibrated with {len(seen)} others. Unquantized "
        f"perplexity: {perplexity:.7f} with llama.cpp, {own_perplexity:.7f} with slowfast.\n")
    if own_count != count or abs(math.log(perplexity / own_perplexity)) > 1e-5:
        raise SystemExit("The two unquantized decoders do not agree, so nothing is compared. " + agreement)
    found = agreement + "\n" + table(rows + own)
    print(found)
    (options.work / "llama.md").write_text(found)
    (options.work / "llama.json").write_text(json.dumps([asdict(row) for row in rows + own], indent=1) + "\n")


if __name__ == "__main__":
    main()
