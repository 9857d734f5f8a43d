"""From an engine's tokens to text that may be shown, for every choice of a request."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

from quickalign.serve.detokenize import Decode, Detokenizer, StopStrings
from quickalign.serve.engine import Finish, Stream, TokenOut, TokenScore


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of one choice that may be shown.

    Attributes:
        choice: its number.
        text: the text; may be empty.
        tokens: the tokens it is made of.
        finish: why the choice is over with this piece; None where it goes on.
        prompt: the scores of the prompt's tokens from the second on, with the first piece where asked for.
        end: the token by which the model ended the choice, with its last piece; it has no text.
    """

    choice: int
    text: str
    tokens: tuple[TokenOut, ...]
    finish: Finish | None = None
    prompt: tuple[TokenScore, ...] | None = None
    end: TokenOut | None = None


class _Choice:
    """The text of one choice: tokens wait here until what they say is sure."""

    def __init__(self, decode: Decode, stops: Sequence[str], before: Sequence[int]) -> None:
        self._text = Detokenizer(decode, before)
        self._stops = StopStrings(stops)
        self._waiting: list[tuple[TokenOut, int]] = []
        self._prompt: tuple[TokenScore, ...] | None = None
        self._made = 0
        self._shown = 0

    def push(self, told: TokenOut) -> Piece | None:
        """What may be shown now."""
        self._prompt = told.prompt if told.prompt is not None else self._prompt
        ended = told.finish == "stop"
        made = "" if ended or told.token is None else self._text.push(told.token)
        if told.token is not None and not ended:
            self._waiting.append((told, self._made))
        made += self._text.flush() if told.finish else ""
        self._made += len(made)
        shown = self._stops.push(made)
        finish: Finish | None = "stop" if self._stops.stopped else told.finish
        shown += self._stops.flush() if finish else ""
        self._shown += len(shown)
        if not shown and finish is None:
            return None
        end = told if ended and told.token is not None and not self._stops.stopped else None
        return self._piece(told.choice, shown, finish, end)

    def _piece(self, choice: int, text: str, finish: Finish | None, end: TokenOut | None) -> Piece:
        """The piece with its tokens. Those that lie behind a stop string's begin go unseen."""
        over = self._stops.stopped
        tokens = tuple(told for told, start in self._waiting if start < self._shown or (finish and not over))
        self._waiting = [(told, start) for told, start in self._waiting if start >= self._shown]
        prompt, self._prompt = self._prompt, None
        return Piece(choice, text, tokens, finish, prompt, end)


class Answers:
    """The choices of one request.

    Args:
        stream: the engine's tokens.
        before: for each choice, the ids that its text goes on from; none where it is a text of its own.
        decode: ids -> text.
        stops: the strings that end an answer.
        told: called once for every token the engine has made.
    """

    def __init__(
        self,
        stream: Stream,
        before: Sequence[Sequence[int]],
        decode: Decode,
        stops: Sequence[str],
        told: Callable[[TokenOut], None],
    ) -> None:
        self._stream = stream
        self._choices = [_Choice(decode, stops, ids) for ids in before]
        self._told = told
        self.tokens = 0

    def cancel(self) -> None:
        """Compute no more for any of them."""
        self._stream.cancel()

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """Every piece of every choice as it comes. However this is left, nothing is computed any more.

        Raises:
            EngineFailedError: the engine gave a choice up.
        """
        over: set[int] = set()
        try:
            async for told in self._stream:
                if told.choice in over:  # on its way already when a stop string ended the choice
                    continue
                if told.token is not None:
                    self.tokens += 1
                self._told(told)
                piece = self._choices[told.choice].push(told)
                if piece is None:
                    continue
                if piece.finish is not None:
                    over.add(piece.choice)
                    self._stream.cancel(piece.choice)
                yield piece
        finally:
            self._stream.cancel()
