#!/usr/bin/env python3
"""llama.cpp on a GGUF file: one prompt, or tokens generated after a filled cache.

    worker_llama.py MODEL --size SIZE --prompt 512 [--plain-weights]
    worker_llama.py MODEL --size SIZE --context 1400 --state FILE [--fill]

--fill reads a made-up prompt and saves the cache to FILE, from which the runs that generate take it: keys and values are 16-bit whatever
the weights are.
"""

from __future__ import annotations

import argparse
import ctypes
import time
from pathlib import Path
from typing import Callable

import llama_cpp as llama
from gguf import GGUFReader

from measurement import report, time_runs
from sizes import SIZES, prefill_products, step_products


@llama.llama_log_callback
def quiet(level, text, _) -> None:
    if level == 4:  # an error
        print(text.decode(errors="replace"), end="", flush=True)


class Model:
    def __init__(
            self, path: Path, room: int, threads: int, plain_weights: bool,
            change: Callable[[llama.llama_context_params], None] = lambda _: None):
        llama.llama_log_set(quiet, None)
        llama.llama_backend_init()
        settings = llama.llama_model_default_params()
        settings.n_gpu_layers = 0
        settings.use_extra_bufts = not plain_weights
        self.model = llama.llama_model_load_from_file(str(path).encode(), settings)
        if not self.model:
            raise SystemExit(f"{path}: llama.cpp cannot load it")
        context = llama.llama_context_default_params()
        context.n_ctx = (room + 255) // 256 * 256
        context.n_batch, context.n_ubatch = max(2048, context.n_ctx), 512
        context.n_threads = context.n_threads_batch = threads
        change(context)
        self.context = llama.llama_init_from_model(self.model, context)
        if not self.context:
            raise SystemExit(f"{path}: llama.cpp makes no context of {room} tokens")

    def clear(self) -> None:
        llama.llama_memory_clear(llama.llama_get_memory(self.context), False)

    def read(self, tokens: list[int]) -> None:
        """Appends tokens; the last one's logits are computed."""
        array = (llama.llama_token * len(tokens))(*tokens)
        if llama.llama_decode(self.context, llama.llama_batch_get_one(array, len(tokens))) != 0:
            raise SystemExit("llama.cpp failed to decode")
        llama.llama_synchronize(self.context)

    def save(self, path: Path, tokens: list[int]) -> None:
        array = (llama.llama_token * len(tokens))(*tokens)
        partial = path.with_suffix(".partial")
        if not llama.llama_state_save_file(self.context, str(partial).encode(), array, len(tokens)):
            raise SystemExit(f"{path}: cannot be written")
        partial.replace(path)

    def restore(self, path: Path, count: int) -> None:
        array, found = (llama.llama_token * count)(), ctypes.c_size_t()
        if not llama.llama_state_load_file(self.context, str(path).encode(), array, count, ctypes.byref(found)) or found.value != count:
            raise SystemExit(f"{path}: not the cache of {count} tokens for this model")


def made_up(count: int, vocabulary: int) -> list[int]:
    return [(7919 * i + 13) % vocabulary for i in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--prompt", type=int)
    parser.add_argument("--context", type=int)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--fill", action="store_true")
    parser.add_argument("--plain-weights", action="store_true", help="without repacking the weights for this processor")
    options = parser.parse_args()
    size = SIZES[options.size]
    shape = size.shape
    version = f"llama-cpp-python {llama.__version__}"
    if options.prompt:
        tokens = made_up(options.prompt, shape.vocabulary)
        model = Model(options.model, options.prompt, options.threads, options.plain_weights)

        def prefill() -> None:
            model.clear()
            model.read(tokens)

        report(time_runs(prefill, options.repeats), options.prompt, prefill_products(shape, options.prompt), note=version)
        return

    tokens = made_up(options.context, shape.vocabulary)
    model = Model(options.model, options.context + size.generated + 1, options.threads, options.plain_weights)
    if options.fill:
        model.read(tokens)
        model.save(options.state, tokens)
        return
    model.restore(options.state, options.context)
    model.read([1])  # warms up
    seconds = []
    for token in made_up(size.generated, shape.vocabulary):
        start = time.perf_counter()
        model.read([token])
        seconds.append(time.perf_counter() - start)
    # One row of the embedding is read, or all of it as the head.
    embedding = 0 if shape.tied else next(t.n_bytes for t in GGUFReader(options.model).tensors if t.name == "token_embd.weight")
    cache = 4 * shape.layers * shape.kv_heads * shape.head_size * options.context
    read = options.model.stat().st_size - int(embedding) + cache
    report(seconds, 1, step_products(shape, options.context), read, note=version)


if __name__ == "__main__":
    main()
