"""Answers from a loaded model, in text: greedy or drawn, one or many at once, with its adapter on or off."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from peft import PeftModel
from torch import nn

from quickalign.core.errors import ModelError, OptionError
from quickalign.train.decode import decode
from quickalign.train.prompts import Prompt, PromptEncoder

MAX_NEW_TOKENS = 256
UNLIMITED_CONTEXT = 1_048_576


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer.

    Attributes:
        text: the answer without its end token.
        ids: its token ids.
        finished: whether the model ended it by itself, before max_new_tokens or the model's context did.
    """

    text: str
    ids: tuple[int, ...]
    finished: bool


def answer_ids(
    model: nn.Module,
    encoder: PromptEncoder,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int = MAX_NEW_TOKENS,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[Answer]:
    """Answer prompts that are token ids already, with the model as it is (an adapter on or off).

    Raises:
        OptionError: a prompt fills the model's whole context, or an option is out of bounds.
    """
    if max_new_tokens < 1:
        raise OptionError(f"max_new_tokens={max_new_tokens} is not possible.", "Ask for at least 1 token.")
    if not 0 <= temperature <= 100:
        raise OptionError(f"temperature={temperature} is not possible.", "Give a number from 0 (greedy) to 100.")
    context = context_length(model)
    for prompt in prompts:
        if len(prompt) >= context:
            raise OptionError(
                f"A prompt of {len(prompt)} tokens leaves no room for an answer in this model's context of {context}.",
                "Shorten the prompt.",
            )
    decoded = decode(
        model,
        prompts,
        stop=encoder.stop_tokens(model),
        max_new_tokens=max_new_tokens,
        context_length=context,
        temperature=temperature,
        seed=seed,
    )
    return [Answer(encoder.answer_text(one.ids), one.ids, one.finished) for one in decoded]


def context_length(model: nn.Module) -> int:
    """The most tokens the model was made for, prompt and answer together."""
    config = getattr(model, "config", None)
    return int(getattr(config, "max_position_embeddings", None) or UNLIMITED_CONTEXT)


@contextmanager
def adapter_off(model: nn.Module) -> Iterator[None]:
    """The base model for the length of the block; a model without an adapter is its own base."""
    if isinstance(model, PeftModel):
        with model.disable_adapter():
            yield
    else:
        yield


class Generator:
    """A loaded model that answers.

    Attributes:
        name: what was asked for.
        base: the name of the base model when an adapter is loaded, else None.
        precision: what is computed in: fp32, bf16 or fp16.
    """

    def __init__(
        self, model: nn.Module, encoder: PromptEncoder, *, name: str, base: str | None, precision: str
    ) -> None:
        self.name = name
        self.base = base
        self.precision = precision
        self._model = model
        self._encoder = encoder

    def answer(
        self, messages: Prompt, *, max_new_tokens: int = MAX_NEW_TOKENS, temperature: float = 0.0, seed: int = 0
    ) -> str:
        """The answer to one chat or text; temperature 0 is greedy."""
        return self.answer_many([messages], max_new_tokens=max_new_tokens, temperature=temperature, seed=seed)[0]

    def answer_many(
        self,
        prompts: Sequence[Prompt],
        *,
        max_new_tokens: int = MAX_NEW_TOKENS,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[str]:
        """The answers to several prompts, computed together; each is what `answer` gives for it alone."""
        answers = answer_ids(
            self._model,
            self._encoder,
            [self._encoder.encode(prompt) for prompt in prompts],
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
        )
        return [answer.text for answer in answers]

    @contextmanager
    def without_adapter(self) -> Iterator[None]:
        """Answer as the base model for the length of the block, with the same prompts.

        Raises:
            ModelError: no adapter is loaded, so there is no base to compare with.
        """
        if self.base is None:
            raise ModelError(
                f"{self.name} is a whole model without an adapter, so there is no base to compare it with.",
                "Name an adapter's folder or the folder of a LoRA run.",
            )
        with adapter_off(self._model):
            yield
