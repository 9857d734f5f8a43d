"""Votes on answers: an append-only file in the home, and the preference pairs that they are.

One line a vote, never changed: what people preferred is evidence, and a dataset made of it can be made again.
"""

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from quickalign.core.errors import DataError, StorageError
from quickalign.core.wire.base import Page
from quickalign.core.wire.files import StoredFile
from quickalign.core.wire.votes import Vote, VoteCount, VoteCreate
from quickalign.platform import ids
from quickalign.platform.files.service import Files

FILE = "votes.jsonl"


class Votes:
    """The votes of one home."""

    def __init__(self, file: Path, files: Files, clock: Callable[[], float]) -> None:
        self._file, self._files, self._clock = file, files, clock
        self._lock = threading.Lock()

    def add(self, request: VoteCreate) -> Vote:
        """Keep a vote; it is on the disk when this returns.

        Raises:
            StorageError: it cannot be written.
        """
        vote = Vote(**request.model_dump(), id=ids.new("vote"), created_at=self._clock())
        line = vote.model_dump_json().encode("utf-8", "replace") + b"\n"
        try:
            self._file.touch(mode=0o600)  # conversations are nobody else's, whoever made the home
            with self._lock, self._file.open("ab") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)  # other servers of this home write here too
                stream.seek(0, os.SEEK_END)
                if stream.tell() and not _ends_with_a_line(self._file):
                    stream.write(b"\n")  # what a killed server left half-written stays a line of its own
                stream.write(line)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise StorageError(f"The vote cannot be kept: {error}.", "Make room on the disk of the home.") from None
        return vote

    def list(self, *, after: str | None = None, limit: int = 100) -> Page[Vote]:
        """Votes, newest first."""
        found = list(self._read())[::-1]
        if after is not None:
            place = next((index for index, vote in enumerate(found) if vote.id == after), len(found) - 1)
            found = found[place + 1 :]
        items = tuple(found[: max(1, limit)])
        return Page(items=items, next=items[-1].id if len(found) > len(items) else None)

    def count(self) -> VoteCount:
        """How many votes there are, and how many pairs they make."""
        votes = list(self._read())
        return VoteCount(votes=len(votes), pairs=sum(len(pairs(vote)) for vote in votes))

    def dataset(self, filename: str = FILE) -> StoredFile:
        """A file of the preference pairs of all votes so far, each with its origin.

        Raises:
            DataError: no vote makes a pair. OptionError: the name cannot be a file's.
        """
        rows = [pair for vote in self._read() for pair in pairs(vote)]
        if not rows:
            raise DataError(
                "There is no preference pair among the votes.",
                "Vote for one of two answers first, or write a better one.",
            )
        with self._files.begin(filename) as incoming:
            for row in rows:
                incoming.write(orjson.dumps(row) + b"\n")
            return incoming.commit()

    def _read(self) -> Iterator[Vote]:
        try:
            lines = self._file.read_bytes().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                yield Vote.model_validate_json(line)
            except ValueError:  # cut off when the machine lost its power
                continue


def pairs(vote: Vote) -> list[dict[str, Any]]:
    """The preference pairs of a vote, in the format `messages`. A tie and two bad answers make none.

    A better answer that somebody wrote is preferred to both.
    """
    match vote.choice:
        case "left":
            found = [(vote.left.text, vote.right)]
        case "right":
            found = [(vote.right.text, vote.left)]
        case "edited":
            found = [(vote.edited or "", vote.left), (vote.edited or "", vote.right)]
        case _:
            found = []
    return [_row(vote, chosen, rejected.text) for chosen, rejected in found if chosen != rejected.text]


def _row(vote: Vote, chosen: str, rejected: str) -> dict[str, Any]:
    origin = vote.model_dump(exclude={"messages", "edited"})
    for side in ("left", "right"):
        origin[side].pop("text")
    return {
        "prompt": [turn.model_dump() for turn in vote.messages],
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
        "category": "votes",
        "origin": origin,
    }


def _ends_with_a_line(file: Path) -> bool:
    with file.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"
