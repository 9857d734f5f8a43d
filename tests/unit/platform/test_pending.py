"""A job that a cluster has no room for yet: it says why, is not late for it, and can be taken back."""

import pytest

from quickalign.core.wire.jobs import JobState
from tests.support.fake_executor import FakeExecutor, World
from tests.support.platforms import FAST, open_stub, stub_job, write_data

S = JobState
WHY = "No node of the Ray cluster has 1 GPUs free now."


@pytest.fixture
def now():
    return [1000.0]


@pytest.fixture
def world():
    return World()


@pytest.fixture
def platform(tmp_path, world, now):
    opened = open_stub(tmp_path / "home", executor=FakeExecutor(world), clock=lambda: now[0])
    yield opened
    opened.close()


@pytest.fixture
def pending(platform, world, tmp_path):
    """A job that the cluster has, and no room for."""
    job = platform.jobs.create(stub_job(write_data(tmp_path / "data")))
    platform.reconciler.tick()
    (run,) = world.runs.values()
    run.pending = WHY
    platform.reconciler.tick()
    return job


def test_it_says_why(platform, pending):
    job = platform.jobs.get(pending.id)
    assert (job.state, job.reason.code, job.reason.message) == (S.STARTING, "waiting_for_cluster", WHY)


def test_it_is_never_late_for_it(platform, pending, world, now):
    for _ in range(20):
        now[0] += FAST.start_seconds * 0.9
        platform.reconciler.tick()
    assert platform.jobs.get(pending.id).attempt == 1
    (run,) = world.runs.values()
    world.arrive(run)
    platform.reconciler.tick()
    job = platform.jobs.get(pending.id)
    assert (job.state, job.reason, job.attempt) == (S.RUNNING, None, 1)


def test_started_and_not_claimed_it_may_be_late_again(platform, pending, world, now):
    (run,) = world.runs.values()
    run.pending = None
    now[0] += FAST.start_seconds + 1
    platform.reconciler.tick()
    assert platform.jobs.get(pending.id).state is S.QUEUED


@pytest.mark.parametrize(("ask", "state"), [("cancel", S.CANCELLED), ("pause", S.PAUSED)])
def test_it_can_be_taken_back(platform, pending, world, ask, state):
    getattr(platform.jobs, ask)(pending.id)
    platform.reconciler.tick()
    assert platform.jobs.get(pending.id).state is state
    (run,) = world.runs.values()
    assert run.revoked


def test_the_next_server_lets_it_wait_on(platform, pending, world, tmp_path, now):
    platform.close()
    after = open_stub(tmp_path / "home", executor=FakeExecutor(world), clock=lambda: now[0])
    try:
        after.reconciler.tick()
        job = after.jobs.get(pending.id)
        assert (job.state, job.attempt) == (S.STARTING, 1)
    finally:
        after.close()
