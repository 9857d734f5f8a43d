"""Services under random requests, replicas that come, get ready, end and vanish, clocks, and servers killed in between.

Hypothesis drives. The world of processes outlives every server, so that what must never happen shows there: a replica
that runs twice at once, a process of a replica that nobody knows. At the end all services are deleted, and nothing may
be left of them.
"""

import logging
import os
import shutil
import tempfile
from itertools import pairwise
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from quickalign.core.errors import ConflictError, NotFoundError
from quickalign.core.wire.services import ServiceState, ServiceUpdate
from quickalign.platform import crashpoints
from quickalign.platform.db.service_tables import ReplicaRow, ServiceTokenRow
from quickalign.platform.services.states import OCCUPYING, is_allowed
from tests.support.services import Stage, get_ready

S = ServiceState
NAMES = ("a", "b")
POINTS = (
    *(f"service.{name}" for name in ("create.frozen", "create.done", "updated", "rolled_back", "started", "stopped")),
    "service.deleting",
    *(f"services.{name}" for name in ("announced", "started", "ready_seen", "ready_said", "crash_seen", "crash_said")),
    *(f"services.{name}" for name in ("planned", "signalled", "replica_gone", "replica_forgotten", "folder_gone")),
    "services.deleted",
    "services.before_note",
    "services.after_note",
    "fake.before_submit",
    "fake.submitted",
    "fake.recovered",
    *(f"services.{when}_{state}" for when in ("before", "after") for state in S),
)
SHARED_MEMORY = Path("/dev/shm")


class Killed(BaseException):
    """The server is killed: nothing may catch it."""


def die():
    raise Killed


class Complaints(logging.Handler):
    """Keeps what the reconciler would only have written to the log."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.seen = []

    def emit(self, record):
        self.seen.append(logging.Formatter().format(record))


class Machine(RuleBasedStateMachine):
    """The state machines of services and replicas against a world."""

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None))
        self.stage = Stage(self.folder / "home")
        self.known = set()
        self.complaints = Complaints()
        logging.getLogger("quickalign.platform").addHandler(self.complaints)

    @property
    def services(self):
        return self.stage.platform.services

    @property
    def world(self):
        return self.stage.world

    def do(self, call, *arguments, **named):
        """A call that the server may not survive; whatever it was told before is true afterwards."""
        try:
            return call(*arguments, **named)
        except (ConflictError, NotFoundError):
            return None
        except Killed:
            self.disarm()
            self.stage.reopen()
            return None

    def disarm(self):
        os.environ.pop(crashpoints.VARIABLE, None)
        crashpoints._reached.clear()

    @rule(name=st.sampled_from(NAMES), replicas=st.integers(1, 2), idle=st.sampled_from([None, None, 60.0]))
    def create(self, name, replicas, idle):
        request = self.stage.request(name, replicas=replicas, idle_stop_seconds=idle)
        made = self.do(self.services.create, request)
        if made:
            self.known.add(made.id)

    @rule(name=st.sampled_from(NAMES), what=st.sampled_from(["start", "stop", "rollback", "delete"]))
    def ask(self, name, what):
        self.do(getattr(self.services, what), name)

    @rule(name=st.sampled_from(NAMES), context=st.sampled_from([16, 32]), replicas=st.sampled_from([None, 1, 2]))
    def update(self, name, context, replicas):
        self.do(self.services.update, name, ServiceUpdate(spec=self.stage.spec(context=context), replicas=replicas))

    @rule(times=st.integers(1, 3))
    def tick(self, times):
        for _ in range(times):
            self.do(self.stage.platform.service_reconciler.tick)

    @rule(number=st.integers(0, 99))
    def process_comes(self, number):
        if waiting := self.world.waiting():
            self.world.arrive(waiting[number % len(waiting)])

    @rule()
    def all_get_ready(self):
        self.stage.all_ready()

    @rule(number=st.integers(0, 99))
    def one_gets_ready(self, number):
        if alive := self.world.alive():
            get_ready(alive[number % len(alive)])

    @rule(number=st.integers(0, 99), code=st.sampled_from([0, 1, 7, -9, None]))
    def process_ends(self, number, code):
        if alive := self.world.alive():
            self.world.end(alive[number % len(alive)], code)

    @rule()
    def those_that_were_asked_to_end_do(self):
        for run in self.world.alive():
            if run.asked_to_stop:
                self.world.end(run, 0)

    @rule(name=st.sampled_from(NAMES))
    def request_comes(self, name):
        if route := self.services.endpoints.find(name):
            self.services.endpoints.touch(route.service_id)

    @rule()
    def server_restarts(self):
        self.stage.reopen()

    @rule(seconds=st.sampled_from([0.5, 15.0, 61.0, 150.0]))
    def time_passes(self, seconds):
        self.stage.clock.now += seconds

    @rule(point=st.sampled_from(POINTS))
    def server_will_be_killed_at(self, point):
        self.disarm()
        os.environ[crashpoints.VARIABLE] = point

    @invariant()
    def nothing_runs_twice(self):
        assert self.world.twice == []

    @invariant()
    def every_process_is_a_replica_s(self):
        rows = {row.id: row for row in self.rows(ReplicaRow)}
        for run in self.world.alive():
            row = rows.get(run.attempt.job.rpartition("/")[2])
            assert row is not None, "an orphan"
            assert (row.state in OCCUPYING, row.attempt) == (True, run.attempt.number)

    @invariant()
    def requests_go_to_ready_replicas_of_the_revision_that_answers(self):
        for service in self.services.list(limit=100).items:
            route = self.services.endpoints.find(service.id)
            ready = {one.id: one.revision for one in service.replicas if one.state == "ready"}
            for upstream in route.replicas:
                assert ready[upstream.replica_id] == upstream.revision == service.revision

    @invariant()
    def a_running_service_has_proved_itself(self):
        for service in self.services.list(states=[S.RUNNING, S.UPDATING], limit=100).items:
            answering = next(one for one in service.revisions if one.number == service.revision)
            assert answering.state == "serving"
            assert answering.proof

    @invariant()
    def the_reconciler_has_nothing_to_complain_of(self):
        assert self.complaints.seen == []

    @precondition(lambda self: self.known)
    @invariant()
    def no_service_is_lost(self):
        for service in self.known:
            self.services.get(service)

    def rows(self, table):
        with self.stage.platform._database.read() as session:
            return session.scalars(select(table)).all()

    def teardown(self):
        self.disarm()
        logging.getLogger("quickalign.platform").removeHandler(self.complaints)
        try:
            self.let_all_end()
        finally:
            self.stage.platform.close()
            shutil.rmtree(self.folder)

    def let_all_end(self):
        for service in self.services.list(limit=100).items:
            self.services.delete(service.id)
        for _ in range(60):
            self.stage.tick(5)
            for run in self.world.waiting():
                self.world.arrive(run)
            for run in self.world.alive():
                if run.asked_to_stop:
                    self.world.end(run, 0)
        assert self.complaints.seen == []
        assert self.services.list(limit=100).items == ()
        assert self.world.alive() == []
        assert self.rows(ReplicaRow) == self.rows(ServiceTokenRow) == []
        home = self.stage.platform.home
        assert list(home.services.iterdir()) == list(home.trash.iterdir()) == []
        for service in self.services.list(states=[S.DELETED], limit=100).items:
            assert service.removal.folder
            self.check_history(service)

    def check_history(self, service):
        """Every change of state is in the table, and each begins where the one before ended."""
        events = self.services.events(service.id, limit=1000).items
        moves = [event.data for event in events if event.kind == "state"]
        assert moves[0]["to"] == S.PENDING
        for before, after in pairwise(moves):
            assert after["from"] == before["to"]
            assert is_allowed(S(after["from"]), S(after["to"]))
        assert moves[-1]["to"] == S.DELETED


def test_the_state_machine():
    with mock.patch.object(crashpoints, "die", die):
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=int(os.environ.get("QUICKALIGN_MACHINE_EXAMPLES", "25")),
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
