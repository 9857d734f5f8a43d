"""Prompts as the model saw them in training, and where its answers end.

The data encoder makes both: a chat goes through the same template with the same system prompt, a text gets the same
begin token, so the ids that are served are those that were trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from quickalign.core.errors import OptionError
from quickalign.core.hyperparameters import DEFAULT_SYSTEM_PROMPT
from quickalign.data.encode import Encoder
from quickalign.data.problem import RowProblem
from quickalign.data.records import Message
from quickalign.data.tokenizer import load_tokenizer
from quickalign.serve.source import Served


class Prompts:
    """Turns chats and texts into prompt ids.

    Args:
        tokenizer: the model's tokenizer with its chat template.
        apply_chat_template: whether chats are rendered; without a template a chat is one user message, as it is.
        system_prompt: system message of chats that bring none; empty adds none.

    Raises:
        OptionError: there is no chat template where one is needed, or it takes no system message.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, *, apply_chat_template: bool, system_prompt: str = ""
    ) -> None:
        self.tokenizer = tokenizer
        self.encoder = Encoder(
            tokenizer,
            seq_length=1,  # cuts answers and rows, of which there are none here
            apply_chat_template=apply_chat_template,
            system_prompt=system_prompt,
        )
        self._backend = _plain_backend(tokenizer)

    def chat(self, messages: Sequence[Message]) -> list[int]:
        """The ids that an answer to `messages` is generated after.

        Raises:
            OptionError: the chat has no form in this model's template, or is empty.
        """
        try:
            ids = self.encoder.prompt_ids(tuple(messages)) if messages else []
        except RowProblem as problem:
            raise OptionError(
                f"The chat is {problem.found}, and this model takes {problem.expected}.", field="messages"
            ) from None
        if not ids:
            raise OptionError("An empty chat cannot be answered.", "Give at least one character.", field="messages")
        return ids

    def text(self, text: str) -> list[int]:
        """The ids of a plain text, with the begin token that the tokenizer adds; may be empty."""
        ids, begin = self.encoder.tokens.ids([text])[0], self.encoder.tokens.begin
        return ids if ids[: len(begin)] == begin else begin + ids

    def end_tokens(self, configured: Sequence[int]) -> frozenset[int]:
        """The ids that end an answer: the tokenizer's, the model's (`configured`), and the one training ended with.

        The last one matters for base models: they learn to write the template's end mark, and their own configuration
        does not know it as an end.
        """
        found = {*configured, self.tokenizer.eos_token_id, self.encoder.end_id}
        return frozenset(token for token in found if token is not None)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of an answer's ids: exactly what they say, without special tokens."""
        if self._backend is not None:  # what the line below comes to, without its looking at each id
            return str(self._backend.decode(ids, skip_special_tokens=True))
        text = self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text)


def _plain_backend(tokenizer: PreTrainedTokenizerBase) -> Any | None:
    """What turns ids into text behind `tokenizer`; None where its own class has a part in that."""
    kind = type(tokenizer)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        return None
    own = any(getattr(kind, name) is not getattr(PreTrainedTokenizerFast, name) for name in ("decode", "_decode"))
    return None if own else tokenizer.backend_tokenizer


def make_prompts(served: Served, system_prompt: str | None) -> Prompts:
    """Prompts for what is served: rendered as in its training, or as `quickalign generate` asks an untrained model.

    Raises:
        OptionError: `system_prompt` has no effect on this model.
    """
    tokenizer, manifest = load_tokenizer(served.tokenizer), served.manifest
    chat = manifest.apply_chat_template if manifest else bool(tokenizer.chat_template)
    if system_prompt is not None and not chat:
        raise OptionError(
            "system_prompt has no effect: this model works without a chat template.",
            "Put the text into the prompt, and leave system_prompt out.",
        )
    if not chat:
        return Prompts(tokenizer, apply_chat_template=False)
    if system_prompt is not None or manifest is not None:
        wanted = system_prompt if system_prompt is not None else manifest.system_prompt if manifest else ""
        return Prompts(tokenizer, apply_chat_template=True, system_prompt=wanted)
    try:
        return Prompts(tokenizer, apply_chat_template=True, system_prompt=DEFAULT_SYSTEM_PROMPT)
    except OptionError:  # a template that takes no system message
        return Prompts(tokenizer, apply_chat_template=True)
