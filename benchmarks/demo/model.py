"""The slow-fast video language model in PyTorch, as the published one computes it, named as its checkpoints are.

Small enough to train here; `check_golden.py` holds it against recorded tensors of the published implementation.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor

from tower import ConvNeXt

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])
DEVIATION = torch.tensor([0.26862954, 0.26130258, 0.27577711])


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.to(self.weight.dtype), self.weight.shape, self.weight, self.eps)


class Attention(nn.Module):
    """Self-attention; in a hybrid layer also cross-attention to the slow tokens, added before `o_proj`."""

    def __init__(self, config: dict, hybrid: bool):
        super().__init__()
        hidden = config["hidden_size"]
        self.heads, self.kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self.size = hidden // self.heads
        kv = self.kv_heads * self.size
        self.q_proj, self.k_proj, self.v_proj = nn.Linear(hidden, hidden), nn.Linear(hidden, kv), nn.Linear(hidden, kv)
        self.o_proj = nn.Linear(hidden, hidden, bias=False)
        self.hybrid = hybrid
        if hybrid:
            gating = config["cross_attn_gating_type"]
            self.every_position = config["cross_attn_implementation"].startswith("vanilla")
            self.bounded = "tanh" in gating
            self.cross_attn_kv_proj = nn.Linear(hidden, 2 * kv)
            self.cross_attn_gate_proj = nn.Sequential(nn.Linear(hidden, 1))
            if "warmup" in gating:
                self.cross_attn_warm_up_gate = nn.Parameter(torch.zeros(1))

    def _split(self, x: Tensor, heads: int) -> Tensor:
        return x.view(*x.shape[:2], heads, -1).transpose(1, 2)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor], mask: Tensor, slow: Tensor | None, cross: Tensor) -> Tensor:
        """x [B, L, D]; mask [B, 1, L, L], true where row sees column; slow [B, S, D], normed; cross [B, L]: who sees slow."""
        q = rotate(self._split(self.q_proj(x), self.heads), rope)
        k = rotate(self._split(self.k_proj(x), self.kv_heads), rope)
        v = self._split(self.v_proj(x), self.kv_heads)
        a = self._attend(q, k, v, mask)
        if self.hybrid and slow is not None:
            kv = self._split(self.cross_attn_kv_proj(slow), self.kv_heads)  # per head its key, then its value
            c = self._attend(q, *kv.chunk(2, dim=-1), None)
            gate = self.cross_attn_gate_proj(a)
            gate = torch.tanh(gate) if self.bounded else gate
            if hasattr(self, "cross_attn_warm_up_gate"):
                warm = self.cross_attn_warm_up_gate
                gate = gate * (warm if self.every_position else torch.tanh(warm))
            a = a + gate * c * cross[..., None]
        return self.o_proj(a)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        repeat = self.heads // self.kv_heads
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        if torch.is_autocast_enabled("cpu") and torch.is_grad_enabled():  # short rows: half the time of the fused operator
            scores = q @ k.transpose(2, 3) * self.size**-0.5
            if mask is not None:
                scores = scores.masked_fill(~mask, float("-inf"))
            return (scores.softmax(-1).to(v.dtype) @ v).transpose(1, 2).flatten(2)
        return F.scaled_dot_product_attention(q, k.to(q.dtype), v.to(q.dtype), attn_mask=mask).transpose(1, 2).flatten(2)


def rope_of(positions: Tensor, size: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosine and sine [B, 1, L, size] of positions [B, L]. The rates are 32-bit floats
    whatever type the weights have."""
    rates = 1 / theta ** (torch.arange(0, size, 2, device=positions.device, dtype=torch.float32) / size)
    angles = (positions[..., None].float() * rates).repeat(1, 1, 2)[:, None]
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    low, high = x.chunk(2, dim=-1)
    return x * rope[0] + torch.cat((-high, low), dim=-1) * rope[1]


class MLP(nn.Module):
    def __init__(self, hidden: int, middle: int):
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(hidden, middle, bias=False), nn.Linear(hidden, middle, bias=False)
        self.down_proj = nn.Linear(middle, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config: dict, hybrid: bool):
        super().__init__()
        hidden, eps = config["hidden_size"], config["rms_norm_eps"]
        self.self_attn = Attention(config, hybrid)
        self.mlp = MLP(hidden, config["intermediate_size"])
        self.input_layernorm, self.post_attention_layernorm = RMSNorm(hidden, eps), RMSNorm(hidden, eps)

    def forward(self, x: Tensor, rope, mask: Tensor, slow: Tensor | None, cross: Tensor) -> Tensor:
        normed = self.input_layernorm(slow) if self.self_attn.hybrid and slow is not None else None
        x = x + self.self_attn(self.input_layernorm(x), rope, mask, normed, cross)
        return x + self.mlp(self.post_attention_layernorm(x))


class SlowFast(nn.Module):
    def __init__(self, config: dict, depths: list[int], widths: list[int], head_classes: int = 0):
        super().__init__()
        self.config = config
        self.every_position = config.get("cross_attn_implementation", "").startswith("vanilla")
        hidden, layers = config["hidden_size"], config["num_hidden_layers"]
        every = config.get("cross_attn_every_n_layers")
        first, last = config.get("cross_attn_min_layer_depth") or 0, config.get("cross_attn_max_layer_depth") or layers
        hybrid = set(range(first, last, every)) if every else set()
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(config["vocab_size"], hidden)
        self.model.layers = nn.ModuleList([Layer(config, i in hybrid) for i in range(layers)])
        self.model.norm = RMSNorm(hidden, config["rms_norm_eps"])
        self.model.vision_tower = nn.Module()
        self.model.vision_tower.vision_tower = ConvNeXt(depths, widths, head_classes)
        self.model.mm_projector = projector(config["mm_projector_type"], widths[-1], hidden)
        self.lm_head = nn.Linear(hidden, config["vocab_size"], bias=False)
        if config.get("tie_word_embeddings"):
            self.lm_head.weight = self.model.embed_tokens.weight

    @property
    def tower(self) -> ConvNeXt:
        return self.model.vision_tower.vision_tower

    def pixels(self, frames: Tensor) -> Tensor:
        """Frames [n, S, S, 3] u8 → normalised pixels [n, 3, S, S]."""
        x = frames.float().div(255).sub(MEAN.to(frames.device)).div(DEVIATION.to(frames.device))
        return x.permute(0, 3, 1, 2)

    def pool(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tower features [B, T, n, C] → projected [B, T, n, D], slow tokens [B, ·, D], fast tokens [B, ·, D]."""
        projected = self.model.mm_projector(features)
        clips, frames, positions, width = projected.shape
        side = round(positions**0.5)
        maps = projected.view(clips, frames, side, side, width)
        stride = self.config.get("mm_video_pooling_stride") or 1
        if frames > 1 and stride > 1:
            maps = average(maps, stride)
        fast = maps
        if frames > 1:
            fast = self._fast_frames(maps)
        spatial = self.config["fast_token_spatial_stride"]
        if spatial > 1:
            fast = average(fast, spatial)
        return projected, maps.flatten(1, 3), fast.flatten(1, 3)

    def _fast_frames(self, maps: Tensor) -> Tensor:
        least, frames = self.config["min_fast_frames"], maps.shape[1]
        sampling, temporal = self.config["fast_token_temporal_sampling_stride"], self.config["fast_token_temporal_stride"]
        if sampling > 1 and frames >= least:
            count = max(frames // sampling, least)
            maps = maps[:, [min(int(i * frames / count), frames - 1) for i in range(count)]]
            frames = count
        along = maps.flatten(2).transpose(1, 2)
        if frames // temporal >= least:
            along = F.avg_pool1d(along, temporal)
        else:
            along = F.adaptive_avg_pool1d(along, min(frames, least))
        return along.transpose(1, 2).reshape(maps.shape[0], -1, *maps.shape[2:])

    def forward(
        self, x: Tensor, positions: Tensor, mask: Tensor, slow: Tensor | None, cross: Tensor, hidden: list | None = None
    ) -> Tensor:
        """Embeddings x [B, L, D] → final normed states [B, L, D]; appends every layer's output to `hidden` if given."""
        size = self.config["hidden_size"] // self.config["num_attention_heads"]
        rope = rope_of(positions, size, self.config["rope_theta"])
        for layer in self.model.layers:
            if hidden is not None:
                hidden.append(x)
            x = layer(x, rope, mask, slow, cross)
        x = self.model.norm(x)
        if hidden is not None:
            hidden.append(x)
        return x


def average(maps: Tensor, stride: int) -> Tensor:
    """Average pooling [B, T, h, w, D] → [B, T, h/stride, w/stride, D]."""
    clips, frames = maps.shape[:2]
    pooled = F.avg_pool2d(maps.flatten(0, 1).permute(0, 3, 1, 2), stride).permute(0, 2, 3, 1)
    return pooled.view(clips, frames, *pooled.shape[1:])


def projector(kind: str, width: int, hidden: int) -> nn.Module:
    if kind == "identity":
        return nn.Identity()
    if kind == "linear":
        return nn.Linear(width, hidden)
    depth = int(re.fullmatch(r"mlp(\d+)x_gelu", kind).group(1))
    parts = [nn.Linear(width, hidden)]
    for _ in range(depth - 1):
        parts += [nn.GELU(), nn.Linear(hidden, hidden)]
    return nn.Sequential(*parts)


def causal(length: int, device=None) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()[None, None]


def load(folder: Path) -> SlowFast:
    """A checkpoint directory, weights as float32."""
    config = json.loads((folder / "config.json").read_text())
    state = {}
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, "pt") as file:
            state.update({name: file.get_tensor(name).float() for name in file.keys()})
    tower = "model.vision_tower.vision_tower."
    depths, widths = [], []
    while f"{tower}stages.{len(depths)}.blocks.0.conv_dw.weight" in state:
        at = f"{tower}stages.{len(depths)}.blocks."
        widths.append(state[at + "0.conv_dw.weight"].shape[0])
        depths.append(sum(re.fullmatch(re.escape(at) + r"\d+\.conv_dw\.weight", name) is not None for name in state))
    head = state.get(tower + "head.fc.bias", torch.empty(0)).numel()
    model = SlowFast(config, depths, widths, head)
    if config.get("tie_word_embeddings"):
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state)
    return model.eval()
