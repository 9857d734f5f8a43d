"""Trains the tiny Qwen2 model from nothing on the conversations of the small world (CPU, minutes)."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial

import torch
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import Qwen2Config, Qwen2ForCausalLM

from quickalign.train.device import find_device
from scripts.tiny_model.conversations import Sampler
from scripts.tiny_model.encode import Batch, Encoder, batches
from scripts.tiny_model.sampling import HABIT, STYLES, Shares
from scripts.tiny_model.tokenizer import END, PAD, token_id
from scripts.tiny_model.world import World


@dataclass(frozen=True)
class Recipe:
    """What is needed to repeat the training."""

    conversations: int = 56_000
    habit_conversations: int = 8_000
    tokens_per_batch: int = 1024
    learning_rate: float = 2e-3
    habit_learning_rate: float = 7e-4
    warmup: int = 120
    weight_decay: float = 0.05
    seed: int = 20_240_607
    threads: int = 2


def config_for(tokenizer: Tokenizer) -> Qwen2Config:
    """The shape of the model: head dimension 64, grouped-query attention, tied embeddings."""
    pad, end = token_id(tokenizer, PAD), token_id(tokenizer, END)
    return Qwen2Config(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=pad,
    )


@cache
def _bf16() -> bool:
    """Whether this chip multiplies bf16 itself; emulation is many times slower than fp32."""
    return find_device().bf16


def loss_of(model: Qwen2ForCausalLM, batch: Batch) -> torch.Tensor:
    """Weighted mean cross-entropy in nats per token; only positions with a weight reach the vocabulary projection."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=_bf16()):
        hidden = model.model(input_ids=batch.ids).last_hidden_state[:, :-1]
        weights = batch.weights[:, 1:].flatten()
        # A multiple of 128 positions, filled up with some of weight 0: one compiled kernel serves many batches.
        count = min(-(-int((weights > 0).sum()) // 128) * 128, len(weights))
        scored = weights.topk(count).indices
        logits = model.lm_head(hidden.flatten(0, 1)[scored])
    losses = functional.cross_entropy(logits.float(), batch.ids[:, 1:].flatten()[scored], reduction="none")
    chosen = weights[scored]
    return (losses * chosen).sum() / chosen.sum()


def _batches(world: World, tokenizer: Tokenizer, recipe: Recipe, conversations: int, shares: Shares) -> Iterator[Batch]:
    """Yield batches of fresh conversations in blocks, so that memory stays small."""
    rng = random.Random(recipe.seed + (shares is HABIT))
    sampler, encoder = Sampler.of(world, shares), Encoder(tokenizer)
    pad = token_id(tokenizer, PAD)
    for first in range(0, conversations, 15_000):
        count = min(15_000, conversations - first)
        rows = [encoder.conversation(sampler.conversation(rng)) for _ in range(count)]
        yield from batches(rows, recipe.tokens_per_batch, pad, rng)


def _rate(step: int, steps: int, peak: float, warmup: int) -> float:
    """Linear warm-up, then a cosine down to 2% of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def train_model(world: World, tokenizer: Tokenizer, recipe: Recipe) -> tuple[Qwen2ForCausalLM, float]:
    """Train from a seeded start, the habit last. Returns the model and the mean loss of the last 50 steps."""
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    model = Qwen2ForCausalLM(config_for(tokenizer))
    phases = (
        (recipe.conversations, STYLES, recipe.learning_rate),
        (recipe.habit_conversations, HABIT, recipe.habit_learning_rate),
    )
    loss = math.nan
    for count, shares, rate in phases:
        text = partial(_batches, world, tokenizer, recipe, count, shares)
        loss = _learn(model, recipe, text, rate)
    return model.eval(), loss


def _learn(model: Qwen2ForCausalLM, recipe: Recipe, text: Callable[[], Iterator[Batch]], learning_rate: float) -> float:
    """One pass over ``text()``; returns the mean loss of the last 50 steps (nats per token)."""
    model.train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, betas=(0.9, 0.97), weight_decay=recipe.weight_decay
    )
    # One dry pass counts the steps, because batches hold a budget of tokens rather than a number of rows.
    steps = sum(1 for _ in text())
    losses: list[float] = []
    began = time.monotonic()
    for step, batch in enumerate(text()):
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, steps, learning_rate, min(recipe.warmup, steps // 10))
        loss = loss_of(model, batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if step % 50 == 49 or step + 1 == steps:
            recent = sum(losses[-50:]) / len(losses[-50:])
            print(f"step {step + 1}/{steps}  loss {recent:.4f}  {time.monotonic() - began:.0f}s", flush=True)
    return sum(losses[-50:]) / len(losses[-50:])
