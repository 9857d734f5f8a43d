"""Several servers, one home, one PostgreSQL database: what one does, the others know, and one of them acts."""

import fcntl
import json
import os
import threading

import pytest

from quickalign.core.errors import ConflictError
from quickalign.core.wire.jobs import JobState as S
from quickalign.core.wire.votes import Candidate, VoteCreate
from quickalign.platform import leadership
from quickalign.platform.files.blobs import Blobs
from quickalign.platform.home import Home
from quickalign.platform.lock import HomeLock, Mutex
from tests.support.fake_executor import FakeExecutor
from tests.support.platforms import open_stub, stub_job


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path / "home")
    made.make()
    return made


@pytest.fixture
def pair(tmp_path, world, postgres, monkeypatch):
    monkeypatch.setattr(leadership, "LEASE_SECONDS", 3600.0)  # however slow the machine, the first one leads
    url = postgres.database()
    opened = [open_stub(tmp_path / "home", executor=FakeExecutor(world), database_url=url) for _ in range(2)]
    yield opened
    for platform in opened:
        platform.close()


def look(platform) -> None:
    platform._lease._asked = float("-inf")
    platform._watch.tick()


def test_what_is_asked_of_one_is_done_by_the_one_that_leads(pair, world, data):
    leading, other = pair
    job = other.jobs.create(stub_job(data))
    other.reconciler.tick()
    assert not world.runs
    leading.reconciler.tick()
    assert other.jobs.get(job.id).state is S.STARTING
    other.reconciler.tick()
    assert len(world.runs) == 1
    world.arrive(world.waiting()[0])
    leading.reconciler.tick()
    other.jobs.cancel(job.id)
    leading.reconciler.tick()
    assert world.alive()[0].asked_to_stop


def test_a_queue_that_was_settled_is_looked_at_again_when_another_server_adds_to_it(pair, world, data):
    leading, other = pair
    leading.reconciler.tick()
    leading.reconciler.tick()
    changes = leading.reconciler._changes
    look(leading)
    other.jobs.create(stub_job(data))
    look(leading)
    leading.reconciler.tick()
    assert leading.reconciler._changes > changes
    assert len(world.runs) == 1


def test_when_one_ends_the_other_goes_on_with_its_jobs(pair, world, data):
    leading, other = pair
    job = leading.jobs.create(stub_job(data))
    leading.reconciler.tick()
    world.arrive(world.waiting()[0])
    leading.reconciler.tick()
    leading.close()
    look(other)
    other.reconciler.tick()
    world.end(world.alive()[0], 0)
    other.reconciler.tick()
    assert other.jobs.get(job.id).state is S.SUCCEEDED
    assert len(world.runs) == 1


def test_an_attempt_that_the_first_announced_and_did_not_begin_is_settled_by_the_second(pair, world, data):
    leading, other = pair
    job = leading.jobs.create(stub_job(data))
    leading.reconciler.tick()
    leading.close()
    world.runs.clear()  # it died between the two
    look(other)
    other.reconciler.tick()
    other.reconciler.tick()
    assert other.jobs.get(job.id).state is S.STARTING
    assert [run.revoked for run in world.runs.values()] == [True, False]


def test_a_token_that_was_made_or_revoked_at_one_is_at_all(pair):
    first, second = pair
    assert not second.tokens.verify("nothing")
    text = first.tokens.create("mine")
    look(second)
    assert second.tokens.verify(text)
    first.tokens.revoke(first.tokens.find(text).id)
    look(second)
    assert not second.tokens.verify(text)


def test_derived_tokens_are_the_same_everywhere(pair):
    key, secret = pair[0].access_keys.create("cloud")
    look(pair[1])
    assert pair[1].access_keys.secret(key.id) == secret


def test_how_far_a_job_is_wakes_nobody(pair, world, data):
    leading, other = pair
    job = leading.jobs.create(stub_job(data))
    leading.reconciler.tick()
    world.arrive(world.waiting()[0])
    leading.reconciler.tick()
    look(other)
    before = dict(other._watch._known)
    output = leading.home.output(job.id)
    output.mkdir(parents=True, exist_ok=True)
    (output / "status.json").write_text(json.dumps({"phase": "train", "step": 1, "total_steps": 6}))
    leading.reconciler.tick()
    assert other.jobs.get(job.id).progress.step == 1
    look(other)
    assert other._watch._known == before


def test_contents_are_not_collected_while_another_server_keeps_some(home):
    first, second = Blobs(home, is_shared=True), Blobs(home, is_shared=True)
    first.pin("a" * 64)
    with second.collecting() as may:
        assert not may
    first.unpin("a" * 64)
    with second.collecting() as may:
        assert may
        blocked = threading.Thread(target=first.pin, args=("b" * 64,))
        blocked.start()
        blocked.join(0.1)
        assert blocked.is_alive(), "whoever begins to keep something waits for the collection"
    blocked.join(10)
    with second.collecting() as may:
        assert not may
    first.unpin("b" * 64)


def test_what_could_not_be_collected_goes_with_the_sweep(pair, tmp_path):
    first, second = pair
    with first.files.begin("rows.json") as upload:
        upload.write(b"[]")
        stored = upload.commit()
    second.files.blobs.pin("c" * 64)
    first.files.delete(stored.id)
    assert first.files.blobs.path(stored.sha256).exists()
    second.files.blobs.unpin("c" * 64)
    first._swept = float("-inf")
    first._tidy()
    assert not first.files.blobs.path(stored.sha256).exists()


def test_a_home_is_shared_only_by_servers_of_one_database(home):
    first = HomeLock(home, "one")
    second = HomeLock(home, "one")
    with pytest.raises(ConflictError, match="another PostgreSQL database"):
        HomeLock(home, "two")
    with pytest.raises(ConflictError, match="Another server"):
        HomeLock(home)
    first.release()
    second.release()
    alone = HomeLock(home)
    with pytest.raises(ConflictError, match="Another server"):
        HomeLock(home, "two")
    alone.release()
    HomeLock(home, "two").release()


def test_a_mutex_is_one_server_at_a_time(home):
    with Mutex(home.lock_of("usage")):
        descriptor = os.open(home.lock_of("usage"), os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


def test_servers_that_start_at_once_have_one_key(home):
    made = []
    threads = [threading.Thread(target=lambda: made.append(Home(home.root).identity())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 1
    assert len(made[0]) == 32


def test_votes_of_two_servers_are_all_kept(pair):
    left, right = (Candidate(service="one", text=text) for text in ("a", "b"))
    vote = VoteCreate(messages=[{"role": "user", "content": "Which?"}], left=left, right=right, choice="left")
    for platform in pair * 3:
        platform.votes.add(vote)
    assert pair[0].votes.count().votes == 6
