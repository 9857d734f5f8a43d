"""A model of Qwen2's shape as a GGUF file, for measuring against llama.cpp: `make_gguf.py FOLDER FILE [--type TYPE]`.

Needs `pip install gguf`. Only what benchmarks need: the weights and the tokenizer of a folder with one safetensors file,
a byte-level vocabulary and untied biases as in Qwen2. Ids that the tokenizer does not use become unused tokens.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file

TYPES = {
    "f32": gguf.GGMLQuantizationType.F32,
    "bf16": gguf.GGMLQuantizationType.BF16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
}


def add_shape(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    """The architecture's numbers."""
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])


def add_tokenizer(writer: gguf.GGUFWriter, folder: Path, size: int) -> None:
    """The vocabulary, filled up to `size` ids, and the chat template."""
    told = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    special = {one["id"]: one["content"] for one in told["added_tokens"]}
    names = {number: text for text, number in told["model"]["vocab"].items()} | special
    kinds = [
        gguf.TokenType.UNUSED
        if number not in names
        else gguf.TokenType.CONTROL
        if number in special
        else gguf.TokenType.NORMAL
        for number in range(size)
    ]
    merges = [one if isinstance(one, str) else " ".join(one) for one in told["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([names.get(number, f"[unused{number}]") for number in range(size)])
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(next(number for number, text in special.items() if text == "<|im_end|>"))
    writer.add_chat_template((folder / "chat_template.jinja").read_text(encoding="utf-8"))


def add_weights(writer: gguf.GGUFWriter, folder: Path, layers: int, kind: gguf.GGMLQuantizationType) -> None:
    """Every tensor under its name in GGUF: matrices in `kind`, vectors in fp32."""
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, layers)
    for name, tensor in load_file(folder / "model.safetensors").items():
        values: NDArray[np.float32] = tensor.float().numpy()
        stored = kind if values.ndim > 1 else TYPES["f32"]
        target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        writer.add_tensor(target, gguf.quantize(values, stored), raw_dtype=stored)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--type", choices=TYPES, default="f32")
    given = parser.parse_args()
    config = json.loads((given.folder / "config.json").read_text(encoding="utf-8"))
    writer = gguf.GGUFWriter(given.file, "qwen2")
    add_shape(writer, config)
    add_tokenizer(writer, given.folder, config["vocab_size"])
    add_weights(writer, given.folder, config["num_hidden_layers"], TYPES[given.type])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{given.file}: {given.file.stat().st_size / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
