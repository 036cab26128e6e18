#!/usr/bin/env python3
"""Trains the demonstration model's tokenizer: byte-level BPE in Qwen2's format, on the questions and answers themselves.

    tokenizer.py DIR

Writes tokenizer.json and tokenizer_config.json. Special tokens take the last three of the 512 ids.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from draw import digit_split
from questions import questions
from world import sample_scene

VOCABULARY = 512
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BEFORE = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
AFTER = "\n{}<|im_end|>\n<|im_start|>assistant\n"
GENERAL = (
    "Answer with one word. What can you see? Tell me about this clip. Please describe it in detail. Yes, it is. No, it is not. "
    "the a an of and to in is it that for on with as at by from this which who how why when where there their then than")


def corpus(scenes: int = 1500):
    rng = np.random.default_rng(20)
    digits = digit_split(test=False)
    for text in (BEFORE + AFTER).split("<|im_"):
        yield from [text.split("|>")[-1]] * 3000  # the template in as few tokens as its words
    yield from [GENERAL] * 5
    for _ in range(scenes):
        for item in questions(sample_scene(rng, digits), rng):
            yield item.question
            yield item.answer


def train() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    if tokenizer.get_vocab_size() != VOCABULARY - len(SPECIAL):
        raise ValueError(f"the corpus gives {tokenizer.get_vocab_size()} tokens, expected {VOCABULARY - len(SPECIAL)}")
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    return tokenizer


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train()
    tokenizer.save(str(folder / "tokenizer.json"))
    plain = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    settings = {
        "add_prefix_space": False,
        "added_tokens_decoder": {str(tokenizer.token_to_id(text)): {"content": text, **plain} for text in SPECIAL},
        "additional_special_tokens": list(SPECIAL[1:]),
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": SPECIAL[2],
        "errors": "replace",
        "model_max_length": 4096,
        "pad_token": SPECIAL[0],
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


class Prompts:
    """The prompt's pieces as token ids: what stands before the image, and from the image to the answer."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer, self.known = tokenizer, {}
        self.before = self.ids(BEFORE)
        self.end = tokenizer.token_to_id("<|im_end|>")

    def ids(self, text: str) -> list[int]:
        if text not in self.known:
            if len(self.known) > 100_000:
                self.known.clear()
            self.known[text] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return self.known[text]

    def question(self, text: str) -> list[int]:
        return self.ids(AFTER.format(text))

    def answer(self, text: str) -> list[int]:
        return [*self.ids(text), self.end]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write(Path(sys.argv[1]))
