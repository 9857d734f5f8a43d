"""What passes through: whole events of a stream, and the little that the figures take from them."""

import re

_END = b"\n\n"
_DONE = b"data: [DONE]\n\n"
_ERROR = b'data: {"error"'
_LONGEST_EVENT = 4 << 20
_USAGE = re.compile(rb'"usage":\{[^{}]*"completion_tokens":(\d{1,12})')
_UNFINISHED, _ROLE = b'"finish_reason":null', b'"role":"assistant"'


class Events:
    """A stream's bytes, unchanged, cut at the ends of events.

    A stream that breaks off in the middle of an event is then passed on up to the event before, so that an error event
    can follow it.

    Attributes:
        tokens: what the usage said; until then events with text, each of which is a token or, seldom, several.
        finished: an end or an error was told. A stream that ends without either was cut.
    """

    def __init__(self) -> None:
        self._held = b""
        self._told: int | None = None
        self._counted = 0
        self.finished = False

    @property
    def tokens(self) -> int:
        """Tokens of the answer so far."""
        return self._counted if self._told is None else self._told

    def push(self, chunk: bytes) -> bytes:
        """The events that are whole now; empty while the first one is not."""
        held = self._held + chunk if self._held else chunk
        cut = held.rfind(_END) + len(_END) if _END in held else 0
        if not cut and len(held) > _LONGEST_EVENT:
            cut = len(held)
        whole, self._held = held[:cut], held[cut:]
        if whole:
            self._look(whole)
        return whole

    def _look(self, whole: bytes) -> None:
        self._counted += whole.count(_UNFINISHED) - whole.count(_ROLE)
        self._told = tokens_in(whole, self._told)
        self.finished = self.finished or whole.endswith(_DONE) or _ERROR in whole


def tokens_in(answer: bytes, otherwise: int | None = None) -> int | None:
    """How many tokens an answer's usage says it has."""
    if b'"completion_tokens"' not in answer:
        return otherwise
    found = _USAGE.findall(answer)
    return int(found[-1]) if found else otherwise
