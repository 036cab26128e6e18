"""llama.cpp by its C interface: logits at every position, an importance matrix, quantization."""

from __future__ import annotations

import ctypes
from pathlib import Path

import llama_cpp as llama
import numpy as np
from llama_cpp._ggml import libggml_base_path

import peers  # noqa: F401
from worker_llama import Model

ggml = ctypes.CDLL(str(libggml_base_path / "libggml-base.so"))
ggml.ggml_op_desc.restype = ctypes.c_char_p
ggml.ggml_op_desc.argtypes = [ctypes.c_void_p]
F32, F16 = 0, 1


class Tensor(ctypes.Structure):
    """ggml_tensor of ggml.h, as llama-cpp-python 0.3.36 has it."""


Tensor._fields_ = [
    ("type", ctypes.c_int), ("buffer", ctypes.c_void_p), ("ne", ctypes.c_int64 * 4), ("nb", ctypes.c_size_t * 4), ("op", ctypes.c_int),
    ("op_params", ctypes.c_int32 * 16), ("flags", ctypes.c_int32), ("src", ctypes.POINTER(Tensor) * 10),
    ("view_src", ctypes.POINTER(Tensor)), ("view_offs", ctypes.c_size_t), ("data", ctypes.c_void_p), ("name", ctypes.c_char * 64),
]


class Importance:
    """Mean squares of what each matrix takes, by its name: what llama-imatrix collects, in the same place."""

    def __init__(self) -> None:
        self.sums: dict[str, np.ndarray] = {}
        self.counts: dict[str, int] = {}
        self.problem: str | None = None  # an exception would not get through llama.cpp
        self.callback = llama.ggml_backend_sched_eval_callback(self.see)

    def see(self, node: int, ask: bool, _) -> bool:
        if ggml.ggml_op_desc(node) != b"MUL_MAT":
            return not ask
        tensor = Tensor.from_address(node)
        name = tensor.src[0].contents.name.decode()
        if not name.endswith(".weight"):
            return not ask
        if not ask:
            taken = tensor.src[1].contents
            columns, rows = taken.ne[0], taken.ne[1] * taken.ne[2] * taken.ne[3]
            if taken.type != F32 or taken.nb[1] != 4 * columns:
                self.problem = f"{name}: its inputs are no plain floats"
                return False
            values = np.ctypeslib.as_array(ctypes.cast(taken.data, ctypes.POINTER(ctypes.c_float)), (rows, columns))
            self.sums[name] = self.sums.get(name, 0) + np.square(values.astype(np.float64)).sum(0)
            self.counts[name] = self.counts.get(name, 0) + rows
        return True

    def array(self) -> ctypes.Array:
        """For llama_model_quantize_params; ends with an entry without a name."""
        found = (llama.llama_model_imatrix_data * (len(self.sums) + 1))()
        for entry, (name, sums) in zip(found, self.sums.items()):
            means = (sums / self.counts[name]).astype(np.float32)
            entry.name, entry.size = name.encode(), len(means)
            entry.data = (ctypes.c_float * len(means))(*means)
        return found


class Scorer(Model):
    """A model that says the logits after each of some tokens."""

    def __init__(self, path: Path, room: int, threads: int, cache: int, importance: Importance | None = None):
        def change(context: llama.llama_context_params) -> None:
            context.type_k = context.type_v = cache
            context.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_DISABLED
            if importance:
                context.cb_eval = importance.callback

        self.importance = importance  # llama.cpp holds the callback, not Python
        super().__init__(path, room, threads, True, change)
        self.vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self.model))

    def logits(self, tokens: list[int], first: int) -> np.ndarray:
        """[tokens − first, vocabulary]: what follows each token from `first` on."""
        self.clear()
        batch = llama.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for place, token in enumerate(tokens):
            batch.token[place], batch.pos[place], batch.n_seq_id[place] = token, place, 1
            batch.seq_id[place][0], batch.logits[place] = 0, place >= first
        if llama.llama_decode(self.context, batch) != 0 or (self.importance and self.importance.problem):
            raise SystemExit(self.importance and self.importance.problem or "llama.cpp failed to decode")
        rows = [llama.llama_get_logits_ith(self.context, place) for place in range(first, len(tokens))]
        found = np.stack([np.ctypeslib.as_array(row, (self.vocabulary,)).astype(np.float64) for row in rows])
        llama.llama_batch_free(batch)
        return found


def quantize(floats: Path, out: Path, kind: int, importance: Importance | None, threads: int, embedding: int | None = None) -> None:
    settings = llama.llama_model_quantize_default_params()
    settings.ftype, settings.nthread = kind, threads
    if embedding is not None:
        settings.token_embedding_type = embedding
    entries = importance.array() if importance else None
    if entries is not None:
        settings.imatrix = ctypes.cast(entries, ctypes.POINTER(llama.llama_model_imatrix_data))
    if llama.llama_model_quantize(str(floats).encode(), str(out).encode(), ctypes.byref(settings)) != 0:
        raise SystemExit(f"{out}: llama.cpp cannot quantize")
