"""From records to token ids, cut to `seq_length` and counted.

With a chat template, the prompt is what a server renders (`add_generation_prompt`), and an answer is what the template
adds behind it: for Qwen2 the answer, `<|im_end|>` and a line break. Without one, the texts are joined as they are: the
prompt with the begin token that the tokenizer adds, the answer with one end token.

A row is cut when its prompt plus its longer answer exceed `seq_length`. The prompt loses tokens from the left first, in
the way `quickalign.data.cut` describes, and is the same for both answers; only when nothing more can go from it do the
answers lose tokens from their ends. A row whose answer would be empty is a `RowProblem`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from quickalign.core.errors import OptionError
from quickalign.data.cut import PromptCutter
from quickalign.data.marks import Marks
from quickalign.data.problem import RowProblem
from quickalign.data.records import Message, PreferenceRecord, Record
from quickalign.data.template import ChatTemplate, Conversation
from quickalign.data.text_tokens import TextTokens

IntArray: TypeAlias = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """A preference pair as int32 token ids of shape [length]; each answer follows the prompt."""

    row: int
    prompt: IntArray
    chosen: IntArray
    rejected: IntArray

    @property
    def answers(self) -> tuple[IntArray, ...]:
        """Chosen and rejected."""
        return self.chosen, self.rejected


@dataclass(frozen=True, slots=True)
class EncodedSample:
    """A prompt and the answer to imitate as int32 token ids of shape [length]."""

    row: int
    prompt: IntArray
    response: IntArray

    @property
    def answers(self) -> tuple[IntArray, ...]:
        """The response alone."""
        return (self.response,)


EncodedRow = EncodedPair | EncodedSample
"""A row to train on or to measure, as token ids."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What happened to one row, in tokens. `prompt` and `answers` are lengths before the cut; `mark` is the first of
    the model's own marks that stands in a row as text although a template writes them.
    """

    prompt: int
    answers: tuple[int, ...]
    prompt_lost: int = 0
    answers_lost: tuple[int, ...] = ()
    end_lost: bool = False
    question_lost: bool = False
    doubled_begin: bool = False
    doubled_end: bool = False
    answer_changed: bool = False
    mark: str = ""


@dataclass(frozen=True, slots=True)
class EncodedRecord:
    """One encoded record with what happened to it."""

    example: EncodedRow
    facts: Facts


@dataclass(slots=True)
class _Rendered:
    """A record as texts on its way to ids; `messages` is None for joined texts."""

    record: Record
    messages: Conversation | None
    prompt: str
    answers: tuple[str, ...]
    changed: bool = False


class Encoder:
    """Encodes records for one tokenizer, template and `seq_length` (tokens).

    Raises:
        OptionError: the tokenizer has no chat template or no end token where one is needed, or its template takes no
            system message although `system_prompt` is set.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        seq_length: int,
        apply_chat_template: bool = True,
        system_prompt: str = "",
    ) -> None:
        self.seq_length = seq_length
        self.tokens = TextTokens(tokenizer)
        self.template = ChatTemplate(tokenizer, system_prompt) if apply_chat_template else None
        self._cutter = PromptCutter(self.template, self.tokens) if self.template else None
        self._begin_id: int | None = tokenizer.bos_token_id
        self.system_prompt = system_prompt
        self._end = self._end_ids(tokenizer)
        special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        special.update(tokenizer.all_special_ids)
        self.end_id = next((i for i in self._end if i in special), None)
        self._marks = Marks(tokenizer, self.end_id) if apply_chat_template else None

    def _end_ids(self, tokenizer: PreTrainedTokenizerBase) -> list[int]:
        if self.template:
            return self.tokens.ids([self.template.end_mark])[0]
        if tokenizer.eos_token_id is None:
            raise OptionError(
                "The tokenizer of this model has no end token, and apply_chat_template=false ends answers with it.",
                "Set apply_chat_template=true, or use a tokenizer with an eos_token.",
            )
        return [tokenizer.eos_token_id]

    @property
    def prevented(self) -> tuple[bool, bool]:
        """Whether tokenising the chat template's text the usual way would add a begin token, and an end token, to
        those that the template writes.
        """
        if self.template is None:
            return False, False
        probe = self.template.prompts([self.template.with_system((Message("user", "a"),))])[0]
        ids = self.tokens.ids([probe])[0] if isinstance(probe, str) else []
        return bool(ids) and ids[:1] == self.tokens.begin[:1], bool(self.tokens.end) and self.end_id is not None

    def prompt_text(self, messages: Conversation) -> str:
        """The text that the model gets for `messages`, with the default system message where they bring none.

        Raises:
            RowProblem: the chat template refuses the conversation, or there is none and it has several messages.
        """
        if self.template is None:
            if len(messages) != 1:
                raise _no_plain_form(messages)
            return messages[0].content
        text = self.template.prompts([self.template.with_system(messages)])[0]
        if isinstance(text, RowProblem):
            raise text
        return text

    def prompt_ids(self, messages: Conversation) -> list[int]:
        """The ids that the model gets for `messages`; the same that training uses.

        Raises:
            RowProblem: as for `prompt_text`.
        """
        return self._with_begin(self.tokens.ids([self.prompt_text(messages)])[0])

    def encode(self, records: Sequence[Record]) -> list[EncodedRecord | RowProblem]:
        """Encode a batch of records, in order; a record that cannot be encoded becomes a `RowProblem`."""
        rendered = self._render_chat(records) if self.template else [_joined(record) for record in records]
        good = [item for item in rendered if isinstance(item, _Rendered)]
        prompts = self.tokens.ids([item.prompt for item in good])
        rows = [item for item, answers in enumerate(good) for _ in answers.answers]
        answers = iter(
            self.tokens.answers(
                [good[row].prompt for row in rows],
                [prompts[row] for row in rows],
                [text for item in good for text in item.answers],
            )
        )
        encoded = iter(
            [
                self._finish(item, ids, [next(answers) for _ in item.answers])
                for item, ids in zip(good, prompts, strict=True)
            ]
        )
        return [next(encoded) if isinstance(item, _Rendered) else item for item in rendered]

    def _render_chat(self, records: Sequence[Record]) -> list[_Rendered | RowProblem]:
        assert self.template is not None
        conversations = [self.template.with_system(record.prompt) for record in records]
        prompts = self.template.prompts(conversations)
        wanted = [
            (conversation, prompt, answer)
            for record, conversation, prompt in zip(records, conversations, prompts, strict=True)
            if isinstance(prompt, str)
            for answer in record.answers
        ]
        columns = tuple(zip(*wanted, strict=True)) or ((), (), ())
        added = iter(self.template.answers(*columns))
        return [
            _rendered(record, conversation, prompt, [next(added) for _ in record.answers])
            if isinstance(prompt, str)
            else prompt
            for record, conversation, prompt in zip(records, conversations, prompts, strict=True)
        ]

    def _finish(self, item: _Rendered, prompt: list[int], answers: list[list[int]]) -> EncodedRecord | RowProblem:
        rendered, prompt = prompt, self._with_begin(prompt)
        if item.messages is None:
            answers = [ids if ids[-1:] == self._end else ids + self._end for ids in answers]
        single = [self._with_one_end(ids) for ids in answers]
        doubled_end = any(len(ids) != len(before) for ids, before in zip(single, answers, strict=True))
        if not prompt:
            return RowProblem("prompt", "an empty text", "a text: the first token of an answer is predicted from it")
        lengths = tuple(len(ids) for ids in single)
        room = self.seq_length - max(lengths)
        cut, question_lost = self._cut_prompt(item, prompt, room)
        space = self.seq_length - len(cut)
        if space < 1:
            return self._no_space(len(cut))
        lost = tuple(max(length - space, 0) for length in lengths)
        facts = Facts(
            prompt=len(prompt),
            answers=lengths,
            prompt_lost=len(prompt) - len(cut),
            answers_lost=lost,
            end_lost=any(self._loses_end(ids, n) for ids, n in zip(single, lost, strict=True)),
            question_lost=question_lost,
            doubled_begin=len(prompt) < len(rendered),
            doubled_end=doubled_end,
            answer_changed=item.changed,
            mark=self._marks.first(item.record) if self._marks else "",
        )
        return EncodedRecord(_example(item.record, cut, [ids[:space] for ids in single]), facts)

    def _no_space(self, prompt: int) -> RowProblem:
        kept = "system message and template marks" if self.template else "last token"
        return RowProblem(
            "prompt",
            f"{prompt} tokens that cannot be cut (the prompt's {kept})",
            f"fewer than seq_length={self.seq_length}, or nothing of the answer is left",
        )

    def _cut_prompt(self, item: _Rendered, prompt: list[int], room: int) -> tuple[list[int], bool]:
        if len(prompt) <= room:
            return prompt, False
        if item.messages is None or self._cutter is None:
            begin = len(self.tokens.begin) if prompt[: len(self.tokens.begin)] == self.tokens.begin else 0
            kept = max(room - begin, 0 if begin else 1)
            return prompt[:begin] + prompt[len(prompt) - kept :], kept == 0
        short = self._cutter.cut(item.messages, prompt, room)
        return self._with_begin(short.ids), short.question_lost

    def _with_begin(self, prompt: list[int]) -> list[int]:
        """`prompt` with one begin token: joined texts get the tokenizer's own, and a doubled one goes."""
        begin = self.tokens.begin
        if not self.template and prompt[: len(begin)] != begin:
            return begin + prompt
        while len(prompt) > 1 and prompt[0] == prompt[1] == self._begin_id:
            prompt = prompt[1:]
        return prompt

    def _with_one_end(self, ids: list[int]) -> list[int]:
        """`ids` without the end marks that the answer's own text brings in front of the one that ends it."""
        end = self._end
        if not end or ids[-len(end) :] != end:
            return ids
        body = ids[: -len(end)]
        while body[-len(end) :] == end or (self.end_id is not None and body[-1:] == [self.end_id]):
            body = body[: -len(end)] if body[-len(end) :] == end else body[:-1]
        return body + end

    def _loses_end(self, ids: list[int], lost: int) -> bool:
        return lost > 0 and self.end_id in ids and self.end_id not in ids[-len(self._end) : len(ids) - lost]


def _rendered(
    record: Record, conversation: Conversation, prompt: str, added: list[str | RowProblem]
) -> _Rendered | RowProblem:
    texts = tuple(text for text in added if isinstance(text, str))
    if len(texts) < len(added):
        return next(text for text in added if isinstance(text, RowProblem))
    changed = any(answer.strip() not in text for answer, text in zip(record.answers, texts, strict=True))
    return _Rendered(record, conversation, prompt, texts, changed)


def _joined(record: Record) -> _Rendered | RowProblem:
    if record.raw_prompt is None:
        return _no_plain_form(record.prompt)
    return _Rendered(record, None, record.raw_prompt, tuple(record.raw_lead + text for text in record.answers))


def _no_plain_form(messages: Conversation) -> RowProblem:
    return RowProblem(
        "prompt",
        f"a conversation of {len(messages)} messages",
        "one plain text, because apply_chat_template=false joins texts as they are",
    )


def _example(record: Record, prompt: list[int], answers: list[list[int]]) -> EncodedRow:
    arrays = [np.asarray(ids, dtype=np.int32) for ids in (prompt, *answers)]
    if isinstance(record, PreferenceRecord):
        return EncodedPair(record.row, *arrays)
    return EncodedSample(record.row, *arrays)
