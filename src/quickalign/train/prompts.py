"""A prompt as the model sees it in training, and back: the data encoder's own tokens, and where answers end."""

from collections.abc import Sequence

from torch import nn
from transformers import PreTrainedTokenizerBase

from quickalign.core.errors import OptionError
from quickalign.data.encode import Encoder
from quickalign.data.problem import RowProblem
from quickalign.data.records import Message

Prompt = str | Sequence[Message]
"""A chat, or one text: the user's message under a chat template, or the text to go on from without one."""

_MARK = "\ue000"  # a private-use character, which no template writes


class PromptEncoder:
    """Turns prompts into the token ids that training saw for them.

    Args:
        tokenizer: the model's tokenizer with its chat template.
        apply_chat_template: whether prompts are rendered as a chat.
        system_prompt: system message of chats that bring none; empty adds none.

    Raises:
        OptionError: the tokenizer has no chat template where one is needed, or its template takes no system message.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, apply_chat_template: bool, system_prompt: str) -> None:
        self.tokenizer = tokenizer
        self._encoder = Encoder(
            tokenizer,
            seq_length=1,  # cuts answers and rows, of which there are none here
            apply_chat_template=apply_chat_template,
            system_prompt=system_prompt,
        )

    @property
    def is_chat(self) -> bool:
        """Whether prompts are rendered as a chat."""
        return self._encoder.template is not None

    @property
    def system_prompt(self) -> str:
        """The system message of chats that bring none; empty where they get none."""
        return self._encoder.system_prompt

    def encode(self, prompt: Prompt) -> list[int]:
        """The ids that an answer is generated after; at least one.

        Raises:
            OptionError: the prompt is empty, the template refuses it, or it is a chat of several messages although the
                model was trained without a chat template.
        """
        messages = (Message("user", prompt),) if isinstance(prompt, str) else tuple(prompt)
        if not self.is_chat and len(messages) > 1:
            raise OptionError(
                f"A chat of {len(messages)} messages has no form here: this model works without a chat template.",
                "Give the prompt as one text.",
            )
        try:
            ids = self._encoder.prompt_ids(messages) if messages else []
        except RowProblem as problem:
            raise OptionError(f"The prompt is {problem.found}, not {problem.expected}.") from None
        if not ids:
            raise OptionError("An empty prompt cannot be answered.", "Give at least one character.")
        return ids

    def show(self, ids: Sequence[int]) -> str:
        """What the user said in the prompt `ids`, for reading; the whole rendered text where it is not one message."""
        if not self.is_chat:
            return self._decode(ids, skip_special=True)
        text = self._decode(ids, skip_special=False)
        before, _, after = self._encoder.prompt_text((Message("user", _MARK),)).partition(_MARK)
        alone = text.startswith(before) and text.endswith(after) and len(text) >= len(before) + len(after)
        return text[len(before) : len(text) - len(after)] if alone else text

    def answer_text(self, ids: Sequence[int]) -> str:
        """The text of an answer's ids."""
        return self._decode(ids, skip_special=True)

    def stop_tokens(self, model: nn.Module) -> frozenset[int]:
        """The ids that end an answer: the tokenizer's, the model's, and the one that training ended answers with.

        The last one matters for base models: they learn to write the template's end mark, and their own configuration
        does not know it as an end.
        """
        configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
        own = configured if isinstance(configured, list) else [configured]
        found = {*own, self.tokenizer.eos_token_id, self._encoder.end_id}
        return frozenset(token for token in found if token is not None)

    def _decode(self, ids: Sequence[int], *, skip_special: bool) -> str:
        return str(self.tokenizer.decode([int(token) for token in ids], skip_special_tokens=skip_special))
