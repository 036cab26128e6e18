"""LLaVA-OneVision in its original layout: config, tensor names and shapes. Used by `full_size_checkpoint.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator

from checkpoint_layout import SiglipShape


@dataclass(frozen=True)
class OnevisionShape:
    """All numbers that decide the tensors' shapes: SigLIP so400m-384 of 26 layers, and a Qwen2."""

    hidden: int = 896
    intermediate: int = 4864
    layers: int = 24
    heads: int = 14
    kv_heads: int = 2
    vocabulary: int = 151936
    tied: bool = True
    tower: SiglipShape = SiglipShape("google/siglip-so400m-patch14-384", 1152, 4304, layers=26, tokens=729, patch=14)
    positions: int = 32768

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads

    def config(self, end_of_text: int, end_of_turn: int) -> dict:
        return {
            "architectures": ["LlavaQwenForCausalLM"],
            "model_type": "llava",
            "torch_dtype": "bfloat16",
            "bos_token_id": end_of_text,
            "eos_token_id": end_of_turn,
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "max_position_embeddings": self.positions,
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.kv_heads,
            "rms_norm_eps": 1e-06,
            "rope_scaling": None,
            "rope_theta": 1000000.0,
            "tie_word_embeddings": self.tied,
            "use_sliding_window": False,
            "vocab_size": self.vocabulary,
            "image_aspect_ratio": "anyres_max_9",
            "image_grid_pinpoints": "(1x1),...,(6x6)",
            "mm_hidden_size": self.tower.width,
            "mm_patch_merge_type": "spatial_unpad",
            "mm_projector_type": "mlp2x_gelu",
            "mm_resampler_type": None,
            "mm_spatial_pool_mode": "bilinear",
            "mm_tunable_parts": "mm_vision_tower,mm_mlp_adapter,mm_language_model",
            "mm_use_im_start_end": False,
            "mm_vision_select_feature": "patch",
            "mm_vision_select_layer": -2,
            "mm_vision_tower": self.tower.name,
            "tokenizer_model_max_length": self.positions,
        }

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        hidden, middle, size = self.hidden, self.intermediate, self.head_size
        yield "model.embed_tokens.weight", (self.vocabulary, hidden)
        yield "model.image_newline", (hidden,)
        for layer in range(self.layers):
            at = f"model.layers.{layer}."
            for name, rows in (("q", hidden), ("k", self.kv_heads * size), ("v", self.kv_heads * size)):
                yield f"{at}self_attn.{name}_proj.weight", (rows, hidden)
                yield f"{at}self_attn.{name}_proj.bias", (rows,)
            yield f"{at}self_attn.o_proj.weight", (hidden, hidden)
            yield f"{at}mlp.gate_proj.weight", (middle, hidden)
            yield f"{at}mlp.up_proj.weight", (middle, hidden)
            yield f"{at}mlp.down_proj.weight", (hidden, middle)
            yield f"{at}input_layernorm.weight", (hidden,)
            yield f"{at}post_attention_layernorm.weight", (hidden,)
        yield "model.norm.weight", (hidden,)
        if not self.tied:
            yield "lm_head.weight", (self.vocabulary, hidden)
        for index, columns in ((0, self.tower.width), (2, hidden)):
            yield f"model.mm_projector.{index}.weight", (hidden, columns)
            yield f"model.mm_projector.{index}.bias", (hidden,)
        yield from self.tower.tensors()


ONEVISION_SHAPES = {
    "onevision-0.5b": OnevisionShape(),
    "onevision-7b": OnevisionShape(
        hidden=3584, intermediate=18944, layers=28, heads=28, kv_heads=4, vocabulary=152064, tied=False),
}
