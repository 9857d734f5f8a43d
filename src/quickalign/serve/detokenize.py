"""From token ids to text while they come: never half a character, and never the beginning of a stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_BROKEN = "\N{REPLACEMENT CHARACTER}"
_WINDOW = 24
_CONTEXT = 6
_LONGEST_BROKEN = 8
"""A character has four bytes at most. A longer run of broken bytes is no character that is still coming."""

Decode = Callable[[Sequence[int]], str]


class Detokenizer:
    """Turns one answer's ids into text, piece by piece; the pieces together are the text of all ids.

    Only a window over the last ids is decoded for each new one, so that the work does not grow with the answer. The
    window is cut only where its text ends with a whole character.

    Args:
        decode: ids -> text, with bytes that are no characters as U+FFFD.
        before: ids that the answer goes on from. Tokenizers of SentencePiece's kind leave out the space before a text's
            first word, and behind these the answer's first word is not one.
    """

    def __init__(self, decode: Decode, before: Sequence[int] = ()) -> None:
        self._decode = decode
        self._window = list(before[-_WINDOW:])
        text = decode(self._window) if self._window else ""
        if text.endswith(_BROKEN):  # half a character, which is not the answer's to finish
            self._window, text = [], ""
        self._sent = self._whole = len(text)
        self._open = 0

    def push(self, token: int) -> str:
        """The text that is sure now that `token` has come; may be empty."""
        self._window.append(token)
        self._open += 1
        text = self._decode(self._window)
        sure = text.rstrip(_BROKEN)
        if len(sure) < self._whole:  # single bytes that stand together are all broken until the last of them has come
            self._window = self._window[-self._open :]
            self._sent, self._whole = max(self._sent - self._whole, 0), 0
            text = self._decode(self._window)
            sure = text.rstrip(_BROKEN)
        if len(text) - len(sure) > _LONGEST_BROKEN:
            sure = text[:-_LONGEST_BROKEN]
        piece = self._advance(text, len(sure))
        if len(sure) == len(text):
            self._whole, self._open = len(text), 0
            if len(self._window) > _WINDOW:
                self._cut(text)
        return piece

    def flush(self) -> str:
        """What was held back; the answer is over."""
        text = self._decode(self._window)
        return self._advance(text, len(text))

    def _advance(self, text: str, sure: int) -> str:
        piece = text[self._sent : sure]
        self._sent = max(self._sent, sure)
        return piece

    def _cut(self, text: str) -> None:
        """Go on with the last ids, where their text alone is the end of the window's text."""
        kept = self._window[-_CONTEXT:]
        alone = self._decode(kept)
        if alone and text.endswith(alone) and not alone.startswith(_BROKEN):
            self._window, self._sent, self._whole = kept, len(alone), len(alone)


class StopStrings:
    """Lets text through up to the first stop string, and holds back an end that may become one.

    Args:
        stops: the strings, none of them empty.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """What may be shown now that `text` has come. Sets `stopped` where a stop string is complete."""
        if self.stopped:
            return ""
        self._held += text
        found = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            shown, self._held, self.stopped = self._held[: min(found)], "", True
            return shown
        keep = self._possible_start()
        shown, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return shown

    def flush(self) -> str:
        """What was held back; no more text comes."""
        shown, self._held = self._held, ""
        return shown

    def _possible_start(self) -> int:
        """Length of the longest end of the held text that begins a stop string."""
        longest = max((len(stop) for stop in self._stops), default=0)
        for length in range(min(longest - 1, len(self._held)), 0, -1):
            end = self._held[-length:]
            if any(stop.startswith(end) for stop in self._stops):
                return length
        return 0
