"""The port between HTTP and what computes tokens.

An engine is seen from two sides. `Core` is its inside: a plain object in a process of its own, driven step by step by
`quickalign.serve.worker`; it knows token ids only, neither text nor HTTP. `Engine` is its outside: what the HTTP side
holds, asynchronous and never blocking. Between the two go the plain values below.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from quickalign.core.errors import ModelError, UnavailableError
from quickalign.core.wire.services import Weights

Finish = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the tokens of an answer are chosen.

    The steps, in order: repetition, presence and frequency penalties, `bias`, `temperature`, `top_k`, `top_p`, `min_p`,
    a draw. Log-probs are those of the model itself, before all of them.

    Attributes:
        max_tokens: the most tokens of an answer; 0 only scores the prompt.
        temperature: divides the logits; 0 takes the likeliest token.
        top_k: only that many of the likeliest tokens are drawn from; 0 takes all.
        top_p: only the smallest set of likeliest tokens whose probabilities sum to at least this is drawn from.
        min_p: only tokens at least this many times as likely as the likeliest are drawn from.
        presence: taken off the logits of tokens that the answer already has.
        frequency: taken off the logits, times how often the answer has the token.
        repetition: logits of tokens in prompt or answer are divided by this where positive, multiplied where negative.
        bias: added to the logits, by token id.
        seed: of the draws. Choice number i of a request draws with a seed made from this one and i.
        stop: ids that end an answer.
        logprobs: how many likeliest tokens are told with each token; None tells no log-probs at all.
        prompt_logprobs: the same for the prompt's own tokens.
    """

    max_tokens: int
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    presence: float = 0.0
    frequency: float = 0.0
    repetition: float = 1.0
    bias: tuple[tuple[int, float], ...] = ()
    seed: int = 0
    stop: frozenset[int] = frozenset()
    logprobs: int | None = None
    prompt_logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """One prompt to answer `choices` times. `first` is the number of its first choice within the request."""

    prompt: tuple[int, ...]
    sampling: Sampling
    choices: int = 1
    first: int = 0


@dataclass(frozen=True, slots=True)
class TokenScore:
    """A token with its log-prob, and the likeliest tokens at its place with theirs, likeliest first."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()

    def __reduce__(self) -> tuple[type[TokenScore], tuple[object, ...]]:
        """As in `TokenOut`."""
        return TokenScore, (self.token, self.logprob, self.top)


@dataclass(frozen=True, slots=True)
class TokenOut:
    """What one step brought for one choice.

    Attributes:
        choice: its number within the request.
        token: the token; None where the step brought only the prompt's scores.
        score: its log-prob, where asked for.
        finish: why the choice is over with this token: the model ended it (the token is its end token), or its room
            is used up. None where it goes on.
        prompt: the scores of the prompt's tokens from the second on, with a prompt's first choice where asked for.
        error: why the engine gave the choice up.
    """

    choice: int
    token: int | None
    score: TokenScore | None = None
    finish: Finish | None = None
    prompt: tuple[TokenScore, ...] | None = None
    error: str | None = None

    def __reduce__(self) -> tuple[type[TokenOut], tuple[object, ...]]:
        """How it crosses the border of a process: as a call, three times as fast as what dataclasses bring along."""
        return TokenOut, (self.choice, self.token, self.score, self.finish, self.prompt, self.error)


@dataclass(frozen=True, slots=True)
class ReferenceAnswer:
    """A greedy answer of transformers' own `generate`, and how far the likeliest token led at each place, in nats."""

    prompt: tuple[int, ...]
    ids: tuple[int, ...]
    leads: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class KeeperInfo:
    """Who keeps a base that several replicas share.

    Attributes:
        key: of all that must be equal for those that share it.
        pid: its process.
        mark: by which everything that it started is known.
    """

    key: str
    pid: int
    mark: str


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine has loaded.

    Attributes:
        engine: the engine's name.
        device: what it computes on.
        precision: what it computes in.
        context: the most tokens of prompt and answer together.
        vocabulary: how many token ids the model scores.
        end_tokens: the ids that end an answer by the model's own configuration.
        slots: how many choices it computes at once.
        adapter: how an adapter is applied: merged or beside; none where there is none.
        weights_bytes: what the weights take in memory.
        references: what transformers' own `generate` answers, for the proof.
        keeper: who keeps the weights, where other replicas may use them too; None where they are this engine's alone.
        least_temperature: the least above 0 that it draws with; 0 where it draws with any.
    """

    engine: str
    device: str
    precision: str
    context: int
    vocabulary: int
    end_tokens: tuple[int, ...]
    slots: int
    adapter: Literal["none", "merged", "beside"]
    weights_bytes: int
    references: tuple[ReferenceAnswer, ...] = field(default=(), repr=False)
    keeper: KeeperInfo | None = None
    least_temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class Load:
    """What a core is to load.

    Attributes:
        engine: the engine's name.
        weights: folder of the (base) model.
        adapter: folder of an adapter in PEFT's layout on it.
        quantization: how the base was quantised in training: none, 4bit or 8bit.
        precisions: fp32, bf16, fp16 or auto, in the order they are tried; the first that the device has is taken.
        slots: the most choices computed at once.
        compression: what the weights alone are rounded to; auto leaves them as they are.
        context: a bound on prompt and answer together below the model's own; None takes the model's.
        probes: prompts that transformers' own `generate` answers before the engine starts.
        probe_tokens: the longest such answer.
        cache_bytes: what converted models may take on the disk.
        share_base: whether replicas of one base share its weights; None where an adapter stays beside it anyway.
    """

    engine: str
    weights: str
    adapter: str | None
    quantization: Literal["none", "4bit", "8bit"]
    precisions: tuple[str, ...]
    slots: int
    context: int | None
    compression: Weights = "auto"
    probes: tuple[tuple[int, ...], ...] = ()
    probe_tokens: int = 0
    cache_bytes: int = 20_000_000_000
    share_base: bool | None = None


class Core(Protocol):
    """The inside of an engine. Used by one thread."""

    info: EngineInfo

    def add(self, number: int, generation: Generation) -> None:
        """Take a generation in; `number` names its request, of which it may be one of several."""

    def cancel(self, number: int, choice: int | None) -> None:
        """Drop one choice of request `number`, or all of them; one that is over already is no error."""

    def step(self) -> list[tuple[int, TokenOut]]:
        """Compute a little for everything taken in; returns what came out, with the request's number."""

    @property
    def idle(self) -> bool:
        """Whether there is nothing to compute."""

    def check(self) -> None:
        """Look, while there is nothing to compute, whether something could be.

        Raises:
            RunError: what the engine needs has ended.
        """

    def abandon(self, reason: str) -> list[tuple[int, TokenOut]]:
        """Give everything up after a step that failed; returns the last word on each open choice."""


class EngineCannotError(ModelError):
    """The engine has no way to compute this model; another engine may have one."""


class EngineBusyError(UnavailableError):
    """There are as many open choices as the replica takes; `retry_after` says in how many seconds to ask again."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message, "Ask again in a moment, or raise max_waiting or the number of replicas.")
        self.retry_after = retry_after


class EngineFailedError(UnavailableError):
    """The engine gave a generation up, or its process is gone."""


class Stream(Protocol):
    """What comes out of a request. Leaving it before its end needs `cancel`."""

    def __aiter__(self) -> AsyncIterator[TokenOut]:
        """Every token of every choice as it comes; ends when all choices are over."""

    def cancel(self, choice: int | None = None) -> None:
        """Compute no more for one choice, or for all of them."""


class Engine(Protocol):
    """The outside of an engine."""

    @property
    def info(self) -> EngineInfo:
        """What is loaded."""

    @property
    def running(self) -> int:
        """Open choices, those that wait included."""

    @property
    def capacity(self) -> int:
        """The most open choices."""

    @property
    def failure(self) -> str | None:
        """Why the engine computes no more; None while it does."""

    def submit(self, generations: Sequence[Generation]) -> Stream:
        """Start a request of one or several prompts; all are taken or none.

        Raises:
            EngineBusyError: too many choices are open.
            EngineFailedError: the engine is gone.
        """
