"""`python -m quickalign.platform.programs.row_tokens`: rows of a file as tokens, with what `seq_length` cuts marked."""

import json
import sys
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import islice
from typing import Any

from quickalign.core.errors import QuickalignError
from quickalign.core.wire.files import RowTokens, RowTokensPage, TokenPiece

_WHOLE = 1_048_576
_MOST_TOKENS = 4096


def main() -> int:
    """Print the rows, or what went wrong; returns the exit code of `core.errors`."""
    try:
        sys.stdout.write(_rows(json.load(sys.stdin)).model_dump_json() + "\n")
    except QuickalignError as error:
        sys.stdout.write(json.dumps({"message": error.message, "remedy": error.remedy}) + "\n")
        return error.exit_code
    return 0


def _rows(request: dict[str, Any]) -> RowTokensPage:
    from quickalign.data.encode import Encoder  # noqa: PLC0415 - after the request was read
    from quickalign.data.tokenizer import load_tokenizer  # noqa: PLC0415
    from quickalign.hub.source import resolve  # noqa: PLC0415

    tokenizer = load_tokenizer(resolve(request["model"]).path)
    length = int(request["seq_length"])
    whole, cut = (
        Encoder(tokenizer, seq_length=size, system_prompt=request["system_prompt"]) for size in (_WHOLE, length)
    )
    items = []
    for record in _records(request):
        full, short = whole.encode([record])[0], cut.encode([record])[0]
        items.append(_row(full, short, tokenizer))
    return RowTokensPage(seq_length=length, items=tuple(item for item in items if item is not None))


def _records(request: dict[str, Any]) -> Iterator[Any]:
    from quickalign.data.feed import Feed  # noqa: PLC0415
    from quickalign.data.formats.base import Choices  # noqa: PLC0415
    from quickalign.data.read import open_rows  # noqa: PLC0415
    from quickalign.data.report import BadRow  # noqa: PLC0415

    first, last = int(request["offset"]), int(request["offset"]) + int(request["limit"])
    with open_rows(request["uri"]) as source:
        for row in islice(Feed(request["uri"], source, "auto", None, Choices()), first, last):
            if not isinstance(row, BadRow):
                yield from row


def _row(full: Any, short: Any, tokenizer: Any) -> RowTokens | None:
    from quickalign.data.encode import EncodedPair, EncodedRow  # noqa: PLC0415

    if not isinstance(full, EncodedRow):
        return None
    whole = full.example
    kept = short.example if isinstance(short, EncodedRow) else None
    answer, other = ("chosen", "rejected") if isinstance(whole, EncodedPair) else ("response", None)

    def pieces(name: str) -> tuple[TokenPiece, ...]:
        left = [] if kept is None else getattr(kept, name).tolist()
        return _pieces(getattr(whole, name).tolist(), left, tokenizer)

    return RowTokens(
        row=whole.row,
        prompt=pieces("prompt"),
        chosen=pieces(answer),
        rejected=None if other is None else pieces(other),
    )


def _pieces(ids: Sequence[int], kept: Sequence[int], tokenizer: Any) -> tuple[TokenPiece, ...]:
    """All tokens; those that are not in `kept` are marked as cut."""
    stays: set[int] = set()
    for block in SequenceMatcher(None, ids, kept, autojunk=False).get_matching_blocks():
        stays.update(range(block.a, block.a + block.size))
    texts = [tokenizer.decode([i], skip_special_tokens=False) for i in ids[:_MOST_TOKENS]]
    return tuple(
        TokenPiece(id=i, text=text, cut=place not in stays)
        for place, (i, text) in enumerate(zip(ids, texts, strict=False))
    )


if __name__ == "__main__":
    sys.exit(main())
