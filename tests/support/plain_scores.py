"""The figures of an evaluation computed anew with nothing but transformers: one row at a time, no packing, no cache."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from quickalign.data.feed import Feed
from quickalign.data.formats.base import Choices
from quickalign.data.read import open_rows
from quickalign.data.records import PreferenceRecord


@dataclass
class Plain:
    accuracy: float
    margin: float
    likelihood_accuracy: float
    chosen_shift: float
    rejected_shift: float
    perplexity: float
    base_perplexity: float
    kl: float


def read_pairs(uri: Path, count: int) -> list[PreferenceRecord]:
    found: list[PreferenceRecord] = []
    with open_rows(str(uri)) as source:
        for records in Feed(str(uri), source, "auto", "dpo", Choices(safe_rlhf_preference="better")):
            found += records if isinstance(records, Sequence) else []
    return found[:count]


def plain_figures(
    base: Path, adapter: Path, records: Sequence[PreferenceRecord], *, beta: float, system: str, kl_rows: int
) -> Plain:
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), str(adapter))
    model.eval()
    rows = []
    for number, record in enumerate(records):
        chat = [{"role": message.role, "content": message.content} for message in record.prompt]
        if chat[0]["role"] != "system":
            chat = [{"role": "system", "content": system}, *chat]
        prompt = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        sides = []
        for answer in (record.chosen, record.rejected):
            whole = tokenizer.apply_chat_template([*chat, {"role": "assistant", "content": answer}], tokenize=False)
            sides.append(_score(model, tokenizer, prompt, whole, with_kl=number < kl_rows and not sides))
        rows.append(sides)
    return _figures(rows, beta, kl_rows)


@torch.no_grad()
def _score(model, tokenizer, prompt, whole, *, with_kl):
    assert whole.startswith(prompt)
    start = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
    ids = torch.tensor(tokenizer(whole, add_special_tokens=False)["input_ids"])
    tuned = model(input_ids=ids[None]).logits[0].log_softmax(-1)[start - 1 : -1]
    with model.disable_adapter():
        frozen = model(input_ids=ids[None]).logits[0].log_softmax(-1)[start - 1 : -1]
    targets = ids[start:, None]
    kl = float((tuned.exp() * (tuned - frozen)).sum()) if with_kl else 0.0
    return float(tuned.gather(1, targets).sum()), float(frozen.gather(1, targets).sum()), len(targets), kl


def _figures(rows, beta, kl_rows):
    count = len(rows)
    margins = [beta * ((c[0] - c[1]) - (r[0] - r[1])) for c, r in rows]
    tokens = sum(c[2] for c, _ in rows)
    return Plain(
        accuracy=sum((m > 0) + 0.5 * (m == 0) for m in margins) / count,
        margin=sum(margins) / count,
        likelihood_accuracy=sum(c[0] / c[2] > r[0] / r[2] for c, r in rows) / count,
        chosen_shift=sum(c[0] - c[1] for c, _ in rows) / count,
        rejected_shift=sum(r[0] - r[1] for _, r in rows) / count,
        perplexity=math.exp(-sum(c[0] for c, _ in rows) / tokens),
        base_perplexity=math.exp(-sum(c[1] for c, _ in rows) / tokens),
        kl=sum(c[3] for c, _ in rows) / sum(c[2] for c, _ in rows[:kl_rows]),
    )
