"""Makes Tests/Golden/smolvlm: a small random SmolVLM2 in the published layout, and what transformers makes of a clip, a picture and
two pictures at every stage.

    python make_smolvlm.py [DIRECTORY]

needs torch, torchvision, transformers 5.2, num2words, and Pillow below 13 (which resizes as the models were trained). The frames of a clip
go through the image processor, with Lanczos and without tiles, as the models saw them: today's video processor has no Lanczos.
"""
import json
import os
import sys

import numpy as np
import PIL
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, SmolVLMForConditionalGeneration
from transformers.models.smolvlm.image_processing_smolvlm import SmolVLMImageProcessor
from transformers.models.smolvlm.processing_smolvlm import DEFAULT_CHAT_TEMPLATE, SmolVLMProcessor
from transformers.models.smolvlm.video_processing_smolvlm import SmolVLMVideoProcessor
from transformers.video_utils import VideoMetadata

assert int(PIL.__version__.split(".")[0]) < 13, "Pillow 13 resizes otherwise"
torch.manual_seed(5)
torch.set_num_threads(1)

SIZE, PATCH, SCALE, SIDES, VIDEO = 32, 4, 4, 4, 32
WIDTH, INNER, TOWER_LAYERS, TOWER_HEADS = 48, 96, 2, 3
HIDDEN, MLP, LAYERS, HEADS, KEY_HEADS = 64, 128, 3, 4, 2

TEXT = """You are provided the following series of frames from a video. Frame from User: Assistant: What happens in the video? A picture of
something that moves from one side to the other, and the light that is seen on it. How many people are there? There are twelve of them, in
1996 and in 2024, at 10:45. It's theirs; they've said that they'll come. Describe what you see in these pictures, please. The first one shows
a tree in front of a house, the second one the same tree in winter.
"""


def make_tokenizer():
    """SmolLM2's way: digits one by one, GPT-2's pattern, bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.decoder = decoders.ByteLevel()
    named = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>"]
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=named, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator([TEXT] * 3, trainer)
    added = ["<global-img>"] + [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    added += ["<fake_token_around_image>", "<image>", "<end_of_utterance>"]
    tokenizer.add_special_tokens(added)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<end_of_utterance>", pad_token="<|im_end|>",
        unk_token="<|endoftext|>", additional_special_tokens=["<fake_token_around_image>", "<image>", "<end_of_utterance>"],
        model_max_length=8192, clean_up_tokenization_spaces=False)


def make_weights(vocabulary):
    def normal(*shape, std):
        return torch.randn(*shape) * std

    weights = {}

    def linear(name, rows, columns, std, bias=False):
        weights[name + ".weight"] = normal(rows, columns, std=std / columns**0.5)
        if bias:
            weights[name + ".bias"] = normal(rows, std=0.1)

    def norm(name, width, bias=False):
        weights[name + ".weight"] = 1 + normal(width, std=0.2)
        if bias:
            weights[name + ".bias"] = normal(width, std=0.2)

    tower = "model.vision_model."
    weights[tower + "embeddings.patch_embedding.weight"] = normal(WIDTH, 3, PATCH, PATCH, std=0.15)
    weights[tower + "embeddings.patch_embedding.bias"] = normal(WIDTH, std=0.1)
    weights[tower + "embeddings.position_embedding.weight"] = normal((SIZE // PATCH) ** 2, WIDTH, std=0.3)
    for index in range(TOWER_LAYERS):
        layer = f"{tower}encoder.layers.{index}."
        norm(layer + "layer_norm1", WIDTH, bias=True)
        norm(layer + "layer_norm2", WIDTH, bias=True)
        for name in ("q_proj", "k_proj", "v_proj"):
            linear(layer + "self_attn." + name, WIDTH, WIDTH, 1.2, bias=True)
        linear(layer + "self_attn.out_proj", WIDTH, WIDTH, 0.7, bias=True)
        linear(layer + "mlp.fc1", INNER, WIDTH, 1, bias=True)
        linear(layer + "mlp.fc2", WIDTH, INNER, 0.7, bias=True)
    norm(tower + "post_layernorm", WIDTH, bias=True)
    linear("model.connector.modality_projection.proj", HIDDEN, WIDTH * SCALE * SCALE, 0.5)
    text = "model.text_model."
    head = HIDDEN // HEADS
    weights[text + "embed_tokens.weight"] = normal(vocabulary, HIDDEN, std=0.5)
    for index in range(LAYERS):
        layer = f"{text}layers.{index}."
        norm(layer + "input_layernorm", HIDDEN)
        norm(layer + "post_attention_layernorm", HIDDEN)
        linear(layer + "self_attn.q_proj", HEADS * head, HIDDEN, 1)
        linear(layer + "self_attn.k_proj", KEY_HEADS * head, HIDDEN, 1)
        linear(layer + "self_attn.v_proj", KEY_HEADS * head, HIDDEN, 1)
        linear(layer + "self_attn.o_proj", HIDDEN, HEADS * head, 0.7)
        linear(layer + "mlp.gate_proj", MLP, HIDDEN, 1)
        linear(layer + "mlp.up_proj", MLP, HIDDEN, 1)
        linear(layer + "mlp.down_proj", HIDDEN, MLP, 0.7)
    norm(text + "norm", HIDDEN)
    weights["lm_head.weight"] = normal(vocabulary, HIDDEN, std=0.5)
    return {name: value.bfloat16().contiguous() for name, value in weights.items()}


def write(directory, tokenizer):
    os.makedirs(directory, exist_ok=True)

    def dump(name, value):
        with open(os.path.join(directory, name), "w") as file:
            json.dump(value, file, indent=2)
            file.write("\n")

    identity = tokenizer.convert_tokens_to_ids
    vocabulary = (len(tokenizer) + 31) // 32 * 32
    dump("config.json", {
        "architectures": ["SmolVLMForConditionalGeneration"], "image_token_id": identity("<image>"), "model_type": "smolvlm",
        "pad_token_id": identity("<|im_end|>"), "scale_factor": SCALE,
        "text_config": {
            "architectures": ["VLlama3ForCausalLM"], "head_dim": HIDDEN // HEADS, "hidden_size": HIDDEN, "intermediate_size": MLP,
            "is_llama_config": True, "max_position_embeddings": 8192, "model_type": "llama", "num_attention_heads": HEADS,
            "num_hidden_layers": LAYERS, "num_key_value_heads": KEY_HEADS, "pad_token_id": identity("<|im_end|>"),
            "pixel_shuffle_factor": SCALE, "qk_layer_norms": False, "rms_norm_eps": 1e-05, "rope_interleaved": False,
            "rope_theta": 100000, "torch_dtype": "bfloat16", "use_resampler": False, "vocab_size": vocabulary},
        "tie_word_embeddings": False, "torch_dtype": "bfloat16", "transformers_version": "4.47.1", "use_cache": True,
        "vision_config": {
            "hidden_size": WIDTH, "image_size": SIZE, "intermediate_size": INNER, "max_image_size": {"longest_edge": SIZE},
            "model_type": "smolvlm_vision", "num_attention_heads": TOWER_HEADS, "num_hidden_layers": TOWER_LAYERS, "patch_size": PATCH,
            "size": {"longest_edge": SIDES * SIZE}, "tie_word_embeddings": False, "use_base_siglip": False},
        "vocab_size": vocabulary})
    dump("generation_config.json", {
        "_from_model_config": True, "bos_token_id": identity("<|im_start|>"), "eos_token_id": identity("<end_of_utterance>"),
        "pad_token_id": identity("<|im_end|>"), "transformers_version": "4.47.1"})
    dump("preprocessor_config.json", {
        "do_convert_rgb": True, "do_image_splitting": True, "do_normalize": True, "do_pad": True, "do_rescale": True, "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5], "image_processor_type": "SmolVLMImageProcessor", "image_std": [0.5, 0.5, 0.5],
        "max_image_size": {"longest_edge": SIZE}, "processor_class": "SmolVLMProcessor", "resample": 1,
        "rescale_factor": 0.00392156862745098, "size": {"longest_edge": SIDES * SIZE},
        "video_sampling": {"fps": 1, "max_frames": 64, "video_size": {"longest_edge": VIDEO}}})
    dump("processor_config.json", {"image_seq_len": (SIZE // PATCH // SCALE) ** 2, "processor_class": "SmolVLMProcessor"})
    dump("chat_template.json", {"chat_template": DEFAULT_CHAT_TEMPLATE})
    tokenizer.backend_tokenizer.save(os.path.join(directory, "tokenizer.json"))
    tokens = {
        str(index): {
            "content": token.content, "lstrip": token.lstrip, "normalized": token.normalized, "rstrip": token.rstrip,
            "single_word": token.single_word, "special": token.special}
        for index, token in sorted(tokenizer.added_tokens_decoder.items())}
    dump("tokenizer_config.json", {
        "add_prefix_space": False, "added_tokens_decoder": tokens,
        "additional_special_tokens": ["<fake_token_around_image>", "<image>", "<end_of_utterance>"], "bos_token": "<|im_start|>",
        "clean_up_tokenization_spaces": False, "eos_token": "<end_of_utterance>", "legacy": False, "model_max_length": 8192,
        "pad_token": "<|im_end|>", "processor_class": "SmolVLMProcessor", "tokenizer_class": "GPT2Tokenizer", "truncation_side": "left",
        "unk_token": "<|endoftext|>", "vocab_size": 49152})
    save_file(make_weights(vocabulary), os.path.join(directory, "model.safetensors"), metadata={"format": "pt"})


def picture(seed, height, width):
    """Soft blobs with noise on them."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (max(2, height // 6), max(2, width // 6), 3), dtype=np.uint8)
    soft = np.asarray(Image.fromarray(small).resize((width, height), Image.BICUBIC)).astype(int)
    return (soft + random.integers(-30, 30, soft.shape)).clip(0, 255).astype(np.uint8)


class Reference:
    """transformers' model and processor of a directory."""

    def __init__(self, directory):
        self.model = SmolVLMForConditionalGeneration.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(directory)
        with open(os.path.join(directory, "preprocessor_config.json")) as file:
            self.settings = json.load(file)
        with open(os.path.join(directory, "processor_config.json")) as file:
            length = json.load(file)["image_seq_len"]
        self.pictures = SmolVLMImageProcessor(**self.settings)
        sampling = {**self.settings["video_sampling"]}
        self.processor = SmolVLMProcessor(
            self.pictures, self.tokenizer, SmolVLMVideoProcessor(video_sampling=sampling), image_seq_len=length,
            chat_template=DEFAULT_CHAT_TEMPLATE)

    def prompt(self, kind, count, question, system=None):
        content = [{"type": kind} for _ in range(count)] + [{"type": "text", "text": question}]
        turns = [] if system is None else [{"role": "system", "content": [{"type": "text", "text": system}]}]
        return self.processor.apply_chat_template(turns + [{"role": "user", "content": content}], add_generation_prompt=True)

    def run(self, prompt, images=(), clip=None, rate=None, total=None, indices=None, generate=16):
        if clip is not None:
            size = self.settings["video_sampling"]["video_size"]
            made = self.pictures([[Image.fromarray(frame) for frame in clip]], size=size, do_image_splitting=False, return_tensors="pt")
            metadata = VideoMetadata(
                total_num_frames=total or len(clip), fps=rate, duration=total / rate if total and rate else None,
                frames_indices=list(indices) if indices is not None else list(range(len(clip))))
            text = self.processor.expand_text_with_video_tokens(
                [prompt], {"pixel_values": made["pixel_values"], "video_metadata": [metadata]})[0]
        elif len(images):
            made = self.pictures([[Image.fromarray(image) for image in images]], return_row_col_info=True, return_tensors="pt")
            text = self.processor.expand_text_with_image_tokens([prompt], made["rows"], made["cols"])[0]
        else:
            made, text = None, prompt
        ids = torch.tensor([self.tokenizer(text)["input_ids"]])
        result = {}
        pixels = None
        if made is not None:
            pixels = made["pixel_values"].float()
            assert bool(made["pixel_attention_mask"].all())
            result["pixel_values"] = pixels[0]
        with torch.no_grad():
            if pixels is not None:
                features = self.model.model.get_image_features(pixels, made["pixel_attention_mask"])
                result["vision_features"] = features.last_hidden_state
                result["projected"] = features.pooler_output
                result["visual_tokens"] = result["projected"].flatten(0, 1)
            output = self.model(input_ids=ids, pixel_values=pixels, output_hidden_states=True)
            result["hidden_states"] = torch.stack([state[0] for state in output.hidden_states])
            result["inputs_embeds"] = result["hidden_states"][0]
            result["logits"] = output.logits[0]
            generated, margins = [], []
            logits, cache = output.logits, output.past_key_values
            for _ in range(generate):
                best = logits[0, -1].topk(2)
                generated.append(int(best.indices[0]))
                margins.append(float(best.values[0] - best.values[1]))
                step = self.model(input_ids=torch.tensor([[generated[-1]]]), past_key_values=cache)
                logits, cache = step.logits, step.past_key_values
        result["prompt_ids"] = ids[0].int()
        result["generated"] = torch.tensor(generated).int()
        result["top2_margin"] = torch.tensor(margins)
        return result, text


def save(path, inputs, result, prompt, text, few=None):
    tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}
    for name, value in result.items():
        # Of many tiles the first are enough.
        if few and name in ("pixel_values", "vision_features"):
            value = value[:few]
        tensors[name] = value.contiguous()
    tensors["hidden_states"] = tensors["hidden_states"].contiguous()
    save_file({k: v.contiguous().clone() for k, v in tensors.items()}, path, metadata={"prompt": prompt, "text": text})


def main():
    directory = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "smolvlm")
    write(directory, make_tokenizer())
    reference = Reference(directory)
    clip = np.stack([picture(index, 42, 60) for index in range(3)])
    prompt = reference.prompt("video", 1, "What happens in the video?")
    result, text = reference.run(prompt, clip=clip)
    save(os.path.join(directory, "golden.safetensors"), {"frames": clip}, result, prompt, text)
    image = picture(10, 40, 75)
    prompt = reference.prompt("image", 1, "What is there at 10:45?")
    result, text = reference.run(prompt, images=[image])
    save(os.path.join(directory, "golden-image.safetensors"), {"image": image}, result, prompt, text, few=4)
    images = [picture(11, 90, 44), picture(12, 20, 52)]
    prompt = reference.prompt("image", 2, "Describe the pictures.", system="It's a tree.")
    result, text = reference.run(prompt, images=images)
    save(os.path.join(directory, "golden-images.safetensors"), {f"image{i}": v for i, v in enumerate(images)}, result, prompt, text, few=2)
    for name in sorted(os.listdir(directory)):
        print(f"{os.path.getsize(os.path.join(directory, name)):9} {name}")


if __name__ == "__main__":
    main()
