"""Writes special_tokens.json: what HuggingFace makes of special tokens, in every form in which checkpoints name them.

    pip install 'transformers==4.45.1' 'tokenizers<0.21'; python3 make_special_tokens.py 4
    pip install 'transformers==5.24.0';                   python3 make_special_tokens.py 5     # adds what only that version writes

The vocabulary is that of clip/tokenizer.json, once as it is and once as vocab.json and merges.txt.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
from transformers import AutoTokenizer  # noqa: E402

here = Path(__file__).parent
whole = json.loads((here / "clip/tokenizer.json").read_text(encoding="utf-8"))
config = json.loads((here / "clip/tokenizer_config.json").read_text(encoding="utf-8"))
merges = "#version: 0.2\n" + "".join((m if isinstance(m, str) else " ".join(m)) + "\n" for m in whole["model"]["merges"])
LARGE = {"fast": {"tokenizer.json": json.dumps(whole)}, "slow": {"vocab.json": json.dumps(whole["model"]["vocab"]), "merges.txt": merges}}
ADDED = {"<|endoftext|>": 452, "<|im_start|>": 453, "<|im_end|>": 454}
TEXTS = [
    "Hello! a!! b", "<|im_start|>user\nhi!<|im_end|>\n", " What?! the  man  is", " ! x ", "<s>a</s>[CLS] [MASK] [SEP]", "é!é\u0301 e\u0301 !",
    "<|endoftext|><tool> in", "!", "!!", "",
]


def token(content, **flags):
    return {"__type": "AddedToken", "content": content, "lstrip": False, "rstrip": False, "normalized": False, "single_word": False} | flags


def without(*keys):
    return {k: v for k, v in config.items() if k not in keys}


old = without("added_tokens_decoder")
bare = {k: v for k, v in old.items() if not k.endswith("_token") and k != "additional_special_tokens"}
roles = {"additional_special_tokens": ["<|im_start|>", "<|im_end|>"], "eos_token": "<|im_end|>", "pad_token": "!"}
objects = {"additional_special_tokens": [token("<|im_start|>"), "the"], "eos_token": token("<|im_end|>"), "pad_token": token("!"), "cls_token": "?"}
plain = {k: v | {"special": False, "normalized": True} for k, v in config["added_tokens_decoder"].items()}

both = {
    "as it is": {"tokenizer_config.json": config},
    "pad": {"tokenizer_config.json": config | {"pad_token": "!"}},
    "pad as an object": {"tokenizer_config.json": config | {"pad_token": token("!")}},
    "pad that strips": {"tokenizer_config.json": config | {"pad_token": token("!", lstrip=True)}},
    "unk and pad": {"tokenizer_config.json": config | {"pad_token": "!", "unk_token": "?"}},
    "roles of new tokens": {"tokenizer_config.json": config | {"bos_token": "<s>", "cls_token": "[CLS]", "mask_token": "[MASK]", "sep_token": "[SEP]"}},
    "additional": {"tokenizer_config.json": config | {"additional_special_tokens": ["<|im_start|>", "the", "?", token("is", rstrip=True)]}},
    "an added token that is not special": {"tokenizer_config.json": config | {
        "pad_token": "!", "added_tokens_decoder": config["added_tokens_decoder"] | {"0": token("!", special=False)}}},
    "added tokens that are not special": {"tokenizer_config.json": config | {"additional_special_tokens": [], "added_tokens_decoder": plain}},
    "the class's end": {"tokenizer_config.json": without("eos_token", "pad_token", "unk_token")},
    "a map beside added_tokens_decoder": {"tokenizer_config.json": config, "special_tokens_map.json": objects, "added_tokens.json": ADDED},
    "a map": {"tokenizer_config.json": bare, "special_tokens_map.json": roles, "added_tokens.json": ADDED},
    "a map over the config": {"tokenizer_config.json": old, "special_tokens_map.json": roles, "added_tokens.json": ADDED},
    "a map of objects": {"tokenizer_config.json": bare, "special_tokens_map.json": objects, "added_tokens.json": ADDED},
    "a map of objects over the config": {"tokenizer_config.json": old, "special_tokens_map.json": objects, "added_tokens.json": ADDED},
    "added_tokens.json": {"tokenizer_config.json": old, "added_tokens.json": ADDED},
    "added_tokens.json, no end": {"tokenizer_config.json": {k: v for k, v in old.items() if k != "eos_token"}, "added_tokens.json": ADDED},
    "added_tokens.json, no roles": {"tokenizer_config.json": {"tokenizer_class": "Qwen2Tokenizer", "clean_up_tokenization_spaces": False}, "added_tokens.json": ADDED},
    "added_tokens.json with more": {"tokenizer_config.json": old, "added_tokens.json": ADDED | {"<tool>": 455, "in": whole["model"]["vocab"].get("in", 456)}},
    "roles alone": {"tokenizer_config.json": old, "special_tokens_map.json": roles},
}
five = {
    "extra_special_tokens by name": {"tokenizer_config.json": without("additional_special_tokens") | {"extra_special_tokens": {"image_token": "the", "other": "?"}}},
    "extra_special_tokens": {"tokenizer_config.json": without("additional_special_tokens") | {"extra_special_tokens": ["<|im_start|>", "!"]}},
}


def results(form, files):
    with tempfile.TemporaryDirectory() as folder:
        small = {name: json.dumps(content) for name, content in files.items()} | {"config.json": '{"model_type": "qwen2"}'}
        for name, text in (LARGE[form] | small).items():
            Path(folder, name).write_text(text, encoding="utf-8")
        tokenizer = AutoTokenizer.from_pretrained(folder)
        made = [tokenizer.encode(text, add_special_tokens=False) for text in TEXTS]
        return {
            "endToken": tokenizer.eos_token_id, "ids": made, "decoded": [tokenizer.decode(ids) for ids in made],
            "decodedWithoutSpecial": [tokenizer.decode(ids, skip_special_tokens=True) for ids in made]}


path = here / "special_tokens.json"
found = {"texts": TEXTS, "cases": []} if sys.argv[1] == "4" else json.loads(path.read_text(encoding="utf-8"))
for name, files in (both if sys.argv[1] == "4" else five).items():
    for form in ("fast", "slow"):
        found["cases"].append({"name": name, "form": form, "files": files} | results(form, files))
path.write_text(json.dumps(found, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
