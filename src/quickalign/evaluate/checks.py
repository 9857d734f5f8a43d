"""Is the model sound? What a broken export, a wrong chat template or a doubled begin token shows, looked for by name.

A preference figure can look fine on a model that is broken, because model and base are broken alike; these checks
compare with what must hold for any sound model.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from transformers import PreTrainedTokenizerBase

from quickalign.core.errors import OptionError
from quickalign.data.encode import Encoder
from quickalign.data.records import Message
from quickalign.data.tokenizer import load_tokenizer
from quickalign.evaluate.answers import Asked, Written
from quickalign.evaluate.measure import Measured
from quickalign.evaluate.subject import Subject, manifest_folder
from quickalign.evaluate.texts import facts_of
from quickalign.train.manifest import weights_sha256

PROBES = ("Hello", "Could you please help me with something?", "请介绍一下你自己。")
WORSE_THAN_BASE = 1.0
"""How many nats per token the chosen answers may be less likely than under the base."""
CHANCE = 0.6
"""A model that hesitates between more than vocabulary ** CHANCE tokens has learnt nothing."""
FAULTY = 0.25
"""By how much the share of answers that are no answers may exceed that of the base (twice that without a base)."""


class Check(BaseModel):
    """One check and what was seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    passed: bool
    seen: str


def checks(measured: Measured) -> tuple[Check, ...]:
    """All checks that apply to the model."""
    subject = measured.subject
    found = [check_likelihood(measured), *_of_weights(subject)]
    if subject.apply_chat_template:
        found += [*_of_template(subject), check_begin(subject.tokenizer, subject.system_prompt)]
        found.append(check_end(subject))
    if measured.answers:
        found.append(check_answers(measured.prompts, measured.answers, measured.base_answers))
    return tuple(found)


def check_likelihood(measured: Measured) -> Check:
    """Whether the model still finds the chosen answers about as likely as its base does."""
    name, scores = "likelihood", measured.scores
    total = scores.tokens[:, 0].sum()
    own = -float(scores.model[:, 0].sum() / total)
    said = f"Chosen answers cost {own:.2f} nats per token"
    if scores.base is not None:
        base = -float(scores.base[:, 0].sum() / total)
        seen = f"{said}, {base:.2f} under the base."
        return Check(name=name, passed=own - base <= WORSE_THAN_BASE, seen=seen)
    chance = math.log(len(measured.subject.tokenizer))
    return Check(name=name, passed=own < CHANCE * chance, seen=f"{said}; guessing costs {chance:.2f}.")


def check_begin(tokenizer: PreTrainedTokenizerBase, system_prompt: str) -> Check:
    """Whether a rendered chat begins with one begin token, not two, as other programs would tokenise it."""
    name, begin = "begin token", tokenizer.bos_token_id
    if begin is None:
        return Check(name=name, passed=True, seen="The tokenizer has none.")
    chat = [{"role": "system", "content": system_prompt}] if system_prompt else []
    chat.append({"role": "user", "content": PROBES[0]})
    text = str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    count = next((index for index, token in enumerate(ids) if token != begin), len(ids))
    return Check(name=name, passed=count <= 1, seen=f"The chat template writes {count}.")


def check_end(subject: Subject) -> Check:
    """Whether the template ends answers with a token that generation stops at."""
    encoder = _encoder(subject.tokenizer, subject.system_prompt)
    end = encoder.end_id
    if end is None:
        return Check(name="end token", passed=False, seen="The chat template ends answers with no special token.")
    return Check(
        name="end token", passed=True, seen=f"Answers end with {subject.tokenizer.convert_ids_to_tokens(end)}."
    )


def check_answers(prompts: Sequence[Asked], answers: Sequence[Written], base: Sequence[Written]) -> Check:
    """Whether answers are empty, broken or repeating much more often than those of the base."""
    own = [facts_of(asked.question, answer).fault for asked, answer in zip(prompts, answers, strict=True)]
    theirs = [facts_of(asked.question, answer).fault for asked, answer in zip(prompts, base, strict=False)]
    faulty = sum(fault is not None for fault in own) / len(own)
    earlier = sum(fault is not None for fault in theirs) / len(theirs) if theirs else FAULTY
    first = next((f"; the first {fault}" for fault in own if fault), "")
    beside = f", {earlier:.0%} of the base's" if theirs else ""
    seen = f"{faulty:.0%} of {len(own)} answers cannot count as one{beside}{first}."
    return Check(name="answers", passed=faulty - earlier <= FAULTY, seen=seen)


def _of_template(subject: Subject) -> Iterator[Check]:
    """Whether prompts are rendered as for the base."""
    if subject.base is None:
        return
    name, tokenizer = "chat template", load_tokenizer(subject.base.tokenizer)
    if not tokenizer.chat_template:
        yield Check(name=name, passed=True, seen="The base has no chat template to compare with.")
        return
    own = _encoder(subject.tokenizer, subject.system_prompt)
    try:
        base = _encoder(tokenizer, subject.system_prompt)
    except OptionError as error:
        yield Check(name=name, passed=False, seen=f"The base cannot be asked in the same way: {error.message}")
        return
    for probe in PROBES:
        chat = (Message("user", probe),)
        if own.prompt_ids(chat) != base.prompt_ids(chat):
            seen = f"{probe!r} becomes {own.prompt_text(chat)!r}, and {base.prompt_text(chat)!r} for the base."
            yield Check(name=name, passed=False, seen=seen)
            return
    yield Check(name=name, passed=True, seen=f"{len(PROBES)} prompts are the same tokens as for the base.")


def _of_weights(subject: Subject) -> Iterator[Check]:
    """Whether the folder's files are those that its manifest names."""
    manifest, folder = subject.found.manifest, manifest_folder(subject.found)
    if manifest is None or not manifest.weights_sha256:
        return
    name = "files"
    if weights_sha256(folder) != manifest.weights_sha256:
        yield Check(name=name, passed=False, seen="The weights are not those that were trained: their SHA-256 differs.")
        return
    told = {**manifest.files, **manifest.beside}
    changed = [file for file, wanted in told.items() if _sha256(folder / file) != wanted]
    seen = f"{changed[0]} is not as it was exported." if changed else "The SHA-256 is that of the manifest."
    yield Check(name=name, passed=not changed, seen=seen)


def _sha256(file: Path) -> str:
    if not file.is_file():
        return ""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _encoder(tokenizer: PreTrainedTokenizerBase, system_prompt: str) -> Encoder:
    return Encoder(tokenizer, seq_length=1, apply_chat_template=True, system_prompt=system_prompt)
