"""What llama.cpp makes of a file: that it reads texts as the trained tokenizer does, and what it says to real rows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from quickalign.core.errors import QualityError
from quickalign.data.encode import EncodedRow
from quickalign.data.records import Message
from quickalign.export.gguf.engine import LlamaCpp
from quickalign.export.gguf.vocabulary import WAY_OUT
from quickalign.export.parity import Behaviour, prompts_of
from quickalign.train.prompts import PromptEncoder

_ALL_SORTS = "I'LL pay 12345.67 EUR, don't you?\n\n  def f(x):\n\treturn [x, 1_000]  # 谢谢，très bien…"
_CHATS = (
    (Message("user", "Hello, who are you?"),),
    (Message("user", "2 + 2?"), Message("assistant", "It is 4."), Message("user", _ALL_SORTS)),
)
"""Chats of one and of several messages; the last one has what tokenizers cut in different ways."""


def prove(
    file: Path,
    rows: Sequence[EncodedRow],
    prompts: int,
    answer_tokens: int,
    encoder: PromptEncoder,
    ends: frozenset[int],
) -> Behaviour:
    """What llama.cpp does with `rows` and the prompts of the first of them.

    Args:
        encoder: how prompts became tokens in training.
        ends: the ids that end an answer.

    Raises:
        ModelError: llama.cpp does not load the file.
        QualityError: it takes a text, a chat or an end for something else than training did.
        RunError: it stopped answering.
    """
    asked = prompts_of(rows, prompts)
    longest = max(len(row.prompt) + max(map(len, row.answers)) for row in rows)
    with LlamaCpp(file, max(longest, max(map(len, asked), default=0) + answer_tokens) + 8) as engine:
        _check_texts(engine, encoder.tokenizer, rows)
        _check_chats(engine, encoder)
        _check_ends(engine, ends, encoder.tokenizer)
        logps = engine.each(lambda row, slot: _logps(engine, row, slot), rows)
        started = time.perf_counter()
        made = engine.each(lambda prompt, slot: engine.answer(prompt, answer_tokens, slot), asked)
        seconds = time.perf_counter() - started
    answers = tuple(tuple(ids[:-1] if ids and ids[-1] in ends else ids) for ids in made)
    return Behaviour(
        logps=np.array(logps),
        tokens=np.array([[len(answer) for answer in row.answers] for row in rows], dtype=np.float64),
        answers=answers,
        tokens_per_second=sum(map(len, answers)) / seconds if asked else None,
        bytes=file.stat().st_size,
    )


def _logps(engine: LlamaCpp, row: EncodedRow, slot: int) -> list[float]:
    return [engine.logp(row.prompt.tolist(), answer.tolist(), slot) for answer in row.answers]


def _check_texts(engine: LlamaCpp, tokenizer: PreTrainedTokenizerBase, rows: Sequence[EncodedRow]) -> None:
    for number, row in enumerate(rows, 1):
        prompt = row.prompt.tolist()
        for trained in (prompt, *(prompt + answer.tolist() for answer in row.answers)):
            text = str(tokenizer.decode(trained, skip_special_tokens=False, clean_up_tokenization_spaces=False))
            if tokenizer(text, add_special_tokens=False)["input_ids"] != trained:
                continue  # cut off in training, say: there is no text that these are the tokens of
            if (found := engine.tokens(text, special=False)) != trained:
                raise QualityError(
                    f"llama.cpp reads row {number} as other tokens than the trained tokenizer: "
                    f"{_first_other(found, trained)}.",
                    WAY_OUT,
                )


def _check_chats(engine: LlamaCpp, encoder: PromptEncoder) -> None:
    """Chats with the training's system message, or where there is no chat template a text."""
    for chat in _CHATS:
        if not encoder.is_chat:
            text, trained = chat[0].content, encoder.encode(chat[0].content)
        else:
            trained = encoder.encode(chat)
            system = (Message("system", encoder.system_prompt),) if encoder.system_prompt else ()
            text = engine.rendered([{"role": one.role, "content": one.content} for one in (*system, *chat)])
        found = engine.tokens(text, special=True)
        if found[:1] == found[1:2] == trained[:1]:
            found = found[1:]  # llama.cpp's chat leaves out the second begin token where the template writes one
        if found != trained:
            raise QualityError(
                f"llama.cpp renders a chat of {len(chat)} messages to other tokens than training did: "
                f"{_first_other(found, trained)}.",
                WAY_OUT,
            )


def _check_ends(engine: LlamaCpp, ends: Iterable[int], tokenizer: PreTrainedTokenizerBase) -> None:
    for token in sorted(ends):
        if not engine.ends(token):
            name = tokenizer.convert_ids_to_tokens(token)
            raise QualityError(f"{name} ends this model's answers, and llama.cpp goes on after it.", WAY_OUT)


def _first_other(found: Sequence[int], wanted: Sequence[int]) -> str:
    """Where two sequences part, in words."""
    pairs = enumerate(zip(found, wanted, strict=False))
    place = next((index for index, (a, b) in pairs if a != b), min(len(found), len(wanted)))
    said = [str(ids[place]) if place < len(ids) else "the end" for ids in (found, wanted)]
    return f"at token {place + 1} it has {said[0]}, not {said[1]}"
