"""The one exception tree of quickalign.

Every error a user can cause is a `QuickalignError`: one sentence that says which value, why, and what to do. The
command line prints it without a traceback and exits with `exit_code`, so that scripts can tell the kinds apart.
"""

from typing import Any, ClassVar


class QuickalignError(Exception):
    """An error with a remedy. `message` says what was found and why it cannot be; `remedy` says what to do.

    `field` and `value` name what is at fault in a request, where the error is about a part of one.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, remedy: str | None = None, *, field: str | None = None, value: Any = None) -> None:
        self.message = message
        self.remedy = remedy
        self.field = field
        self.value = value
        super().__init__(f"{message} {remedy}" if remedy else message)


class OptionError(QuickalignError):
    """An option, or a combination of options, that cannot be honoured. Raised before any time is spent."""

    exit_code = 2


class DataError(QuickalignError):
    """The data cannot be used as it is: which row, which field, what was found, what was expected."""

    exit_code = 3


class ModelError(QuickalignError):
    """The model cannot be found, read or trusted."""

    exit_code = 4


class StorageError(QuickalignError):
    """A path or URI cannot be read or written."""

    exit_code = 5


class FullDiskError(StorageError):
    """A disk filled up. A job that ends with this code, BSD's for an input or output error, is tried again later."""

    exit_code = 74


class CapacityError(QuickalignError):
    """The run cannot fit in the memory there is; the remedy lists settings that would fit."""

    exit_code = 6


class RunError(QuickalignError):
    """A run stopped because one of its invariants broke (step-0 loss, NaN, a damaged checkpoint)."""

    exit_code = 7


class NotFoundError(QuickalignError):
    """There is no job, file, model or page of that name."""

    exit_code = 8


class ConflictError(QuickalignError):
    """What was asked for does not go with how things stand: a finished job is paused, a key is used twice."""

    exit_code = 9


class TooLargeError(QuickalignError):
    """A file or a request is larger than the server takes."""

    exit_code = 10


class AccessError(QuickalignError):
    """The token is missing or wrong, or the server may not read or write there."""

    exit_code = 11


class UnavailableError(QuickalignError):
    """The server or something it needs (its disk, its database) cannot answer now; the same call may work later."""

    exit_code = 12


class QualityError(QuickalignError):
    """The work is done, and its result is below the bar that was set for it: an evaluation's limit, a parity."""

    exit_code = 13


class Interrupted(QuickalignError):  # noqa: N818 - not a failure: the user asked for it and the work is saved
    """The user stopped the run; its state is saved and the remedy says how to go on."""

    exit_code = 130


def all_kinds() -> tuple[type[QuickalignError], ...]:
    """Every kind of error that this module defines."""
    return tuple(kind for kind in globals().values() if isinstance(kind, type) and issubclass(kind, QuickalignError))


def kind_of(exit_code: int) -> type[QuickalignError] | None:
    """The kind of error that a program told of by its exit code; None where no kind has that code."""
    return next((kind for kind in all_kinds() if kind.exit_code == exit_code), None)


def first_line(error: BaseException) -> str:
    """The first line of what a library's `error` says, as a part of a sentence; its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
