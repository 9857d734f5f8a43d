"""Which of the servers of a database moves jobs and services along: one at a time, and it knows when it no longer does.

That one holds a lease: a row that it prolongs, and that others may take when it has run out by the database's clock. By
its own clock it stops a second before. Should it have stood still meanwhile, and not noticed, the row's fence is higher
than its own, and every transaction in which it would act is refused by the database. See decision 75.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import ColumnElement, func, or_, select, true, update
from sqlalchemy.orm import Session

from quickalign.core.errors import ConflictError, QuickalignError, UnavailableError
from quickalign.platform import ids
from quickalign.platform.db.engine import Database
from quickalign.platform.db.server_tables import LeadershipRow
from quickalign.platform.processes import Identity, Sight, boot_id, identify, look

LEASE_SECONDS = 6.0
_MARGIN_SECONDS = 1.0
"""How long before the others may begin the holder stops."""
_ASK_SECONDS = 0.5
_STILL_MILLISECONDS = 5000
"""A transaction that acts and then stands still for so long is undone: its lock would keep others from taking over."""


class NotLeadingError(UnavailableError):
    """Another server leads now; whatever this one was about to do is the other's."""


class Leadership(Protocol):
    """What the loops ask before they do anything."""

    @property
    def is_shared(self) -> bool:
        """Whether there may be other servers."""

    def keep(self) -> int | None:
        """Stay the one that leads, or become it where nobody is: as `term`."""

    def term(self) -> int | None:
        """Which time of leading it is; None while another server leads. Whoever begins a new one trusts no memory."""

    def check(self, session: Session) -> None:
        """Make the transaction one of the server that leads.

        Raises:
            NotLeadingError: it is not this one.
        """


class Sole:
    """The leadership of a server that can have no others beside it. See `Leadership`."""

    is_shared = False

    def keep(self) -> int | None:
        """See `Leadership`."""
        return 0

    def term(self) -> int | None:
        """See `Leadership`."""
        return 0

    def check(self, session: Session) -> None:
        """See `Leadership`."""


class Holder(BaseModel):
    """A server as the others know it. `machine` is where a process id and a port of 127.0.0.1 mean the same."""

    model_config = ConfigDict(frozen=True)

    id: str
    machine: str
    process: Identity

    @classmethod
    def this(cls) -> "Holder":
        """This process, as a server."""
        process = identify(os.getpid())
        assert process is not None
        return cls(id=ids.new("server"), machine=this_machine(), process=process)

    @property
    def is_dead(self) -> bool:
        """Whether its process is known to have ended, so that nobody need wait for the end of its lease."""
        return self.machine == this_machine() and look(self.process) is Sight.GONE


def this_machine() -> str:
    """The boot, and the namespaces of processes and of the network: what a container may have of its own."""
    found = [boot_id()]
    for space in ("pid", "net"):
        with suppress(OSError):
            found.append(str(Path(f"/proc/self/ns/{space}").readlink()))
    return " ".join(found)


@dataclass(frozen=True, slots=True)
class _Held:
    fence: int
    until: float


def _clock() -> float:
    """Seconds since the boot, also of those in which the machine was suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _database_clock() -> ColumnElement[Any]:
    return func.extract("epoch", func.clock_timestamp())


class Lease:
    """The leadership of a server that shares its database with others. See `Leadership`."""

    is_shared = True

    def __init__(
        self,
        database: Database,
        *,
        me: Holder | None = None,
        now: Callable[[], ColumnElement[Any]] = _database_clock,
        monotonic: Callable[[], float] = _clock,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database, self._now, self._monotonic, self._sleep = database, now, monotonic, sleep
        self.me = me or Holder.this()
        self._lock = threading.Lock()
        self._held: _Held | None = None
        self._asked = float("-inf")

    def keep(self) -> int | None:
        """See `Leadership`. Asks the database at most twice a second."""
        with self._lock:
            before = self._monotonic()
            if before - self._asked >= _ASK_SECONDS:
                fence = self._prolong() if self._held else None
                fence = self._take() if fence is None else fence
                self._held = None if fence is None else _Held(fence, before + LEASE_SECONDS - _MARGIN_SECONDS)
                self._asked = before
            return self.term()

    def term(self) -> int | None:
        """See `Leadership`."""
        held = self._held
        return held.fence if held is not None and self._monotonic() < held.until else None

    def check(self, session: Session) -> None:
        """See `Leadership`. Until the transaction ends, nobody can take over."""
        held = self._held
        columns: list[Any] = [LeadershipRow.fence]
        if self._database.is_shared:
            columns.append(func.set_config("idle_in_transaction_session_timeout", str(_STILL_MILLISECONDS), true()))
        mine = select(*columns).with_for_update(read=True)
        if held is None or session.execute(mine.where(LeadershipRow.fence == held.fence)).first() is None:
            raise NotLeadingError("Another server looks after jobs and services now.", "Nothing is to be done.")

    def check_place(self) -> None:
        """Refuse to stand by for a server whose processes cannot be seen from here; one that is dead is waited for.

        Raises:
            ConflictError: the one that leads is on another machine, and lives.
        """
        end = self._monotonic() + LEASE_SECONDS + 2 * _ASK_SECONDS
        while self.keep() is None and self._is_led_elsewhere():
            if self._monotonic() > end:
                raise ConflictError(
                    "Another server of this home runs on another machine or in another container, and its jobs there.",
                    "Start this one beside it, or let jobs run on a cluster that both reach (`executor` in "
                    "config.toml).",
                )
            self._sleep(_ASK_SECONDS)

    def _is_led_elsewhere(self) -> bool:
        with self._database.read() as session:
            holder = _holder(session.scalars(select(LeadershipRow.holder)).one())
        return holder is not None and holder.machine != this_machine()

    def release(self) -> None:
        """Let another server lead at once; where that cannot be said, it does when the lease has run out."""
        with self._lock:
            held, self._held, self._asked = self._held, None, float("inf")
            if held is not None:
                free = update(LeadershipRow).where(LeadershipRow.fence == held.fence).values(holder=None)
                with suppress(QuickalignError), self._database.write() as session:
                    session.execute(free)

    def _prolong(self) -> int | None:
        assert self._held is not None
        mine = LeadershipRow.fence == self._held.fence
        query = update(LeadershipRow).where(mine).values(expires_at=self._now() + LEASE_SECONDS)
        with self._database.write() as session:
            return session.scalar(query.returning(LeadershipRow.fence))

    def _take(self) -> int | None:
        """Begin to lead where nobody does; a new fence keeps out whoever did before."""
        free = or_(LeadershipRow.holder.is_(None), LeadershipRow.expires_at < self._now())
        with self._database.read() as session:
            fence, text, is_free = session.execute(select(LeadershipRow.fence, LeadershipRow.holder, free)).one()
        holder = _holder(text)
        dead = holder is not None and holder.is_dead
        if not is_free and not dead:
            return None
        values = {"holder": self.me.model_dump_json(), "fence": fence + 1, "expires_at": self._now() + LEASE_SECONDS}
        still = (LeadershipRow.fence == fence, true() if dead else free)
        with self._database.write() as session:
            return session.scalar(update(LeadershipRow).where(*still).values(values).returning(LeadershipRow.fence))


class Acting:
    """The door through which only the server that leads may write."""

    def __init__(self, database: Database, leadership: Leadership) -> None:
        self._database, self._leadership = database, leadership

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction as `Database.write` gives one.

        Raises:
            NotLeadingError: another server leads; nothing is written.
        """
        with self._database.write() as session:
            self._leadership.check(session)
            yield session


def _holder(text: str | None) -> Holder | None:
    try:
        return Holder.model_validate_json(text) if text else None
    except ValidationError:  # one of another version; its lease runs out as any other's
        return None
