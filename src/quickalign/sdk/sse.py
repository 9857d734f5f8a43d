"""Server-sent events as of the WHATWG's HTML standard, section 9.2.6: bytes to events."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event of a stream; `id` is the last one seen, which says where to go on."""

    kind: str
    data: str
    id: str | None


def events(chunks: Iterable[bytes]) -> Generator[ServerEvent, None, None]:
    """The events of a stream's bytes, cut anywhere. One that the end of the stream cuts off is left out."""
    kind, data, last_id = "", list[str](), None
    for line in _lines(chunks):
        if not line:
            if data or kind:
                yield ServerEvent(kind or "message", "\n".join(data), last_id)
            kind, data = "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            data.append(value)
        elif name == "id" and "\0" not in value:
            last_id = value


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Whole lines. Only line feeds and carriage returns end one: other separators of Unicode are text."""
    rest = b""
    for chunk in chunks:
        # a carriage return at the very end may be the first half of a pair
        held = b"\r" if chunk.endswith(b"\r") else b""
        whole = (rest + chunk[: len(chunk) - len(held)]).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = whole.split(b"\n")
        rest += held
        yield from (line.decode(errors="replace") for line in lines)
