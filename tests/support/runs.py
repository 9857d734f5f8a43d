"""Small models, rows and set-ups for tests of the training core."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.options import parse
from quickalign.data.encode import EncodedPair, EncodedSample

VOCABULARY = 160
PAD = 0


def small_model(seed: int = 0, dtype: torch.dtype = torch.float32, **changes: Any) -> PreTrainedModel:
    """A random two-layer Qwen2 of Qwen2-0.5B's proportions."""
    torch.manual_seed(seed)
    settings = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "pad_token_id": PAD,
        "bos_token_id": None,
        "eos_token_id": 1,
    }
    model = Qwen2ForCausalLM(Qwen2Config(**{**settings, **changes}))
    return model.to(dtype)


def random_pairs(count: int, seed: int = 0, prompt: int = 12, answer: int = 9) -> list[EncodedPair]:
    """Pairs of random tokens with lengths up to `prompt` and `answer`."""
    rng = np.random.default_rng(seed)

    def tokens(longest: int) -> np.ndarray:
        return rng.integers(2, VOCABULARY, rng.integers(1, longest + 1)).astype(np.int32)

    return [EncodedPair(row + 1, tokens(prompt), tokens(answer), tokens(answer)) for row in range(count)]


def random_samples(count: int, seed: int = 0) -> list[EncodedSample]:
    """Samples of random tokens."""
    return [EncodedSample(pair.row, pair.prompt, pair.chosen) for pair in random_pairs(count, seed)]


def dpo(**options: Any) -> Hyperparameters:
    """Options of a small dpo run in fp32 on unquantised weights."""
    defaults = {
        "training_strategy": "dpo",
        "load_in_4bit": False,
        "precision": "fp32",
        "learning_rate": 1e-3,
        "lora_dim": 8,
        "lora_alpha": 16,
    }
    return parse({**defaults, **options})


def save_model(model: PreTrainedModel, folder: Path) -> Path:
    """A model as a folder without a tokenizer."""
    model.save_pretrained(folder)
    return folder
