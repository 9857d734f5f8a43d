"""Tiny random models and rows, and an oracle that scores one sequence at a time."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import Qwen2Config, Qwen2ForCausalLM
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm

from quickalign.data.encode import EncodedPair, EncodedSample

VOCAB = 97


def tiny_model(dtype: torch.dtype = torch.float64, **changes: Any) -> Qwen2ForCausalLM:
    torch.manual_seed(7)
    settings: dict[str, Any] = {
        "vocab_size": VOCAB,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "tie_word_embeddings": True,
        "use_cache": False,
        "initializer_range": 0.2,
    }
    model: Qwen2ForCausalLM = Qwen2ForCausalLM(Qwen2Config(**settings | changes)).eval()
    if dtype == torch.float64:
        exact_norms(model)
    nn.Module.to(model, dtype)
    return model


def exact_norms(model: nn.Module) -> None:
    """Qwen2's own RMSNorm rounds to fp32 inside, which would hide differences below 1e-6; torch's does not."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Qwen2RMSNorm):
                norm = nn.RMSNorm(child.weight.shape[0], eps=child.variance_epsilon)
                torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
                setattr(parent, name, norm)


def with_adapter(model: nn.Module, dtype: torch.dtype = torch.float64) -> Any:
    """A LoRA adapter whose B is not zero, so that its effect and its gradients are seen."""
    torch.manual_seed(8)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    return get_peft_model(model, config).to(dtype)


def make_pair(row: int, prompt: Any, chosen: Any, rejected: Any) -> Any:
    arrays = [np.asarray(ids, dtype=np.int32) for ids in (prompt, chosen, rejected)]
    return EncodedPair(row, *arrays)


def make_sample(row: int, prompt: Sequence[int], response: Sequence[int]) -> Any:
    return EncodedSample(row, np.asarray(prompt, dtype=np.int32), np.asarray(response, dtype=np.int32))


def random_pairs(count: int, seed: int = 0, longest: int = 12) -> list[Any]:
    source = np.random.default_rng(seed)

    def ids(low: int) -> np.ndarray:
        return source.integers(1, VOCAB, source.integers(low, longest + 1))

    return [make_pair(row, ids(1), ids(1), ids(1)) for row in range(1, count + 1)]


def one_by_one(model: nn.Module, prompt: Sequence[int], answer: Sequence[int]) -> Tensor:
    """The oracle: no batch, no padding, no packing; the softmax written out."""
    ids = torch.tensor([[*prompt, *answer]], dtype=torch.int64)
    logits = model(input_ids=ids).logits[0]
    total = torch.zeros((), dtype=logits.dtype)
    for place in range(max(len(prompt), 1), ids.shape[1]):
        row = logits[place - 1]
        total = total + row[ids[0, place]] - torch.logsumexp(row, 0)
    return total


def by_oracle(model: nn.Module, pair: Any) -> Tensor:
    """[2]: chosen, rejected."""
    return torch.stack([one_by_one(model, pair.prompt, text) for text in (pair.chosen, pair.rejected)])


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """Take the gradients of the trainable weights away."""
    found = {name: p.grad for name, p in model.named_parameters() if p.requires_grad and p.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


@pytest.fixture(scope="session")
def toys() -> SimpleNamespace:
    names = (tiny_model, with_adapter, make_pair, make_sample, random_pairs, one_by_one, by_oracle, gradients)
    return SimpleNamespace(VOCAB=VOCAB, **{function.__name__: function for function in names})
