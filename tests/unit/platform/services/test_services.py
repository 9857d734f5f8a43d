"""Services from request to deletion, on both databases, with a fake world and a fake clock."""

import shutil
from pathlib import Path

import pytest

from quickalign.core.errors import CapacityError, ConflictError, ModelError, NotFoundError, OptionError
from quickalign.core.wire.services import ServiceState, ServiceUpdate, Source
from quickalign.platform.devices import Device
from quickalign.platform.services import sources
from tests.support.platforms import GIB
from tests.support.services import Stage, endpoint_of, get_ready, spec_of

S = ServiceState


def test_a_service_starts_proves_itself_and_answers(stage):
    made = stage.create()
    assert (made.state, made.revision, made.target) == (S.PENDING, None, 1)
    stage.tick()
    [run] = stage.world.waiting()
    stage.tick()
    assert stage.services.get("tiny").state is S.STARTING
    assert stage.services.endpoints.find("tiny").replicas == ()
    stage.world.arrive(run)
    stage.tick()
    assert stage.services.get("tiny").state is S.STARTING, "its process lives, but it has not said that it is ready"
    get_ready(run)
    stage.tick()
    service = stage.services.get("tiny")
    assert (service.state, service.revision) == (S.RUNNING, 1)
    [revision], [replica] = service.revisions, service.replicas
    assert (revision.state, revision.engine, revision.precision) == ("serving", "transformers", "fp32")
    assert revision.proof[0].passed
    assert (replica.state, replica.pid, replica.device) == ("ready", run.pid, "cpu")
    route = stage.services.endpoints.find("tiny")
    [upstream] = route.replicas
    assert upstream.base_url == endpoint_of(run)
    [file] = map(Path, spec_of(run)["token_files"])
    assert upstream.token == file.read_text().strip()
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_a_revision_asks_for_reaches_its_replica(stage):
    spec = {"precision": "fp32", "system_prompt": "", "context": 64, "max_concurrency": 3, "max_waiting": 5}
    stage.create(spec=spec | {"weights": "int8"})
    stage.tick()
    given = spec_of(stage.world.waiting()[0])
    assert {name: given[name] for name in spec} == spec
    assert (given["weights"], given["model"], given["name"]) == ("int8", str(stage.model), "tiny")


def test_a_ready_file_of_another_process_is_not_believed(stage):
    stage.create()
    stage.tick()
    [run] = stage.world.waiting()
    stage.world.arrive(run)
    get_ready(run, pid=run.pid + 1)
    stage.tick()
    assert stage.services.get("tiny").replicas[0].state == "starting"


def test_one_key_makes_one_service(stage):
    first = stage.services.create(stage.request(), idempotency_key="k")
    assert stage.services.create(stage.request(), idempotency_key="k").id == first.id
    with pytest.raises(ConflictError, match="used for another request, which made the service"):
        stage.services.create(stage.request("other"), idempotency_key="k")


def test_a_name_is_taken_until_its_service_is_deleted(stage):
    first = stage.running()
    with pytest.raises(ConflictError, match="already"):
        stage.create()
    stage.services.delete("tiny")
    with pytest.raises(ConflictError, match="already"):
        stage.create()
    stage.finish_stopping()
    second = stage.create()
    assert second.id != first.id
    assert stage.services.get(first.id).state is S.DELETED
    assert stage.services.get("tiny").id == second.id


def test_deleting_leaves_the_proof_and_nothing_else(stage):
    service = stage.running(replicas=2)
    runs = stage.world.alive()
    stage.services.tokens.create("tiny", "somebody")
    stage.services.delete("tiny")
    stage.finish_stopping()
    gone = stage.services.get(service.id)
    assert gone.state is S.DELETED
    assert sorted(gone.removal.processes) == [run.pid for run in runs]
    assert sorted(gone.removal.ports) == sorted(int(endpoint_of(run).rpartition(":")[2]) for run in runs)
    assert gone.removal.folder == str(stage.platform.home.service(service.id))
    assert list(stage.platform.home.services.iterdir()) == list(stage.platform.home.trash.iterdir()) == []
    assert stage.world.alive() == []
    assert gone.replicas == ()
    assert stage.services.endpoints.find(service.id) is None
    assert stage.services.list().items == ()
    assert [one.id for one in stage.services.list(states=[S.DELETED]).items] == [service.id]
    with pytest.raises(NotFoundError):
        stage.services.get("tiny")


def test_a_process_that_does_not_end_is_killed_after_its_time(stage):
    stage.running()
    [run] = stage.world.alive()
    stage.services.delete("tiny")
    stage.tick()
    stage.tick(2)
    assert run.asked_to_stop
    assert run.alive
    stage.tick(35)
    assert run.alive
    stage.tick(10)
    assert not run.alive
    stage.tick()
    assert stage.services.list(states=[S.DELETED]).items[0].removal.processes == (run.pid,)


def test_a_replica_is_not_told_to_end_while_requests_are_open_on_it(stage):
    stage.running()
    [run] = stage.world.alive()
    open_requests = {run.attempt.job.rpartition("/")[2]: 1}
    stage.services.endpoints.open_requests = lambda replica: open_requests.get(replica, 0)
    stage.services.stop("tiny")
    stage.tick()
    assert stage.services.endpoints.find("tiny").replicas == (), "no further requests go there"
    stage.tick(5)
    assert not run.asked_to_stop
    open_requests.clear()
    stage.tick()
    assert run.asked_to_stop
    stage.world.end(run, 0)
    stage.tick()
    assert stage.services.get("tiny").state is S.STOPPED


def test_a_request_that_does_not_end_holds_a_replica_only_so_long(stage):
    stage.running()
    [run] = stage.world.alive()
    stage.services.endpoints.open_requests = lambda replica: 1
    stage.services.stop("tiny")
    stage.tick()
    stage.tick(29)
    assert not run.asked_to_stop
    stage.tick(2)
    assert run.asked_to_stop


def test_stop_and_start_again(stage):
    stage.running()
    stage.services.stop("tiny")
    stage.finish_stopping()
    assert stage.services.get("tiny").state is S.STOPPED
    assert stage.services.stop("tiny").state is S.STOPPED
    assert stage.services.start("tiny").state is S.PENDING
    stage.tick()
    stage.all_ready()
    stage.tick()
    assert stage.services.get("tiny").state is S.RUNNING


def test_what_can_never_fit_is_refused_and_what_does_not_fit_now_waits(tmp_path, database_url):
    stage = Stage(tmp_path / "home", devices=(Device("cpu", 0, "CPU", 12 * GIB // 10, 1),), database_url=database_url)
    try:
        with pytest.raises(CapacityError, match="can never fit"):
            stage.create(replicas=3)
        stage.running("first", replicas=2)
        stage.create("second")
        stage.tick()
        stage.tick()
        waits = stage.services.get("second")
        assert (waits.state, waits.reason.code) == (S.PENDING, "waiting_for_memory")
        assert waits.replicas[0].state == "waiting"
        with pytest.raises(CapacityError, match="can never fit"):
            stage.services.update("first", ServiceUpdate(replicas=3))
        stage.services.delete("first")
        stage.finish_stopping()
        assert stage.services.get("second").replicas[0].state == "starting"
    finally:
        stage.platform.close()


def test_a_job_and_a_service_share_the_memory_of_a_device(stage):
    stage.running()
    [device] = stage.platform.system().devices
    assert (device.services, device.reserved_bytes) == (("tiny",), 500_000_000)


def test_scaling_adds_and_takes_replicas_and_keeps_those_that_answer(stage):
    stage.running()
    first = stage.services.get("tiny").replicas[0].id
    stage.services.update("tiny", ServiceUpdate(replicas=3))
    stage.tick()
    assert len(stage.services.get("tiny").replicas) == 3
    stage.services.update("tiny", ServiceUpdate(replicas=1))
    stage.tick()
    kept = [one.id for one in stage.services.get("tiny").replicas if one.state != "stopping"]
    assert kept == [first]
    stage.finish_stopping()
    assert [one.id for one in stage.services.get("tiny").replicas] == [first]
    assert len(stage.services.get("tiny").revisions) == 1


def test_an_update_answers_from_the_old_revision_until_the_new_one_has_proved_itself(stage):
    stage.running(replicas=2)
    old = {one.replica_id for one in stage.services.endpoints.find("tiny").replicas}
    updated = stage.services.update("tiny", ServiceUpdate(spec=stage.spec(context=32)))
    assert (updated.state, updated.revision, updated.target) == (S.UPDATING, 1, 2)
    stage.tick()
    first, second = stage.world.waiting()
    stage.world.arrive(first)
    get_ready(first)
    stage.tick()
    assert {one.replica_id for one in stage.services.endpoints.find("tiny").replicas} == old
    stage.world.arrive(second)
    get_ready(second)
    stage.tick()
    service = stage.services.get("tiny")
    assert (service.state, service.revision) == (S.RUNNING, 2)
    assert [one.state for one in service.revisions] == ["serving", "retired"]
    assert {one.revision for one in stage.services.endpoints.find("tiny").replicas} == {2}
    stage.finish_stopping()
    assert {one.revision for one in stage.services.get("tiny").replicas} == {2}


def test_an_update_to_the_same_makes_no_revision(stage):
    stage.running()
    assert stage.services.update("tiny", ServiceUpdate(spec=stage.spec())).target == 1


def test_an_update_to_the_same_folder_takes_up_what_is_in_it_now(stage):
    stage.running()
    (stage.model / "model.safetensors").write_bytes(b"trained again")
    updated = stage.services.update("tiny", ServiceUpdate(spec=stage.spec()))
    assert (updated.state, updated.revision, updated.target) == (S.UPDATING, 1, 2)
    (stage.model / "chat_template.jinja").write_text("{{ messages }}")
    assert stage.services.update("tiny", ServiceUpdate(spec=stage.spec())).target == 3, "a file more"
    assert stage.services.update("tiny", ServiceUpdate(spec=stage.spec())).target == 3


def test_an_update_reads_only_the_files_that_changed(stage, monkeypatch):
    stage.running()
    read, sha256 = [], sources.sha256_of
    monkeypatch.setattr(sources, "sha256_of", lambda path: read.append(path.name) or sha256(path))
    assert stage.services.update("tiny", ServiceUpdate(spec=stage.spec(), replicas=2)).target == 1
    assert read == []
    (stage.model / "model.safetensors").write_bytes(b"trained again")
    assert stage.services.update("tiny", ServiceUpdate(spec=stage.spec(), replicas=2)).target == 2
    assert read == ["model.safetensors"]


def test_what_needs_no_revision_is_changed_where_the_source_is_gone(stage):
    stage.running()
    shutil.rmtree(stage.model)
    updated = stage.services.update("tiny", ServiceUpdate(spec=stage.spec(), replicas=2, idle_stop_seconds=60))
    assert (updated.target, updated.wanted_replicas, updated.idle_stop_seconds) == (1, 2, 60)
    for changes in (ServiceUpdate(spec=stage.spec()), ServiceUpdate(spec=stage.spec(context=32), replicas=1)):
        with pytest.raises(ModelError, match="does not exist"):
            stage.services.update("tiny", changes)


def test_a_failed_update_keeps_the_old_revision_and_says_why(stage):
    stage.running()
    stage.services.update("tiny", ServiceUpdate(spec=stage.spec(context=32)))
    stage.tick()
    [run] = stage.world.waiting()
    stage.world.arrive(run)
    stage.tick()
    stage.world.end(run, 7)
    stage.tick()
    service = stage.services.get("tiny")
    assert (service.state, service.revision, service.target) == (S.RUNNING, 1, 1)
    assert "Revision 2 failed, and revision 1 goes on" in service.reason.message
    assert service.revisions[0].state == "failed"
    assert service.revisions[0].reason.exit_code == 7
    stage.finish_stopping()
    assert {one.revision for one in stage.services.get("tiny").replicas} == {1}


def test_rolling_back(stage):
    stage.running()
    with pytest.raises(ConflictError, match="no earlier revision"):
        stage.services.rollback("tiny")
    stage.services.update("tiny", ServiceUpdate(spec=stage.spec(context=32)))
    stage.tick()
    assert stage.services.rollback("tiny").target == 1, "an update under way is given up"
    stage.tick()
    assert stage.services.get("tiny").state is S.RUNNING
    stage.services.update("tiny", ServiceUpdate(spec=stage.spec(context=48)))
    stage.tick()
    stage.all_ready()
    stage.tick()
    assert stage.services.get("tiny").revision == 3
    back = stage.services.rollback("tiny")
    assert (back.state, back.revision, back.target) == (S.UPDATING, 3, 1)
    stage.tick()
    stage.all_ready()
    stage.tick()
    service = stage.services.get("tiny")
    assert (service.state, service.revision) == (S.RUNNING, 1)
    assert {one.number: one.state for one in service.revisions} == {3: "retired", 2: "retired", 1: "serving"}


def test_a_job_is_not_deleted_while_it_is_served(stage, succeeded_job):
    stage.create(spec={"source": Source(job=succeeded_job)})
    with pytest.raises(ConflictError, match="served by the service 'tiny'"):
        stage.platform.jobs.delete(succeeded_job)
    stage.services.delete("tiny")
    stage.finish_stopping()
    stage.platform.jobs.delete(succeeded_job)


def test_requests_that_cannot_be_are_refused_by_name(stage):
    with pytest.raises(OptionError, match="gpus=2"):
        stage.create(gpus=2)
    with pytest.raises(CapacityError, match="no GPU"):
        stage.create(gpus=1)
    with pytest.raises(NotFoundError, match="no job 'job-x'"):
        stage.create(spec={"source": Source(job="job-x")})
    with pytest.raises(NotFoundError, match="no service 'nobody'"):
        stage.services.get("nobody")
    with pytest.raises(OptionError, match="no state 'odd'"):
        stage.services.list(states=["odd"])


def test_services_in_pages(stage):
    made = [stage.create(f"page_{i}").id for i in range(5)]
    first = stage.services.list(limit=2)
    second = stage.services.list(limit=2, after=first.next)
    assert [one.id for one in (*first.items, *second.items)] == made[:0:-1]
    assert [one.name for one in stage.services.list(text="page_3").items] == ["page_3"]
