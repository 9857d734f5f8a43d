"""Jobs that evaluate and export: the same record as training jobs, with programs, models and results of their own."""

import json
from pathlib import Path

import pytest

from quickalign.core.errors import CapacityError, ConflictError, ModelError, NotFoundError, OptionError
from quickalign.core.wire.evaluations import EvaluateRequest
from quickalign.core.wire.exports import ExportRequest
from quickalign.core.wire.jobs import EstimateRequest, EvaluationCreate, ExportCreate, JobState, Reason
from quickalign.core.wire.services import Source
from quickalign.platform.devices import Device
from quickalign.platform.inputs import Inputs
from quickalign.platform.jobs import kinds
from quickalign.platform.models import trained_name
from quickalign.platform.services.sources import Sources
from tests.support.absent import take_away
from tests.support.platforms import drive, drive_to, stub_job

FIGURES = {"verdict": "better", "rows": 4, "figures": {"accuracy": 0.75}, "base": {"accuracy": 0.5}}


def evaluation(data, model="qwen2-tiny-instruct", **values):
    return EvaluationCreate(spec=EvaluateRequest(model=model, data=str(data), **values))


def started(platform, world, job):
    """The job's attempt, running."""
    mine = lambda: [run for run in world.waiting() if run.attempt.job == job.id]  # noqa: E731
    drive(platform, lambda: bool(mine()))
    (run,) = mine()
    world.arrive(run)
    drive_to(platform, job, JobState.RUNNING)
    return run


def ended(platform, world, job, result=None, code=0):
    """The job when its program has ended and left `result`."""
    run = started(platform, world, job)
    if result is not None:
        (platform.home.output(job.id) / "result.json").write_text(json.dumps(result))
    run.launch = type(run.launch)(run.launch.command, run.launch.folder)  # what it leaves is written here
    world.end(run, code)
    return drive_to(platform, job, JobState.SUCCEEDED, JobState.FAILED)


@pytest.fixture
def trained(platform, world, data, tmp_path):
    """A training job that has succeeded."""
    folder = tmp_path / "trained"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    job = platform.jobs.create(stub_job(data))
    return ended(platform, world, job, {"adapter": str(folder), "adapter_sha256": "a" * 64})


def test_an_evaluation_gets_the_jobs_model_the_frozen_data_and_a_folder_for_its_news(platform, world, data, trained):
    job = platform.jobs.create(evaluation(data, trained.id, rows=7))
    assert (job.kind, job.model, job.spec.model) == ("evaluate", "qwen2-tiny-instruct", trained.id)
    assert job.inputs.keys() == {"model", "data"}
    run = started(platform, world, job)
    *program, spec_file, news = run.launch.command
    assert tuple(program) == kinds.PROGRAMS["evaluate"]
    assert news == str(platform.home.output(job.id))
    spec = json.loads(Path(spec_file).read_text())
    assert (spec["model"], spec["rows"], spec["output"]) == (trained.model_path, 7, news)
    data.unlink()
    assert json.loads(Path(spec["data"]).read_text())[0]["prompt"] == "a"


def further(data, model, **values):
    """A training job that goes on from what `model` names."""
    made = stub_job(data)
    return made.model_copy(update={"spec": made.spec.model_copy(update={"model": model, **values})})


@pytest.mark.parametrize("by", ["id", "name"])
def test_what_a_job_trained_is_trained_further(platform, world, data, trained, by):
    named = trained.id if by == "id" else trained_name(trained.model, trained.name, trained.id)
    job = platform.jobs.create(further(data, named))
    assert (job.kind, job.model, job.spec.model) == ("train", "qwen2-tiny-instruct", named)
    assert job.name == f"dpo qwen2-tiny-instruct of {trained.id}"
    assert job.inputs.keys() == {"model", "train"}
    with pytest.raises(ConflictError, match=f"The job {job.id} reads the model of {trained.id}"):
        platform.jobs.delete(trained.id)
    spec = json.loads(Path(started(platform, world, job).launch.command[-1]).read_text())
    assert (spec["model"], spec["validation"]) == (trained.model_path, None)
    again = platform.jobs.clone(job.id)
    assert (again.spec.model, again.inputs["model"]) == (named, job.inputs["model"])


def test_what_cannot_be_trained_further_is_refused(platform, data, trained):
    with pytest.raises(NotFoundError, match="There is no job 'job-none'") as caught:
        platform.jobs.create(further(data, "job-none"))
    assert caught.value.field == "spec.model"
    with pytest.raises(OptionError, match="model_revision='main' has no effect on job-"):
        platform.jobs.create(further(data, trained.id, model_revision="main"))
    waiting = platform.jobs.create(stub_job(data))
    with pytest.raises(ConflictError, match="has no model: it is queued"):
        platform.jobs.create(further(data, waiting.id))


def test_an_estimate_of_training_further_reads_the_jobs_model(platform, data, trained, monkeypatch):
    read = []

    def planned(module, request, seconds, *arguments):
        read.append(json.loads(Path(arguments[1]).read_text())["model"])
        return {"plan": {"predicted_peak_bytes": 5, "device_kind": "cpu"}, "report": {}, "validation_report": None}

    monkeypatch.setattr("quickalign.platform.estimates.run_program", planned)
    platform.estimate(EstimateRequest(spec=further(data, trained.id).spec))
    assert read == [trained.model_path]
    with pytest.raises(NotFoundError, match="There is no job 'job-none'"):
        platform.estimate(EstimateRequest(spec=further(data, "job-none").spec))


def test_what_it_found_is_in_its_record(platform, world, data):
    job = platform.jobs.create(evaluation(data))
    over = ended(platform, world, job, {"summary": "The model is better.", "results": FIGURES})
    assert (over.state, over.results, over.model_path) == (JobState.SUCCEEDED, FIGURES, None)
    said = [event.message for event in platform.jobs.events(job.id).items]
    assert "The job is succeeded: The model is better." in said


def test_one_that_misses_a_limit_fails_and_keeps_its_figures(platform, world, data):
    job = platform.jobs.create(evaluation(data, fail_below={"accuracy": 0.9}))
    over = ended(platform, world, job, {"summary": "-", "results": FIGURES}, code=13)
    assert (over.state, over.reason.exit_code, over.results) == (JobState.FAILED, 13, FIGURES)


def test_one_that_is_killed_starts_again_with_what_it_has_computed(platform, world, data):
    job = platform.jobs.create(evaluation(data))
    world.end(started(platform, world, job), -9)
    platform.reconciler.tick()
    events = platform.jobs.events(job.id).items
    last = next(event.message for event in events if event.data.get("from") == "running")  # it may have begun again
    assert "SIGKILL" in last
    assert "goes on from what it has computed" in last
    assert ended(platform, world, job, {"summary": "-", "results": FIGURES}).state is JobState.SUCCEEDED


def test_a_paused_one_keeps_what_it_has_computed(platform, world, data):
    job = platform.jobs.create(evaluation(data))
    run = started(platform, world, job)
    platform.jobs.pause(job.id)
    world.end(run, -15)
    paused = drive_to(platform, job, JobState.PAUSED)
    assert paused.reason == Reason(code="user", message="It was paused; what it has computed is kept.")


def test_an_export_leaves_a_model_that_can_be_served_and_evaluated(platform, world, data, trained):
    job = platform.jobs.create(ExportCreate(spec=ExportRequest(model=trained.id), output="/tmp/mine"))
    folder = platform.home.output(job.id) / "model"
    run = started(platform, world, job)
    assert (run.launch.results, run.launch.copy_to) == (folder, "/tmp/mine")
    platform.jobs.cancel(job.id)
    world.end(run, None)
    platform.reconciler.tick()
    again = platform.jobs.clone(job.id)
    folder = platform.home.output(again.id) / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    result = {"adapter": str(folder), "adapter_sha256": "b" * 64, "summary": "Close.", "results": {"bytes": 1}}
    over = ended(platform, world, again, result)
    assert (over.model_path, over.results) == (str(folder), {"bytes": 1})
    inputs = Inputs(platform.home, platform.config, platform.files.blobs, platform.files.content)
    sources = Sources(platform.home, inputs)
    with platform._database.read() as session:
        assert sources.freeze(session, Source(job=again.id)).model_path == str(folder)
    assert platform.jobs.create(evaluation(data, again.id)).model == "qwen2-tiny-instruct"


def test_an_export_whose_packages_are_not_there_is_refused_before_it_waits(platform, trained, monkeypatch):
    take_away(monkeypatch, "gguf")
    request = ExportRequest(model=trained.id, compression="gguf-q4_0")
    with pytest.raises(OptionError, match=r"GGUF files need gguf\.") as caught:
        platform.jobs.create(ExportCreate(spec=request))
    assert caught.value.field == "spec.compression"
    platform.jobs.create(ExportCreate(spec=ExportRequest(model=trained.id)))


def test_a_gguf_file_is_nothing_to_serve_evaluate_or_train(platform, world, data, trained):
    job = platform.jobs.create(ExportCreate(spec=ExportRequest(model=trained.id, compression="gguf")))
    folder = platform.home.output(job.id) / "model"
    folder.mkdir(parents=True)
    for name in ("model.gguf", "quickalign.json"):
        (folder / name).write_text("{}")
    ended(platform, world, job, {"adapter": str(folder), "adapter_sha256": "b" * 64, "summary": "-", "results": {}})
    inputs = Inputs(platform.home, platform.config, platform.files.blobs, platform.files.content)
    for model in (job.id, str(folder)):
        with pytest.raises(ModelError, match=r"model.gguf is a GGUF file, which llama.cpp"):
            platform.jobs.create(evaluation(data, model=model))
        source = Source(job=model) if model == job.id else Source(model=model)
        with platform._database.read() as session, pytest.raises(ModelError, match="GGUF"):
            Sources(platform.home, inputs).freeze(session, source)


def test_a_job_is_kept_while_another_reads_its_model(platform, data, trained):
    job = platform.jobs.create(evaluation(data, trained.id))
    with pytest.raises(ConflictError, match=job.id):
        platform.jobs.delete(trained.id)
    platform.jobs.cancel(job.id)
    platform.jobs.delete(trained.id)


def test_what_cannot_be_is_refused_before_a_job_is_made(platform, world, data):
    with pytest.raises(OptionError, match="acuracy"):
        platform.jobs.create(evaluation(data, fail_below={"acuracy": 1}))
    with pytest.raises(NotFoundError, match="job-none"):
        platform.jobs.create(evaluation(data, "job-none"))
    with pytest.raises(ModelError, match="qwen2-tiny-instruct"):
        platform.jobs.create(evaluation(data, base="qwen2-tyny-instruct"))
    running = platform.jobs.create(stub_job(data))
    with pytest.raises(ConflictError, match="queued") as raised:
        platform.jobs.create(evaluation(data, against=running.id))
    assert raised.value.field == "spec.against"
    over = ended(platform, world, running, {"adapter": "/adapter", "adapter_sha256": "a" * 64})
    found = ended(platform, world, platform.jobs.create(evaluation(data, over.id)), {"results": FIGURES})
    with pytest.raises(ConflictError, match="kind is evaluate"):
        platform.jobs.create(ExportCreate(spec=ExportRequest(model=found.id)))


def test_its_memory_is_that_of_two_models(data):
    devices = (Device("cpu", 0, "CPU", 20 * 10**9, 1),)
    needed = kinds.resources(evaluation(data), (), devices)
    assert 5e8 < needed.memory_bytes < 6e8
    with pytest.raises(CapacityError, match="twice in fp32"):
        kinds.resources(evaluation(data, "qwen2-7b-instruct"), (), devices)


def test_jobs_are_listed_by_their_kind(platform, data):
    made = {
        "train": platform.jobs.create(stub_job(data)),
        "evaluate": platform.jobs.create(evaluation(data)),
        "export": platform.jobs.create(ExportCreate(spec=ExportRequest(model=str(data.parent)))),
    }
    for kind, job in made.items():
        assert [one.id for one in platform.jobs.list(kinds=(kind,)).items] == [job.id]
    assert platform.jobs.count(kinds=("train", "export"))["queued"] == 2


def test_a_clone_takes_other_values_of_the_same_kind(platform, data):
    job = platform.jobs.create(evaluation(data, rows=5))
    clone = platform.jobs.clone(job.id, {"spec": {"rows": 9}})
    assert (clone.kind, clone.spec.rows, clone.inputs) == ("evaluate", 9, job.inputs)
    with pytest.raises(OptionError, match="compression"):
        platform.jobs.clone(job.id, {"spec": {"compression": "int4"}})
