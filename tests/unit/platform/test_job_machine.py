"""Jobs under random requests, processes that come, end and vanish, clocks, restarts, and servers killed in between.

Hypothesis drives. The world of processes outlives every server, so that what must never happen shows there: a job that
runs twice at once, a process of a job that is over. At the end everything is let run: no job may be stuck or lost.
"""

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

from quickalign.core.errors import ConflictError
from quickalign.core.wire.jobs import JobState as S
from quickalign.platform import crashpoints
from quickalign.platform.jobs.states import FINAL, OCCUPYING, is_allowed
from tests.support.fake_executor import FakeExecutor, World
from tests.support.platforms import FAST, cpu, open_stub, stub_job, write_data

POINTS = (
    "blob.written",
    "blob.stored",
    "job.create.frozen",
    "job.create.done",
    "job.cancelled",
    "job.paused",
    "job.resumed",
    "job.delete.moved",
    "job.delete.rows",
    "reconciler.announced",
    "reconciler.started",
    "reconciler.signalled",
    "reconciler.crash_seen",
    "reconciler.crash_done",
    "fake.before_submit",
    "fake.submitted",
    "fake.recovered",
    *(f"reconciler.{when}_{state}" for when in ("before", "after") for state in S),
)
SLOTS = 2
SHARED_MEMORY = Path("/dev/shm")


class Killed(BaseException):
    """The server is killed: nothing may catch it."""


def die():
    raise Killed


class Machine(RuleBasedStateMachine):
    """The state machine of jobs against a model: a set of jobs that must be there, and a world."""

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None))
        self.data = write_data(self.folder)
        self.world, self.now, self.known = World(), 1e9, set()
        self.platform = self.open()

    def open(self):
        executor = FakeExecutor(self.world)
        return open_stub(
            self.folder / "home", executor=executor, devices=cpu(SLOTS), config=FAST, clock=lambda: self.now
        )

    def do(self, call, *arguments):
        """A call that the server may not survive; whatever it was told before is true afterwards."""
        try:
            return call(*arguments)
        except ConflictError:
            return None
        except Killed:
            self.disarm()
            self.platform.close()
            self.platform = self.open()
            return None

    def disarm(self):
        os.environ.pop(crashpoints.VARIABLE, None)
        crashpoints._reached.clear()

    def pick(self, number):
        return sorted(self.known)[number % len(self.known)]

    @rule(retries=st.integers(0, 2), priority=st.integers(-1, 1))
    def create(self, retries, priority):
        job = self.do(self.platform.jobs.create, stub_job(self.data, max_retries=retries, priority=priority))
        if job:
            self.known.add(job.id)

    @precondition(lambda self: self.known)
    @rule(number=st.integers(0, 99), what=st.sampled_from(["cancel", "pause", "resume"]))
    def ask(self, number, what):
        self.do(getattr(self.platform.jobs, what), self.pick(number))

    @precondition(lambda self: self.known)
    @rule(number=st.integers(0, 99))
    def delete(self, number):
        job_id = self.pick(number)
        if self.platform.jobs.get(job_id).state.is_final:
            self.do(self.platform.jobs.delete, job_id)
            self.known = {job.id for job in self.platform.jobs.list(limit=1000).items} & self.known

    @rule(times=st.integers(1, 3))
    def tick(self, times):
        for _ in range(times):
            self.do(self.platform.reconciler.tick)

    @rule(number=st.integers(0, 99))
    def process_comes(self, number):
        if waiting := self.world.waiting():
            self.world.arrive(waiting[number % len(waiting)])

    @rule(number=st.integers(0, 99), code=st.sampled_from([0, 0, 3, 7, 70, 130, -9, None]))
    def process_ends(self, number, code):
        if alive := self.world.alive():
            self.world.end(alive[number % len(alive)], code)

    @rule()
    def machine_restarts(self):
        for run in self.world.alive():
            self.world.end(run, None)
        self.server_restarts()

    @rule()
    def server_restarts(self):
        self.platform.close()
        self.platform = self.open()

    @rule(seconds=st.sampled_from([0.1, 1.0, 25.0, 100.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(point=st.sampled_from(POINTS))
    def server_will_be_killed_at(self, point):
        self.disarm()
        os.environ[crashpoints.VARIABLE] = point

    @invariant()
    def nothing_runs_twice(self):
        assert self.world.twice == []

    @invariant()
    def no_process_of_a_job_that_has_none(self):
        states = {job.id: job.state for job in self.jobs()}
        for run in self.world.alive():
            assert states[run.attempt.job] in OCCUPYING
        assert sum(state in OCCUPYING for state in states.values()) <= SLOTS

    @invariant()
    def no_job_is_lost(self):
        assert {job.id for job in self.jobs()} >= self.known

    def jobs(self):
        return self.platform.jobs.list(limit=1000).items

    def teardown(self):
        self.disarm()
        try:
            self.let_all_run()
        finally:
            self.platform.close()
            shutil.rmtree(self.folder)

    def let_all_run(self):
        for _ in range(400):
            for job in self.jobs():
                if job.state is S.PAUSED:
                    self.platform.jobs.resume(job.id)
            if all(job.state in FINAL for job in self.jobs()):
                break
            for run in self.world.waiting():
                self.world.arrive(run)
            self.platform.reconciler.tick()
            for run in self.world.alive():
                self.world.end(run, 130 if run.asked_to_stop else 0)
            self.now += 5
        for job in self.jobs():
            assert job.state in FINAL, f"{job.id} is stuck in {job.state}: {job.reason}"
            self.check_history(job)
        assert self.world.alive() == []

    def check_history(self, job):
        """Every change of state is in the table, and each begins where the one before ended."""
        moves = [event.data for event in self.platform.jobs.events(job.id, limit=1000).items if event.kind == "state"]
        assert moves[0]["to"] == S.QUEUED
        for before, after in pairwise(moves):
            assert after["from"] == before["to"]
            assert is_allowed(S(after["from"]), S(after["to"]))
        assert moves[-1]["to"] == job.state


def test_the_state_machine():
    with mock.patch.object(crashpoints, "die", die):
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=40,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
