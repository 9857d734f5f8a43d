"""The requests' bodies: what is known, its types and bounds, and what is refused by name."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from quickalign.serve.http.errors import bad_value, from_validation

MOST_CHOICES = 128
_MOST_STOPS = 16
_LONGEST_STOP = 1000
_INT64 = 1 << 63
_LEAST_REPETITION = 0.01
"""Logits divided by less, and then by a small temperature, are no numbers any more in fp32."""

_NOTHING: tuple[Any, ...] = (None, [])
"""An empty object is not nothing: `web_search_options={}` asks for a search, and `guided_json={}` for JSON."""
_WITHOUT_EFFECT = {"user", "metadata", "safety_identifier", "prompt_cache_key"}
_HARMLESS: dict[str, tuple[Any, ...]] = {
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "function_call": ("none", "auto"),
    "chat_template_kwargs": ({},),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "best_of": (1,),
    "suffix": ("",),
    "use_beam_search": (False,),
    "skip_special_tokens": (True,),
    "include_stop_str_in_output": (False,),
    "min_tokens": (0,),
    "length_penalty": (1.0,),
    "echo": (False,),
}
"""Values that say what happens anyway, of parameters that are refused otherwise."""


class StreamOptions(BaseModel):
    """What a stream tells besides its tokens."""

    model_config = ConfigDict(extra="forbid", strict=True)

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
    include_obfuscation: Literal[False] | None = None


class _Body(BaseModel):
    """What both kinds of request have. A null is the same as leaving the parameter out."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False, protected_namespaces=())

    model: Annotated[str, Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None
    stop: str | list[str] | None = None
    seed: Annotated[int, Field(ge=-_INT64, lt=_INT64)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, lt=1 << 31)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Field(ge=_LEAST_REPETITION, le=10)] | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    ignore_eos: bool | None = None
    return_token_ids: bool | None = None

    @field_validator("stop", mode="before")
    @classmethod
    def _check_stop(cls, value: Any) -> Any:
        stops = [value] if isinstance(value, str) else value
        if stops is None:
            return None
        if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
            raise ValueError("must be a string or a list of strings")
        if len(stops) > _MOST_STOPS or any(not 0 < len(stop) <= _LONGEST_STOP for stop in stops):
            raise ValueError(f"must be up to {_MOST_STOPS} strings of 1 to {_LONGEST_STOP} characters")
        return stops

    @property
    def stops(self) -> list[str]:
        """The stop strings."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    def refuse_unknown(self) -> None:
        """Refuse every parameter that would not be honoured.

        Raises:
            ApiError: with the first one's name.
        """
        for name, value in (self.model_extra or {}).items():
            allowed = (*_NOTHING, *_HARMLESS.get(name, ()), *((self.n or 1,) if name == "best_of" else ()))
            if name not in _WITHOUT_EFFECT and not any(type(value) is type(a) and value == a for a in allowed):
                raise bad_value(
                    f"{name} is not supported by this replica; leave it out.", name, code="unsupported_parameter"
                )
        if self.stream_options is not None and not self.stream:
            raise bad_value("stream_options has a meaning only with stream=true.", "stream_options")


class ChatBody(_Body):
    """`POST /v1/chat/completions`."""

    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    @property
    def most_tokens(self) -> int | None:
        """The most tokens of an answer; None for as many as there is room for."""
        if None not in (self.max_tokens, self.max_completion_tokens) and self.max_tokens != self.max_completion_tokens:
            raise bad_value(
                f"max_tokens={self.max_tokens} and max_completion_tokens={self.max_completion_tokens} differ; "
                "give one of them.",
                "max_tokens",
            )
        return self.max_completion_tokens if self.max_tokens is None else self.max_tokens

    @property
    def top(self) -> int | None:
        """How many likeliest tokens are told with each token; None for no log-probs."""
        if self.top_logprobs is not None and not self.logprobs:
            raise bad_value("top_logprobs needs logprobs=true.", "top_logprobs")
        return (self.top_logprobs or 0) if self.logprobs else None


class CompletionBody(_Body):
    """`POST /v1/completions`."""

    prompt: str | list[Any]
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool | None = None

    @field_validator("prompt", mode="before")
    @classmethod
    def _check_prompt(cls, value: Any) -> Any:
        if not isinstance(value, str | list):
            raise ValueError("must be a text, a list of texts, or token ids")
        return value


Body = ChatBody | CompletionBody
_T = TypeVar("_T", ChatBody, CompletionBody)


def parse(kind: type[_T], raw: bytes) -> _T:
    """Read and check a body.

    Raises:
        ApiError: 400, with what is wrong.
    """
    try:
        body = kind.model_validate_json(raw)
    except ValidationError as error:
        raise from_validation(error) from None
    body.refuse_unknown()
    return body
