"""A plain DPO run on the sample set: the check that the tiny model and the data do what they are made for.

Deliberately apart from the product's trainer: padded rows, the textbook loss, nothing shared, so that a mistake in one
does not hide in the other. The loss is equation 7 of Rafailov et al. 2023 (arXiv:2305.18290).
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional

from scripts.tiny_model.conversations import TRAINING_SYSTEM
from scripts.tiny_model.preferences import Pair


@dataclass(frozen=True)
class Setting:
    """Hyperparameters in the names of the product."""

    learning_rate: float = 5e-4
    num_train_epochs: int = 2
    batch: int = 8
    seq_length: int = 256
    lora_dim: int = 32
    lora_alpha: int = 32
    dpo_beta: float = 0.1
    seed: int = 42


def prompt_ids(tokenizer: Any, prompt: str, system: str = TRAINING_SYSTEM) -> list[int]:
    """Token ids of system message, prompt and generation prompt."""
    messages = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def log_probs(model: Any, tokenizer: Any, rows: Sequence[tuple[str, str]], limit: int) -> tuple[torch.Tensor, ...]:
    """Sum of answer log-probabilities (nats) and answer lengths (tokens, end token included), both of shape (rows,)."""
    encoded = []
    for prompt, text in rows:
        head = prompt_ids(tokenizer, prompt)
        body = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        encoded.append((head, (head + body)[:limit]))
    longest = max(len(ids) for _, ids in encoded)
    ids = torch.full((len(rows), longest), tokenizer.pad_token_id)
    mask = torch.zeros((len(rows), longest), dtype=torch.bool)
    for index, (head, row) in enumerate(encoded):
        ids[index, : len(row)] = torch.tensor(row)
        mask[index, len(head) : len(row)] = True
    scored = mask[:, 1:]
    # Only answer positions reach the vocabulary projection, which is a third of the model's work.
    qwen = model.get_base_model()
    hidden = qwen.model(input_ids=ids).last_hidden_state[:, :-1]
    picked = -functional.cross_entropy(qwen.lm_head(hidden[scored]), ids[:, 1:][scored], reduction="none")
    return torch.zeros(scored.shape).masked_scatter(scored, picked).sum(1), scored.sum(1)


def _rows(pairs: Sequence[Pair]) -> list[tuple[str, str]]:
    return [(p["prompt"], p["chosen"]) for p in pairs] + [(p["prompt"], p["rejected"]) for p in pairs]


@torch.no_grad()
def _reference(adapted: Any, tokenizer: Any, pairs: Sequence[Pair], setting: Setting) -> torch.Tensor:
    """Log-probability of chosen minus that of rejected under the untouched base, shape (pairs,)."""
    parts = []
    with adapted.disable_adapter():
        for first in range(0, len(pairs), 32):
            part = pairs[first : first + 32]
            sums, _ = log_probs(adapted, tokenizer, _rows(part), setting.seq_length)
            parts.append(sums[: len(part)] - sums[len(part) :])
    return torch.cat(parts)


def train(model: Any, tokenizer: Any, pairs: Sequence[Pair], setting: Setting) -> tuple[Any, float, list[float]]:
    """Train LoRA with DPO. Returns the adapted model, the seconds it took and the loss of every step."""
    torch.manual_seed(setting.seed)
    lora = LoraConfig(r=setting.lora_dim, lora_alpha=setting.lora_alpha, target_modules="all-linear")
    adapted: Any = get_peft_model(model, lora)
    adapted.train()
    weights = [p for p in adapted.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=setting.learning_rate, weight_decay=0.0)
    per_epoch = (len(pairs) + setting.batch - 1) // setting.batch
    losses: list[float] = []
    steps, began = per_epoch * setting.num_train_epochs, time.monotonic()
    rng = random.Random(setting.seed)
    reference = _reference(adapted, tokenizer, pairs, setting)
    for _ in range(setting.num_train_epochs):
        order = rng.sample(range(len(pairs)), len(pairs))
        for first in range(0, len(order), setting.batch):
            optimizer.param_groups[0]["lr"] = setting.learning_rate * (1 - len(losses) / steps)
            chosen = order[first : first + setting.batch]
            policy, _ = log_probs(adapted, tokenizer, _rows([pairs[i] for i in chosen]), setting.seq_length)
            margin = policy[: len(chosen)] - policy[len(chosen) :] - reference[chosen]
            loss = -functional.logsigmoid(setting.dpo_beta * margin).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            losses.append(loss.item())
            if len(losses) % 20 == 0:
                print(f"step {len(losses)}/{steps}  loss {losses[-1]:.3f}  {time.monotonic() - began:.0f}s", flush=True)
    return adapted.eval(), time.monotonic() - began, losses


@dataclass(frozen=True)
class Accuracy:
    """Shares of pairs in which chosen beats rejected (ties count one half), by three measures.

    ``reward`` is DPO's implicit reward, so an untouched base has exactly 0.5. ``total`` and ``mean`` compare the answers'
    log-probabilities under the model itself, summed and per token; the mean favours long fluent answers in any model.
    """

    reward: float
    total: float
    mean: float


@torch.no_grad()
def accuracy(adapted: Any, tokenizer: Any, pairs: Sequence[Pair], limit: int = 256) -> Accuracy:
    """Measure the preference accuracy of an adapted model on some pairs."""
    wins = [0.0, 0.0, 0.0]
    for first in range(0, len(pairs), 16):
        part = pairs[first : first + 16]
        policy, lengths = log_probs(adapted, tokenizer, _rows(part), limit)
        with adapted.disable_adapter():
            reference, _ = log_probs(adapted, tokenizer, _rows(part), limit)
        for index, score in enumerate((policy - reference, policy, policy / lengths)):
            margin = score[: len(part)] - score[len(part) :]
            wins[index] += float((margin > 0).sum() + 0.5 * (margin == 0).sum())
    return Accuracy(*(win / len(pairs) for win in wins))


@torch.no_grad()
def greedy(
    model: Any, tokenizer: Any, prompt: str, system: str = TRAINING_SYSTEM, limit: int = 120
) -> tuple[str, bool]:
    """The greedy answer, and whether it ended by itself with ``<|im_end|>``."""
    ids = torch.tensor([prompt_ids(tokenizer, prompt, system)])
    end = tokenizer.eos_token_id
    out = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=limit,
        do_sample=False,
        temperature=None,
        top_p=None,
        eos_token_id=end,
        pad_token_id=tokenizer.pad_token_id,
    )[0, ids.shape[1] :]
    return tokenizer.decode(out, skip_special_tokens=True), bool(out[-1] == end)
