"""The model's chat template as functions: the prompt as a server renders it, and what the template adds for an answer.

Nothing here knows a template by name. What a template does with system messages, thinking blocks and end marks is found
by rendering probes and looking at what comes out.
"""

from collections.abc import Sequence
from functools import partial
from typing import cast

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

from quickalign.core.errors import OptionError
from quickalign.data.plain_template import PlainTemplate, writes_texts_as_they_are
from quickalign.data.problem import RowProblem
from quickalign.data.records import Message

Conversation = tuple[Message, ...]

_PROBE = "QUICKALIGN-PROBE"
_USER = Message("user", "Hello")
_RENDER_ERRORS = (TemplateError, TypeError, ValueError, KeyError, AttributeError)


class ChatTemplate:
    """Renders conversations with the tokenizer's chat template.

    `own_system` is the system text that the template writes by itself where a conversation has none, and `end_mark` is
    what it writes behind an answer.

    Raises:
        OptionError: the tokenizer has no chat template or one that is broken, or `system_prompt` is set and the
            template takes no system message.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, system_prompt: str) -> None:
        if not tokenizer.chat_template:
            raise OptionError(
                "The tokenizer of this model has no chat template, and apply_chat_template=true needs one.",
                "Set apply_chat_template=false, or use the model's instruct variant.",
            )
        self._tokenizer = tokenizer
        self._plain = self._plain_forms()
        self._default = (Message("system", system_prompt),) if system_prompt else ()
        self._refuse_broken()
        self._system_refused = self._find_system_refusal()
        if system_prompt and self._system_refused:
            raise OptionError(
                f"The chat template of this model takes no system message ({self._system_refused}), and "
                f"system_prompt is set to {system_prompt!r}.",
                'Set system_prompt="" to train and serve without one.',
            )
        self.own_system = None if self._system_refused else self._find_own_system()
        self.end_mark = self._find_end_mark()

    def with_system(self, messages: Conversation) -> Conversation:
        """`messages` with the default system message in front, where they bring none."""
        return messages if messages and messages[0].role == "system" else self._default + messages

    def prompts(self, conversations: Sequence[Conversation]) -> list[str | RowProblem]:
        """Each conversation as the prompt that a server would send to the model, ready for an answer."""
        return [
            self._checked(c, text) for c, text in zip(conversations, self._render(conversations, True), strict=True)
        ]

    def answers(
        self, conversations: Sequence[Conversation], prompts: Sequence[str], answers: Sequence[str]
    ) -> list[str | RowProblem]:
        """What the template adds behind each prompt for its answer: the answer, its end mark, and what goes with it.

        Some templates put an empty thinking block into the answer: it is part of what is added. Others put one into
        the prompt of a server only, so that the rendered conversation does not begin with the prompt: there the answer
        is what follows the place where the template writes an answer's text.
        """
        whole = self._render(
            [(*c, Message("assistant", a)) for c, a in zip(conversations, answers, strict=True)], False
        )
        return [
            text[len(prompt) :]
            if isinstance(text, str) and text.startswith(prompt)
            else self._behind_other_header(conversation, text)
            for conversation, prompt, text in zip(conversations, prompts, whole, strict=True)
        ]

    def _checked(self, conversation: Conversation, text: str | RowProblem) -> str | RowProblem:
        if self._system_refused and conversation[0].role == "system":
            return RowProblem(
                "system", "a system message", f"none: the chat template takes none ({self._system_refused})"
            )
        return text

    def _behind_other_header(self, conversation: Conversation, text: str | RowProblem) -> str | RowProblem:
        if isinstance(text, RowProblem):
            return text
        start, probe = self._render([conversation], False) + self._render([(*conversation, _PROBE_ANSWER)], False)
        if isinstance(probe, str) and isinstance(start, str):
            header = probe[: probe.find(_PROBE)]
            if _PROBE in probe and header.startswith(start) and text.startswith(header):
                return text[len(header) :]
        return RowProblem(
            "prompt",
            "a conversation that the chat template renders differently when an answer follows",
            "a prompt that stays as it is served",
        )

    def _render(self, conversations: Sequence[Conversation], for_answer: bool) -> list[str | RowProblem]:
        if self._plain is None:
            return self._run(conversations, for_answer)
        filled = [self._plain[for_answer].fill(conversation) for conversation in conversations]
        return [
            self._run([conversation], for_answer)[0] if text is None else text
            for conversation, text in zip(conversations, filled, strict=True)
        ]

    def _run(self, conversations: Sequence[Conversation], for_answer: bool) -> list[str | RowProblem]:
        plain = [_as_chat(conversation) for conversation in conversations]
        try:
            return list(self._apply(plain, for_answer))
        except _RENDER_ERRORS:
            return [self._render_one(conversation, for_answer) for conversation in plain]

    def _render_one(self, conversation: list[dict[str, str]], for_answer: bool) -> str | RowProblem:
        try:
            return self._apply([conversation], for_answer)[0]
        except _RENDER_ERRORS as error:
            return RowProblem("", f"a conversation that the chat template refuses ({error})", "one that it accepts")

    def _apply(self, conversations: list[list[dict[str, str]]], for_answer: bool) -> list[str]:
        if not conversations:
            return []
        rendered = self._tokenizer.apply_chat_template(conversations, tokenize=False, add_generation_prompt=for_answer)
        return cast("list[str]", rendered)

    def _plain_forms(self) -> tuple[PlainTemplate, PlainTemplate] | None:
        """The template as fixed marks around texts, for conversations and for prompts, where it provably is that."""
        template = self._tokenizer.chat_template
        if not isinstance(template, str) or not writes_texts_as_they_are(template):
            return None
        return PlainTemplate(partial(self._fill_marks, False)), PlainTemplate(partial(self._fill_marks, True))

    def _fill_marks(self, for_answer: bool, messages: Sequence[Message]) -> str:
        return self._apply([_as_chat(messages)], for_answer)[0]

    def _refuse_broken(self) -> None:
        """Refuse a template that renders no conversation at all."""
        found = self._render([(_USER,), (Message("system", _PROBE), _USER)], True)
        reasons = [_reason(each) for each in found if isinstance(each, RowProblem)]
        if len(reasons) == len(found):
            raise OptionError(
                f"The chat template of this model is broken: it does not render a question ({reasons[0]}).",
                "Correct it in the model's folder, or set apply_chat_template=false.",
            )

    def _find_system_refusal(self) -> str:
        """Why the template takes no system message, or an empty text where it takes one."""
        text = self._render([(Message("system", _PROBE), _USER)], True)[0]
        if isinstance(text, RowProblem):
            return _reason(text)
        return "" if _PROBE in text else "it leaves the text out"

    def _find_own_system(self) -> str | None:
        given, bare = self._render([(Message("system", _PROBE), _USER), (_USER,)], True)
        if isinstance(given, RowProblem) or isinstance(bare, RowProblem):
            return None
        before, _, after = given.partition(_PROBE)
        own = bare[len(before) : len(bare) - len(after)]
        fits = before and len(bare) > len(before) + len(after) and bare.startswith(before) and bare.endswith(after)
        return own if fits else None

    def _find_end_mark(self) -> str:
        text = self._render([(_USER, _PROBE_ANSWER)], False)[0]
        if isinstance(text, RowProblem) or _PROBE not in text:
            return ""
        return text[text.index(_PROBE) + len(_PROBE) :]


def _reason(problem: RowProblem) -> str:
    """Why the template refuses a conversation, in its own words."""
    return problem.found.removeprefix("a conversation that the chat template refuses (").removesuffix(")")


def _as_chat(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


_PROBE_ANSWER = Message("assistant", _PROBE)
