"""Jobs as they are asked for, on an executor without processes."""

import pytest
from sqlalchemy import update

from quickalign.core.errors import (
    CapacityError,
    ConflictError,
    ModelError,
    NotFoundError,
    OptionError,
    UnavailableError,
)
from quickalign.core.wire.jobs import JobState as S
from quickalign.platform.db.tables import AttemptRow
from quickalign.platform.devices import Device
from quickalign.platform.jobs import kinds, reconciler
from tests.support.fake_executor import FakeExecutor
from tests.support.platforms import FAST, cpu, open_stub, stub_job

SMALL_GPU = (*cpu(), Device("cuda", 0, "Small", 4 * 10**9, 1))


@pytest.fixture
def patient(tmp_path, world, database_url):
    """A platform on which a crashed job stays in the queue for as long as a test takes."""
    waits = FAST.model_copy(update={"retry_seconds": 300.0, "retry_seconds_max": 300.0})
    opened = open_stub(tmp_path / "home", executor=FakeExecutor(world), database_url=database_url, config=waits)
    yield opened
    opened.close()


def begin(platform, world, job):
    """Bring a job to running; returns its run in the world."""
    platform.reconciler.tick()
    run = next(run for run in world.waiting() if run.attempt.job == job.id)
    world.arrive(run)
    platform.reconciler.tick()
    assert platform.jobs.get(job.id).state is S.RUNNING
    return run


def test_a_new_job_waits_in_its_place(platform, data):
    first, second = platform.jobs.create(stub_job(data)), platform.jobs.create(stub_job(data, name="mine"))
    assert (first.state, first.queue_position, second.queue_position) == (S.QUEUED, 1, 2)
    assert (first.name, second.name) == ("dpo qwen2-tiny-instruct", "mine")
    urgent = platform.jobs.create(stub_job(data, priority=5))
    assert urgent.queue_position == 1
    assert [platform.jobs.get(job.id).queue_position for job in (urgent, first, second)] == [1, 2, 3]
    queues = [[entry.job for entry in platform.system(queue_limit=limit).queue] for limit in (None, 2)]
    assert queues == [[urgent.id, first.id, second.id], [urgent.id, first.id]]


def test_priorities_and_order_decide_who_starts(platform, world, data):
    jobs = [platform.jobs.create(stub_job(data, priority=priority)) for priority in (0, 5, 5, -5)]
    order = []
    for _ in jobs:
        platform.reconciler.tick()
        (run,) = world.waiting()
        order.append(run.attempt.job)
        world.arrive(run)
        world.end(run, 0)
        platform.reconciler.tick()
    assert order == [jobs[1].id, jobs[2].id, jobs[0].id, jobs[3].id]


def test_the_reason_for_waiting_is_shown(platform, world, data):
    begin(platform, world, platform.jobs.create(stub_job(data)))
    waiting = platform.jobs.create(stub_job(data))
    assert platform.jobs.get(waiting.id).reason.code == "waiting_for_cpu"
    entry = platform.system().queue[0]
    assert (entry.job, entry.position, entry.reason.code) == (waiting.id, 1, "waiting_for_cpu")
    assert platform.system().devices[0].jobs


def test_success(platform, world, data):
    job = platform.jobs.create(stub_job(data))
    run = begin(platform, world, job)
    world.end(run, 0)
    platform.reconciler.tick()
    job = platform.jobs.get(job.id)
    assert (job.state, job.model_path, job.adapter_sha256) == (S.SUCCEEDED, "/adapter", "a" * 64)
    assert job.finished_at >= job.started_at >= job.created_at
    kinds = [event.data.get("to") for event in platform.jobs.events(job.id).items]
    assert kinds == ["queued", "starting", "running", "succeeded"]


@pytest.mark.parametrize(
    ("code", "state"),
    [
        (3, S.FAILED),
        (7, S.FAILED),
        (12, S.FAILED),
        (70, S.QUEUED),
        (1, S.QUEUED),
        (-9, S.QUEUED),
        (130, S.QUEUED),
        (None, S.QUEUED),
    ],
)
def test_failures_are_told_from_crashes(patient, world, data, code, state):
    job = patient.jobs.create(stub_job(data))
    world.end(begin(patient, world, job), code)
    patient.reconciler.tick()
    assert patient.jobs.get(job.id).state is state


def test_crashes_are_tried_again_a_bounded_number_of_times(platform, world, data):
    job = platform.jobs.create(stub_job(data, max_retries=2))
    for _ in range(3):
        while not world.waiting():
            platform.reconciler.tick()
        run = world.waiting()[0]
        world.arrive(run)
        platform.reconciler.tick()
        world.end(run, -9)
        platform.reconciler.tick()
    job = platform.jobs.get(job.id)
    assert (job.state, job.reason.code, job.attempt) == (S.FAILED, "crashed", 3)
    assert "restarted 2 times" in job.reason.message


def test_pause_resume_cancel(platform, world, data):
    job = platform.jobs.create(stub_job(data))
    run = begin(platform, world, job)
    assert platform.jobs.pause(job.id).state is S.PAUSING
    assert platform.jobs.pause(job.id).state is S.PAUSING, "asking twice changes nothing"
    platform.reconciler.tick()
    assert run.asked_to_stop
    world.end(run, 130)
    platform.reconciler.tick()
    assert platform.jobs.get(job.id).state is S.PAUSED
    assert platform.jobs.resume(job.id).state is S.RESUMING
    platform.reconciler.tick()
    run = begin(platform, world, job)
    assert platform.jobs.cancel(job.id).state is S.CANCELLING
    world.end(run, 130)
    platform.reconciler.tick()
    assert platform.jobs.get(job.id).state is S.CANCELLED
    for call in (platform.jobs.pause, platform.jobs.resume):
        with pytest.raises(ConflictError, match="is cancelled"):
            call(job.id)
    assert platform.jobs.cancel(job.id).state is S.CANCELLED


def test_a_paused_job_does_not_run_on(platform, world, data):
    job = platform.jobs.create(stub_job(data))
    assert (job.ran_until(5.0), job.running_since) == (0.0, None)
    run = begin(platform, world, job)
    platform.jobs.pause(job.id)
    world.end(run, 130)
    platform.reconciler.tick()
    with platform._database.write() as session:
        session.execute(update(AttemptRow).values(started_at=1000.0, ended_at=1600.0))
    paused = platform.jobs.get(job.id)
    assert (paused.state, paused.ran_until(9e9), paused.running_since) == (S.PAUSED, 600.0, None)
    platform.jobs.resume(job.id)
    platform.reconciler.tick()
    begin(platform, world, job)
    (listed,) = platform.jobs.list().items
    assert listed.running_since > 1600.0
    assert listed.ran_until(listed.running_since + 5) == 605.0


def test_a_failed_job_goes_on_when_the_cause_is_gone(platform, world, data):
    job = platform.jobs.create(stub_job(data))
    run = begin(platform, world, job)
    (run.launch.results / "error.json").write_text('{"message": "The data is gone."}')
    world.end(run, 5)
    platform.reconciler.tick()
    failed = platform.jobs.get(job.id)
    assert failed.reason.message == "The data is gone."
    assert (failed.state, failed.finished_at is None) == (S.FAILED, False)
    assert platform.jobs.resume(job.id).state is S.RESUMING
    assert platform.jobs.get(job.id).finished_at is None
    with pytest.raises(ConflictError, match="is resuming"):
        platform.jobs.delete(job.id)
    platform.reconciler.tick()
    run = begin(platform, world, job)
    assert (run.attempt.number, platform.jobs.get(job.id).reason) == (2, None)
    world.end(run, 5)  # before it could say why
    platform.reconciler.tick()
    failed = platform.jobs.get(job.id)
    assert (failed.state, failed.reason.message) == (S.FAILED, "It did not say why.")


def test_a_waiting_job_is_paused_and_cancelled_at_once(platform, data):
    job = platform.jobs.create(stub_job(data))
    assert platform.jobs.pause(job.id).state is S.PAUSED
    assert platform.jobs.resume(job.id).state is S.RESUMING
    assert platform.jobs.cancel(job.id).state is S.CANCELLED


def test_a_job_that_does_not_stop_is_killed_after_the_deadline(tmp_path, world, data):
    now = [1000.0]
    platform = open_stub(tmp_path / "home", executor=FakeExecutor(world), clock=lambda: now[0])
    try:
        job = platform.jobs.create(stub_job(data))
        run = begin(platform, world, job)
        platform.jobs.cancel(job.id)
        platform.reconciler.tick()
        assert run.alive
        now[0] += FAST.stop_seconds + 1
        platform.reconciler.tick()
        platform.reconciler.tick()
        assert not run.alive
        assert platform.jobs.get(job.id).state is S.CANCELLED
    finally:
        platform.close()


def test_a_job_that_does_not_begin_is_given_up_and_tried_again(tmp_path, world, data):
    now = [1000.0]
    platform = open_stub(tmp_path / "home", executor=FakeExecutor(world), clock=lambda: now[0])
    try:
        job = platform.jobs.create(stub_job(data))
        platform.reconciler.tick()
        late = world.waiting()[0]
        now[0] += FAST.start_seconds + 1
        platform.reconciler.tick()
        found = platform.jobs.get(job.id)
        assert found.state is S.QUEUED
        now[0] += 10
        platform.reconciler.tick()
        world.arrive(late)
        assert not late.alive, "what was given up must not begin"
        assert platform.jobs.get(job.id).attempt == 2
    finally:
        platform.close()


def test_the_same_key_makes_one_job(platform, data):
    first = platform.jobs.create(stub_job(data), idempotency_key="k")
    assert platform.jobs.create(stub_job(data), idempotency_key="k").id == first.id
    with pytest.raises(ConflictError, match="another request"):
        platform.jobs.create(stub_job(data, seed=1), idempotency_key="k")
    assert len(platform.jobs.list().items) == 1
    with pytest.raises(OptionError):
        platform.jobs.create(stub_job(data), idempotency_key="")
    platform.jobs.cancel(first.id)
    platform.jobs.delete(first.id)
    assert platform.jobs.create(stub_job(data), idempotency_key="k").id != first.id


def test_the_same_key_makes_one_clone(platform, data):
    one, other = (platform.jobs.create(stub_job(data)) for _ in range(2))
    clone = platform.jobs.clone(one.id, {"name": "again"}, idempotency_key="k")
    assert platform.jobs.clone(one.id, {"name": "again"}, idempotency_key="k").id == clone.id
    for job, changes in ((one, {"name": "other"}), (other, {"name": "again"})):
        with pytest.raises(ConflictError, match="another request"):
            platform.jobs.clone(job.id, changes, idempotency_key="k")
    assert len(platform.jobs.list().items) == 3


def test_lists_are_filtered_and_paged(platform, data):
    made = [
        platform.jobs.create(stub_job(data, name=f"job {n}%", metadata={"n": str(n), "team a": "x"})) for n in range(5)
    ]
    platform.jobs.cancel(made[0].id)
    listed = platform.jobs.list
    assert [job.id for job in listed().items] == [job.id for job in reversed(made)]
    assert [job.id for job in listed(states=["cancelled"]).items] == [made[0].id]
    assert [job.id for job in listed(metadata={"n": "3", "team a": "x"}).items] == [made[3].id]
    assert [job.id for job in listed(text="JOB 2%").items] == [made[2].id]
    assert listed(text="job_2").items == ()
    assert listed(model="another").items == ()
    assert len(listed(model="qwen2-tiny-instruct", limit=10_000).items) == 5
    first = listed(limit=3)
    rest = listed(limit=3, after=first.next)
    assert [job.id for job in (*first.items, *rest.items)] == [job.id for job in reversed(made)]
    assert rest.next is None
    with pytest.raises(OptionError, match="no state"):
        listed(states=["nonsense"])
    with pytest.raises(NotFoundError):
        listed(after="job-none")


def test_a_page_goes_on_where_the_last_job_of_the_one_before_was_deleted(platform, data):
    made = [platform.jobs.cancel(platform.jobs.create(stub_job(data)).id).id for _ in range(4)]
    first = platform.jobs.list(limit=2)
    for job in first.items:
        platform.jobs.delete(job.id)
    assert [job.id for job in platform.jobs.list(limit=2, after=first.next).items] == made[1::-1]
    assert [job.id for job in platform.jobs.list(after=made[1]).items] == made[:1]
    for wrong in ("job-none", ":1", f"{made[0]}:x"):
        with pytest.raises(NotFoundError):
            platform.jobs.list(after=wrong)


@pytest.mark.parametrize("key", ["team", 'a"b', "a.b", "a[0]", "a'b", "a\\b", "$", "键", "%"])
def test_jobs_are_found_by_any_label(platform, data, key):
    job = platform.jobs.create(stub_job(data, metadata={key: "v", "other": "w"}))
    platform.jobs.create(stub_job(data, metadata={"else": "v"}))
    assert [found.id for found in platform.jobs.list(metadata={key: "v", "other": "w"}).items] == [job.id]
    assert platform.jobs.list(metadata={key: "w"}).items == ()


def test_a_clone_has_the_same_inputs_whatever_became_of_the_file(platform, data):
    job = platform.jobs.create(stub_job(data, metadata={"a": "b"}))
    data.unlink()
    clone = platform.jobs.clone(job.id, {"name": "again", "spec": {"hyperparameters": {"seed": 9, "save_steps": None}}})
    assert (clone.inputs, clone.cloned_from, clone.name, clone.metadata) == (job.inputs, job.id, "again", {"a": "b"})
    assert clone.spec.hyperparameters["seed"] == 9
    assert "save_steps" not in clone.spec.hyperparameters
    assert clone.spec.hyperparameters["max_steps"] == 6
    platform.jobs.cancel(job.id)
    platform.jobs.delete(job.id)
    assert platform.files.blobs.path(clone.inputs["train"]).exists()
    for changes in (
        {"nonsense": 1},
        {"spec": {"nonsense": 1}},
        {"spec": 3},
        {"spec": {"hyperparameters": {"seeed": 1}}},
    ):
        with pytest.raises(OptionError):
            platform.jobs.clone(clone.id, changes)


def test_only_what_is_over_is_deleted(platform, data):
    job = platform.jobs.create(stub_job(data))
    with pytest.raises(ConflictError, match="is queued"):
        platform.jobs.delete(job.id)
    platform.jobs.cancel(job.id)
    platform.jobs.delete(job.id)
    with pytest.raises(NotFoundError):
        platform.jobs.get(job.id)
    for call in (
        platform.jobs.events,
        platform.jobs.logs,
        platform.jobs.metrics,
        platform.jobs.checkpoints,
        platform.jobs.delete,
    ):
        with pytest.raises(NotFoundError):
            call(job.id)


def test_wrong_requests_say_what_is_wrong(platform, data):
    request = stub_job(data)

    def spec(**changes):
        return request.model_copy(update={"spec": request.spec.model_copy(update=changes)})

    with pytest.raises(OptionError, match="learning_rate"):
        platform.jobs.create(spec(hyperparameters={"lr": 1}))
    with pytest.raises(ModelError, match="Did you mean") as caught:
        platform.jobs.create(spec(model="qwen2-7b-instuct"))
    assert caught.value.field == "spec.model"
    with pytest.raises(OptionError, match="relative"):
        platform.jobs.create(spec(model="./model"))
    with pytest.raises(CapacityError, match="no GPU"):
        platform.jobs.create(stub_job(data, gpus=1))
    with pytest.raises(OptionError, match="one GPU"):
        platform.jobs.create(stub_job(data, gpus=2))
    assert platform.jobs.list().items == ()


def test_workers_need_a_cluster_and_weights_in_pieces_need_workers(platform, data):
    with pytest.raises(OptionError, match='executor = "ray"') as caught:
        platform.jobs.create(stub_job(data, workers=2))
    assert caught.value.field == "workers"
    request = stub_job(data)
    pieces = request.model_copy(update={"spec": request.spec.model_copy(update={"strategy": "fsdp2"})})
    with pytest.raises(OptionError, match="has one") as caught:
        platform.jobs.create(pieces)
    assert caught.value.field == "spec.strategy"


def test_evaluations_need_validation_data(platform, data):
    request = stub_job(data)
    changes = {"hyperparameters": request.spec.hyperparameters | {"eval_steps": 10}}
    asked = request.model_copy(update={"spec": request.spec.model_copy(update=changes)})
    with pytest.raises(OptionError, match="eval_steps=10") as caught:
        platform.jobs.create(asked)
    assert caught.value.field == "spec.hyperparameters"


def test_several_workers_are_started_by_the_program_that_spreads(tmp_path, data):
    job = stub_job(data, workers=4)
    taken = kinds.resources(job, (), (Device("cpu", 0, "cpu", 64 << 30, 4),))
    assert taken.workers == kinds.workers(job) == 4
    command = kinds.spread(tmp_path / "spec.json", taken, 0.5)
    memory = str(taken.memory_bytes)
    assert command[2:4] == ("quickalign.cluster.train", str(tmp_path / "spec.json"))
    assert command[4:] == ("--workers", "4", "--cpus", "0.5", "--gpus", "0", "--memory", memory)
    on_gpus = kinds.spread(tmp_path / "spec.json", taken.model_copy(update={"gpus": 1}), 1.0)
    assert on_gpus[-4:] == ("--gpus", "1", "--memory", "0")


def test_what_can_never_fit_is_refused_at_once(tmp_path, world, data):
    platform = open_stub(tmp_path / "home", executor=FakeExecutor(world), devices=SMALL_GPU)
    try:
        request = stub_job(data)
        large = request.model_copy(update={"spec": request.spec.model_copy(update={"model": "qwen2-7b-instruct"})})
        with pytest.raises(CapacityError, match="needs about") as caught:
            platform.jobs.create(large)
        assert caught.value.field == "spec.model"
        assert platform.jobs.create(request).resources.gpus == 1
        assert platform.jobs.create(stub_job(data, gpus=0)).resources.gpus == 0
    finally:
        platform.close()


def test_events_are_paged_in_order(platform, data):
    job = platform.jobs.create(stub_job(data))
    platform.jobs.pause(job.id)
    platform.jobs.cancel(job.id)
    first = platform.jobs.events(job.id, limit=2)
    assert [event.sequence for event in first.items] == [1, 2]
    rest = platform.jobs.events(job.id, after=int(first.next))
    assert [event.sequence for event in rest.items] == [3]
    assert platform.jobs.events(job.id, after=3) == rest.model_copy(update={"items": ()})


def test_a_server_whose_rounds_fail_is_not_ready(platform, monkeypatch):
    def broken():
        raise OSError("the disk is gone")

    monkeypatch.setattr(reconciler, "_STALLED_SECONDS", 0.0)
    monkeypatch.setattr(platform.reconciler, "_admit", broken)
    with pytest.raises(OSError, match="the disk"):
        platform.reconciler.tick()
    with pytest.raises(UnavailableError, match="look after its jobs"):
        platform.ping()
    monkeypatch.undo()
    platform.ping()
