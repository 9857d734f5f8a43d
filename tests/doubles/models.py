"""A tiny model in Hugging Face layout, written byte by byte: no torch, no transformers."""

import hashlib
import json
import struct
from pathlib import Path

CONFIG = {
    "model_type": "qwen2",
    "architectures": ["Qwen2ForCausalLM"],
    "num_hidden_layers": 2,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 32,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
}


def safetensors(tensors: dict[str, tuple[str, list[int], bytes]]) -> bytes:
    """A safetensors file with the tensors (type, shape, content) by name."""
    header, body = {}, b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(content)]}
        body += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def weights(rows: int = 32, fill: int = 1) -> bytes:
    """Weights of one bf16 tensor of `rows` x 8."""
    return safetensors({"model.embed_tokens.weight": ("BF16", [rows, 8], bytes([fill]) * rows * 16)})


def write_model(folder: Path, *, fill: int = 1, rows: int = 32) -> Path:
    """A whole single-file model."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights(rows, fill))
    return folder


def write_sharded(folder: Path) -> Path:
    """A whole model in two shards with an index."""
    write_model(folder)
    (folder / "model.safetensors").unlink()
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    for tensor, name in names.items():
        (folder / name).write_bytes(safetensors({tensor: ("F32", [4], bytes(16))}))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    return folder


def git_sha1(content: bytes) -> str:
    """Git's name of a blob."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
