"""Greedy answers of a model to a set of prompts, written down as they come, so that an interruption loses one batch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn

from quickalign.data.encode import EncodedRow
from quickalign.train.answer import answer_ids
from quickalign.train.prompts import PromptEncoder

PROMPTS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt to answer: what is shown of it, the question asked last in it, and the ids that the model gets.

    `reference` is the (chosen) answer of its row, as far as the row's tokens go.
    """

    text: str
    question: str
    ids: tuple[int, ...]
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """One answer: its text, its tokens, and whether the model ended it by itself."""

    text: str
    tokens: int
    finished: bool


def choose(
    rows: Sequence[EncodedRow], questions: Mapping[int, str], encoder: PromptEncoder, count: int
) -> tuple[Asked, ...]:
    """The first `count` different prompts of `rows`; `questions` are by row number."""
    chosen: dict[tuple[int, ...], Asked] = {}
    for row in rows:
        if len(chosen) == count:
            break
        ids = tuple(int(token) for token in row.prompt)
        if ids not in chosen:
            answer = encoder.answer_text([int(token) for token in row.answers[0]])
            chosen[ids] = Asked(encoder.show(ids), questions[row.row], ids, answer)
    return tuple(chosen.values())


class AnswerBook:
    """The file of one model's answers: a line for each prompt that has been answered.

    Args:
        folder: where the evaluation keeps what it computed.
        identity: what decides the answers besides the prompts; another model has another file.
    """

    def __init__(self, folder: Path, identity: Mapping[str, str]) -> None:
        content = json.dumps(dict(identity), sort_keys=True)
        self._file = folder / f"answers-{hashlib.sha256(content.encode()).hexdigest()[:16]}.jsonl"
        self._known = dict(_read(self._file))

    def answer(
        self,
        model: nn.Module,
        encoder: PromptEncoder,
        prompts: Sequence[Asked],
        *,
        max_new_tokens: int,
        progress: Callable[[int, int], None],
    ) -> list[Written]:
        """The answers in the order of `prompts`; those that are written down already are not made again."""
        keys = [_key(prompt, max_new_tokens) for prompt in prompts]
        open_ones = [index for index, key in enumerate(keys) if key not in self._known]
        for start in range(0, len(open_ones), PROMPTS_AT_ONCE):
            batch = open_ones[start : start + PROMPTS_AT_ONCE]
            made = answer_ids(model, encoder, [prompts[i].ids for i in batch], max_new_tokens=max_new_tokens)
            for index, answer in zip(batch, made, strict=True):
                self._write(keys[index], Written(answer.text, len(answer.ids), answer.finished))
            progress(len(prompts) - len(open_ones) + start + len(batch), len(prompts))
        return [self._known[key] for key in keys]

    def _write(self, key: str, answer: Written) -> None:
        self._known[key] = answer
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as stream:
            # A line begins with its line break: whatever an interrupted write left behind stays a line of its own.
            stream.write("\n" + json.dumps({"key": key, **asdict(answer)}, ensure_ascii=False))


def _key(prompt: Asked, max_new_tokens: int) -> str:
    return hashlib.sha256(f"{max_new_tokens} {prompt.ids}".encode()).hexdigest()[:24]


def _read(file: Path) -> list[tuple[str, Written]]:
    """What the file holds; a last line that was cut off is left out, and its prompt answered again."""
    found = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else ():
        try:
            values = json.loads(line)
            found.append((values["key"], Written(values["text"], values["tokens"], values["finished"])))
        except (ValueError, KeyError, TypeError):
            continue
    return found
