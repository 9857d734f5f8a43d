"""Replicas that crash, hang, are sick or cannot be seen; servers that come again, or are two."""

import pytest

from quickalign.core.errors import ModelError
from quickalign.core.wire.services import ServiceState, ServiceUpdate
from quickalign.platform.executors.base import Observation, Phase
from quickalign.platform.services.make import make_services
from quickalign.platform.services.secrets import Secrets
from tests.support.fake_executor import FakeExecutor
from tests.support.services import endpoint_of, get_ready

S = ServiceState


def test_a_replica_that_crashes_comes_back_later_each_time(stage):
    stage.running()
    replica = stage.services.get("tiny").replicas[0].id
    stage.world.end(stage.run_of(replica), -9)
    stage.tick()
    service = stage.services.get("tiny")
    assert (service.state, service.replicas[0].state) == (S.STARTING, "backing_off")
    assert "SIGKILL" in service.replicas[0].reason.message
    assert stage.services.endpoints.find("tiny").replicas == ()
    stage.tick(9)
    assert len(stage.runs(replica)) == 1
    stage.tick(1)
    stage.world.arrive(stage.run_of(replica))
    stage.tick()
    stage.world.end(stage.run_of(replica), 1)
    stage.tick()
    stage.tick(19)
    assert len(stage.runs(replica)) == 2
    stage.tick(1)
    assert len(stage.runs(replica)) == 3
    stage.all_ready()
    stage.tick()
    service = stage.services.get("tiny")
    assert (service.state, service.replicas[0].restarts) == (S.RUNNING, 2)


def test_a_replica_that_backs_off_comes_back_though_the_clock_was_set_back(stage):
    stage.running()
    replica = stage.services.get("tiny").replicas[0].id
    stage.world.end(stage.run_of(replica), -9)
    stage.tick()
    stage.tick(-3 * 86400.0)
    assert len(stage.runs(replica)) == 2


def test_one_that_never_gets_ready_is_given_up_with_its_own_words(stage):
    stage.create()
    for _ in range(3):
        stage.tick()
        [run] = stage.world.waiting()
        stage.world.arrive(run)
        stage.world.end(run, 1)
        stage.tick()
        stage.tick(60)
    service = stage.services.get("tiny")
    assert service.state is S.FAILED
    assert "exit code 1" in service.reason.message
    assert "started 3 times and never got ready" in service.reason.message
    stage.tick()
    assert service.revisions[0].state == "failed"
    assert stage.services.get("tiny").replicas == ()
    assert stage.services.start("tiny").state is S.PENDING
    stage.tick()
    stage.all_ready()
    stage.tick()
    assert stage.services.get("tiny").state is S.RUNNING


def test_one_that_says_that_it_cannot_be_is_not_tried_again(stage):
    stage.create()
    stage.tick()
    [run] = stage.world.waiting()
    stage.world.arrive(run)
    stage.world.end(run, 4)
    stage.tick()
    service = stage.services.get("tiny")
    assert (service.state, service.reason.exit_code) == (S.FAILED, 4)
    stage.tick(100)
    assert len(stage.world.runs) == 1


def test_a_proven_revision_is_never_given_up_while_another_replica_answers(stage):
    stage.running(replicas=2)
    replica = stage.services.get("tiny").replicas[0].id
    for _ in range(6):
        stage.world.end(stage.run_of(replica), 1)
        stage.tick()
        stage.tick(60)
        stage.world.arrive(stage.run_of(replica))
        stage.tick()
    assert stage.services.get("tiny").state is S.RUNNING
    get_ready(stage.run_of(replica))
    stage.tick()
    assert len(stage.services.endpoints.find("tiny").replicas) == 2


def test_one_that_takes_too_long_is_killed_and_told_so(stage):
    stage.create()
    stage.tick()
    [run] = stage.world.waiting()
    stage.world.arrive(run)
    stage.tick(101)
    assert not run.alive
    stage.tick()
    assert "not ready within 100 seconds" in stage.services.get("tiny").replicas[0].reason.message


def test_a_sick_replica_gets_no_requests_and_is_killed_at_the_third_miss(stage):
    stage.running(replicas=2)
    run = stage.world.alive()[0]
    stage.health.sick.add(endpoint_of(run))
    stage.services.endpoints.broken(run.attempt.job.rpartition("/")[2])
    stage.tick()
    assert [one.base_url for one in stage.services.endpoints.find("tiny").replicas] != [endpoint_of(run)]
    assert len(stage.services.endpoints.find("tiny").replicas) == 1
    stage.tick()
    assert run.alive
    stage.tick()
    assert not run.alive
    stage.tick()
    assert stage.services.get("tiny").state is S.RUNNING
    assert any("3 health checks" in one.reason.message for one in stage.services.get("tiny").replicas if one.reason)


def test_a_replica_that_was_only_slow_once_gets_requests_again(stage):
    stage.running()
    run = stage.world.alive()[0]
    stage.health.sick.add(endpoint_of(run))
    stage.services.endpoints.broken(stage.services.get("tiny").replicas[0].id)
    stage.tick()
    assert stage.services.endpoints.find("tiny").replicas == ()
    stage.health.sick.clear()
    stage.tick()
    assert len(stage.services.endpoints.find("tiny").replicas) == 1
    assert run.alive


class Blind(FakeExecutor):
    """Cannot say anything."""

    def observe(self, attempt):
        return Observation(Phase.UNKNOWN)


@pytest.mark.parametrize("what", ["ready", "starting", "stopping"])
def test_nothing_is_started_or_killed_for_what_cannot_be_seen(stage, what):
    stage.running()
    if what == "starting":
        stage.services.update("tiny", ServiceUpdate(replicas=2))
        stage.tick()
    if what == "stopping":
        stage.services.delete("tiny")
        stage.tick()
    executor = stage.platform.service_reconciler._replicas._executor
    before = [(run.attempt, run.alive, run.asked_to_stop) for run in stage.world.runs.values()]
    executor.__class__ = Blind
    for _ in range(5):
        stage.tick(1000)
    assert [(run.attempt, run.alive, run.asked_to_stop) for run in stage.world.runs.values()] == before
    assert not stage.world.twice


def test_a_new_server_finds_the_replicas_of_the_old_one(stage):
    stage.running(replicas=2)
    before = stage.services.endpoints.find("tiny").replicas
    runs = dict(stage.world.runs)
    stage.reopen()
    assert stage.services.endpoints.find("tiny").replicas == before, "it answers before the first look"
    for _ in range(3):
        stage.tick(10)
    assert stage.services.endpoints.find("tiny").replicas == before
    assert stage.world.runs == runs


def test_a_start_that_the_old_server_announced_and_did_not_begin_is_settled(stage):
    stage.create()
    stage.tick()
    stage.world.runs.clear()
    stage.reopen()
    stage.tick()
    stage.tick()
    assert len(stage.world.runs) == 2, "the announced start can never begin, and another one was made"
    stage.all_ready()
    stage.tick()
    assert stage.services.get("tiny").state is S.RUNNING


def test_a_second_reconciler_does_no_harm(stage):
    platform = stage.platform
    second, _ = make_services(
        secrets=Secrets(platform.home),
        home=platform.home,
        config=platform.config,
        database=platform._database,
        executor=FakeExecutor(stage.world),
        inputs=platform.services._sources._inputs,
        usage=platform.services._usage,
        devices=platform.services._devices,
        clock=stage.clock,
        server=("true",),
        on_cluster=False,
        probe=stage.health,
        changed=lambda: None,
    )
    stage.create(replicas=2)
    for step in range(12):
        second.tick()
        stage.tick(1)
        if step % 2:
            stage.all_ready()
        alive = [run.attempt.job for run in stage.world.alive()]
        assert len(alive) == len(set(alive)) <= 2
    assert stage.services.get("tiny").state is S.RUNNING
    stage.services.delete("tiny")
    for _ in range(5):
        second.tick()
        stage.finish_stopping()
    assert [one.state for one in stage.services.list(states=[S.DELETED]).items] == [S.DELETED]
    assert not stage.world.twice


def test_idle_services_stop_and_start_with_the_next_request(stage):
    stage.running(idle_stop_seconds=60)
    endpoints = stage.services.endpoints
    service = endpoints.find("tiny").service_id
    stage.tick(59)
    endpoints.touch(service)
    stage.tick(59)
    assert stage.services.get("tiny").state is S.RUNNING
    endpoints.open_requests = lambda replica: 1
    stage.tick(600)
    assert stage.services.get("tiny").state is S.RUNNING, "an answer that takes long is not idleness"
    endpoints.open_requests = lambda replica: 0
    stage.tick()
    stage.finish_stopping()
    stopped = stage.services.get("tiny")
    assert (stopped.state, stopped.reason.code) == (S.STOPPED, "idle")
    assert endpoints.wait_ready(service, 0) is None
    endpoints.touch(service)
    stage.tick()
    stage.all_ready()
    stage.tick()
    assert stage.services.get("tiny").state is S.RUNNING
    assert endpoints.wait_ready(service, 0).replicas


def test_one_that_a_user_stopped_does_not_start_with_a_request(stage):
    stage.running(idle_stop_seconds=60)
    stage.services.stop("tiny")
    stage.finish_stopping()
    stage.services.endpoints.touch(stage.services.get("tiny").id)
    stage.tick()
    assert stage.services.get("tiny").state is S.STOPPED


def test_times_of_requests_outlive_the_server(stage):
    stage.running(idle_stop_seconds=60)
    service = stage.services.get("tiny").id
    stage.clock.now += 50
    stage.services.endpoints.touch(service)
    stage.platform.service_reconciler.write_last_requests()
    stage.reopen()
    stage.tick(40)
    found = stage.services.get("tiny")
    assert (found.state, found.last_request_at) == (S.RUNNING, stage.clock.now - 40)


def test_what_changed_since_the_revision_was_made_is_not_served(stage):
    stage.create()
    (stage.model / "model.safetensors").write_bytes(b"others!")
    stage.tick()
    stage.tick()
    service = stage.services.get("tiny")
    assert service.state is S.FAILED
    assert "is not what it was when" in service.reason.message
    assert service.reason.exit_code == ModelError.exit_code
    assert stage.world.alive() == []


def test_the_words_of_a_replica_that_is_gone_can_be_read(stage, monkeypatch):
    stage.running(replicas=2)
    first, second = (one.id for one in stage.services.get("tiny").replicas)

    def logs(self, job):
        file = stage.platform.home.services / job / "stdout.log"
        file.write_text(f"words of {job.rpartition('/')[2]}\n")
        return [file]

    monkeypatch.setattr(FakeExecutor, "logs", logs)
    assert stage.services.logs("tiny").text == f"words of {first}\n"
    assert not stage.services.logs("tiny", replica=second).complete
    stage.services.update("tiny", ServiceUpdate(replicas=1))
    stage.finish_stopping()
    gone = stage.services.logs("tiny", replica=second)
    assert (gone.text, gone.complete) == (f"words of {second}\n", True)
