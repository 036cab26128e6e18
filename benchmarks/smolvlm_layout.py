"""SmolVLM2's layout: config, preprocessing, tensor names and shapes. Used by `full_size_checkpoint.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator


@dataclass(frozen=True)
class SmolVLMShape:
    """All numbers that decide the tensors' shapes: SigLIP base-512, and a Llama with SmolLM2's vocabulary."""

    hidden: int = 960
    intermediate: int = 2560
    layers: int = 32
    heads: int = 15
    kv_heads: int = 5
    vocabulary: int = 49280
    tied: bool = False
    tower_width: int = 768
    tower_inner: int = 3072
    tower_layers: int = 12
    tower_heads: int = 12
    image: int = 512
    patch: int = 16
    scale: int = 4

    def config(self, image_token: int = 49190, end: int = 49279) -> dict:
        return {
            "architectures": ["SmolVLMForConditionalGeneration"],
            "model_type": "smolvlm",
            "torch_dtype": "bfloat16",
            "image_token_id": image_token,
            "scale_factor": self.scale,
            "tie_word_embeddings": self.tied,
            "text_config": {
                "model_type": "llama",
                "eos_token_id": end,
                "head_dim": self.hidden // self.heads,
                "hidden_size": self.hidden,
                "intermediate_size": self.intermediate,
                "max_position_embeddings": 8192,
                "num_attention_heads": self.heads,
                "num_hidden_layers": self.layers,
                "num_key_value_heads": self.kv_heads,
                "rms_norm_eps": 1e-05,
                "rope_theta": 100000,
                "vocab_size": self.vocabulary,
            },
            "vision_config": {
                "model_type": "smolvlm_vision",
                "hidden_size": self.tower_width,
                "image_size": self.image,
                "intermediate_size": self.tower_inner,
                "num_attention_heads": self.tower_heads,
                "num_hidden_layers": self.tower_layers,
                "patch_size": self.patch,
            },
        }

    def preprocessor(self) -> dict:
        side = {"longest_edge": self.image}
        return {
            "image_processor_type": "SmolVLMImageProcessor",
            "do_image_splitting": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
            "resample": 1,
            "size": {"longest_edge": 4 * self.image},
            "max_image_size": side,
            "video_sampling": {"fps": 1, "max_frames": 64, "video_size": side},
        }

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        hidden, middle, size = self.hidden, self.intermediate, self.hidden // self.heads
        text = "model.text_model."
        yield text + "embed_tokens.weight", (self.vocabulary, hidden)
        for layer in range(self.layers):
            at = f"{text}layers.{layer}."
            for name, rows in (("q", hidden), ("k", self.kv_heads * size), ("v", self.kv_heads * size), ("o", hidden)):
                yield f"{at}self_attn.{name}_proj.weight", (rows, hidden)
            yield f"{at}mlp.gate_proj.weight", (middle, hidden)
            yield f"{at}mlp.up_proj.weight", (middle, hidden)
            yield f"{at}mlp.down_proj.weight", (hidden, middle)
            yield f"{at}input_layernorm.weight", (hidden,)
            yield f"{at}post_attention_layernorm.weight", (hidden,)
        yield text + "norm.weight", (hidden,)
        if not self.tied:
            yield "lm_head.weight", (self.vocabulary, hidden)
        width, inner = self.tower_width, self.tower_inner
        yield "model.connector.modality_projection.proj.weight", (hidden, width * self.scale**2)
        tower = "model.vision_model."
        yield tower + "embeddings.patch_embedding.weight", (width, 3, self.patch, self.patch)
        yield tower + "embeddings.patch_embedding.bias", (width,)
        yield tower + "embeddings.position_embedding.weight", ((self.image // self.patch) ** 2, width)
        for layer in range(self.tower_layers):
            at = f"{tower}encoder.layers.{layer}."
            for name in ("q", "k", "v", "out"):
                yield f"{at}self_attn.{name}_proj.weight", (width, width)
                yield f"{at}self_attn.{name}_proj.bias", (width,)
            for name, shape in (("fc1", (inner, width)), ("fc2", (width, inner))):
                yield f"{at}mlp.{name}.weight", shape
                yield f"{at}mlp.{name}.bias", (shape[0],)
            for name in ("layer_norm1", "layer_norm2"):
                yield f"{at}{name}.weight", (width,)
                yield f"{at}{name}.bias", (width,)
        yield tower + "post_layernorm.weight", (width,)
        yield tower + "post_layernorm.bias", (width,)


SMOLVLM_SHAPES = {
    "smolvlm2-256m": SmolVLMShape(hidden=576, intermediate=1536, layers=30, heads=9, kv_heads=3),
    "smolvlm2-500m": SmolVLMShape(),
}


def added_tokens() -> dict[int, str]:
    """What SmolVLM2 adds to SmolLM2's 49152 tokens, by id."""
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    names = ["<global-img>", *tiles, "<fake_token_around_image>", "<image>"]
    return {49152 + index: name for index, name in enumerate(names)} | {49279: "<end_of_utterance>"}
