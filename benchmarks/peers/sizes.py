"""What is compared: shapes of the published model, whole or with fewer layers, and their multiply-adds."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from checkpoint_layout import Shape, SiglipShape  # noqa: E402
from onevision_layout import ONEVISION_SHAPES, OnevisionShape  # noqa: E402


@dataclass(frozen=True)
class Size:
    shape: Shape | OnevisionShape
    prompts: tuple[int, ...] = (512, 1296)
    context: int = 1400  # tokens before those that are generated
    generated: int = 32
    frames: int = 64  # of the clip whose slow tokens the decoder reads
    rounds: int = 3
    torch_layers: int = 4  # of the decoder in PyTorch, whose weights are not quantized: what fits into memory beside the rest

    @property
    def key(self) -> str:
        """Names the files made for this shape."""
        return hashlib.sha256(repr(self.shape).encode()).hexdigest()[:10]

    @property
    def siglip(self) -> SiglipShape | None:
        """The tower where it is one; else it is a ConvNeXt."""
        return self.shape.tower if isinstance(self.shape, OnevisionShape) else None

    @property
    def tower_key(self) -> str:
        shape = self.shape
        measures = self.siglip or (shape.depths, shape.widths, shape.input_size)
        return hashlib.sha256(repr(measures).encode()).hexdigest()[:10]

    @property
    def input_size(self) -> int:
        """Pixels of a side."""
        return (self.siglip or self.shape).input_size

    @property
    def described(self) -> str:
        tower = f"SigLIP, {self.siglip.layers} layers of {self.siglip.width}" if self.siglip else "-".join(map(str, self.shape.depths))
        return f"tower {tower}, {self.shape.layers} decoder layers of {self.shape.hidden}"


SIZES = {
    # The published model.
    "full": Size(Shape()),
    # A third of its tower and a quarter of its decoder, every matrix of the true size. The mixture of layers stays: one decoder layer
    # in seven reads the slow tokens, and three tower blocks in four are of the third stage.
    "small": Size(Shape(depths=(1, 1, 10, 1), layers=7, cross_every=7), rounds=1),
    # Everything runs, nothing is to be learnt from the times.
    "tiny": Size(
        Shape(depths=(1, 1, 2, 1), widths=(32, 64, 96, 128), input_size=64, vocabulary=512, hidden=256, intermediate=512,
              layers=2, heads=4, kv_heads=2, cross_every=2, head_classes=0),
        prompts=(16, 40), context=48, generated=4, frames=4, rounds=2, torch_layers=2),
    # LLaVA-OneVision-0.5B, whole: SigLIP so400m at 384 pixels and Qwen2-0.5B, with the prompt that 32 frames make.
    "onevision-0.5b": Size(ONEVISION_SHAPES["onevision-0.5b"], prompts=(512, 6273), context=6300, frames=2, torch_layers=24),
    # Everything of it runs. Pixels, layers and heads of the tower are always these.
    "onevision-tiny": Size(
        OnevisionShape(
            hidden=256, intermediate=512, layers=2, heads=4, vocabulary=512,
            tower=replace(OnevisionShape().tower, width=96, inner=160)),
        prompts=(16, 40), context=48, generated=4, frames=2, rounds=2, torch_layers=2),
}


def tower_products(size: Size) -> int:
    """Multiply-adds of one frame."""
    if tower := size.siglip:
        layer = tower.tokens * tower.width * (4 * tower.width + 2 * tower.inner) + 2 * tower.tokens**2 * tower.width
        return tower.tokens * tower.width * 3 * tower.patch**2 + tower.layers * layer
    shape = size.shape
    side, total, before = shape.input_size // 4, 0, 3 * 16
    for stage, (depth, width) in enumerate(zip(shape.depths, shape.widths)):
        if stage > 0:
            side //= 2
            before = 4 * shape.widths[stage - 1]
        total += side * side * width * (before + depth * (49 + 8 * width))
    return total


def layer_products(shape: Shape | OnevisionShape) -> int:
    """Multiply-adds of a decoder layer's matrices for one token."""
    hidden, kv = shape.hidden, shape.kv_heads * shape.head_size
    return 2 * hidden * hidden + 2 * hidden * kv + 3 * hidden * shape.intermediate


def prefill_products(shape: Shape | OnevisionShape, tokens: int, layers: int | None = None) -> int:
    """Of a plain Qwen2 decoder: all layers, causal attention, the head for the last token. What ours adds for the slow tokens does not
    count."""
    layers = layers or shape.layers
    attention = shape.hidden * tokens * (tokens + 1)
    return layers * (tokens * layer_products(shape) + attention) + shape.hidden * shape.vocabulary


def step_products(shape: Shape | OnevisionShape, context: int, layers: int | None = None) -> int:
    """One generated token of a plain Qwen2 decoder."""
    return (layers or shape.layers) * (layer_products(shape) + 2 * shape.hidden * context) + shape.hidden * shape.vocabulary
