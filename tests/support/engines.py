"""Adapters and models for tests that run every engine."""

import shutil
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM

from quickalign.core import paths
from tests.support.replicas import MODEL

_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def random_adapter(folder: Path, seed: int = 5) -> Path:
    """A LoRA adapter on the embedded model whose both factors are random, so that it changes every answer."""
    torch.manual_seed(seed)
    base = AutoModelForCausalLM.from_pretrained(paths.assets() / MODEL, dtype=torch.float32)
    config = LoraConfig(
        r=4,
        lora_alpha=12,
        target_modules=["q_proj", "v_proj", "down_proj"],
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    get_peft_model(base, config).save_pretrained(folder)
    return folder


def capped_model(folder: Path) -> Path:
    """A small Gemma 2 with the embedded tokenizer: its attention caps logits, which the OpenVINO graph has no form for."""
    torch.manual_seed(1)
    config = Gemma2Config(
        vocab_size=5632,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=5631,
        pad_token_id=5629,
    )
    Gemma2ForCausalLM(config).save_pretrained(folder)
    for name in _TOKENIZER:
        shutil.copy(paths.assets() / MODEL / name, folder / name)
    return folder
