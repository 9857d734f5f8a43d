"""What a source becomes when it is frozen, and what a revision needs."""

import json
import shutil

import pytest

from quickalign.core.errors import AccessError, ConflictError, ModelError, NotFoundError
from quickalign.core.wire.evaluations import EvaluateRequest
from quickalign.core.wire.jobs import EvaluationCreate, JobState
from quickalign.core.wire.services import RevisionSpec, Source
from quickalign.platform.services import needs
from quickalign.platform.services.sources import Frozen
from tests.support.platforms import stub_job, write_data
from tests.support.services import spec_of, write_model

MEGABYTE = 1 << 20


def freeze(stage, **source):
    with stage.platform._database.read() as session:
        return stage.services._sources.freeze(session, Source(**source))


def test_a_job_is_frozen_as_its_folder_and_its_names(stage, succeeded_job):
    found = freeze(stage, job=succeeded_job)
    adapter = stage.platform.home.output(succeeded_job) / "adapter"
    assert (found.model, found.adapter_path, found.model_path) == (str(adapter), str(adapter), None)
    [name] = found.names
    assert name.startswith("ft:qwen2-tiny-instruct:quickalign:")
    assert freeze(stage, job=name) == found
    with pytest.raises(NotFoundError, match="no job"):
        freeze(stage, job=name.replace("quickalign", "other"))
    assert freeze(stage, adapter=str(adapter)).job == succeeded_job, "its folder is the job's, however it is named"


def test_a_checkpoint_of_a_job_that_is_not_over(stage, tmp_path):
    job = stage.platform.jobs.create(stub_job(write_data(tmp_path / "data")))
    with pytest.raises(ConflictError, match="queued, so there is no model"):
        freeze(stage, job=job.id)
    with pytest.raises(NotFoundError, match="no checkpoint of step 4"):
        freeze(stage, job=job.id, checkpoint=4)
    step = stage.platform.home.output(job.id) / "checkpoints" / "step-00000004" / "adapter"
    write_model(step)
    assert freeze(stage, job=job.id, checkpoint=4).model == str(step)
    assert stage.platform.jobs.get(job.id).state is JobState.QUEUED


def test_models_by_name_and_by_folder(stage, tmp_path):
    embedded = freeze(stage, model="qwen2-tiny-instruct")
    assert embedded.model_path
    assert embedded.model_path.endswith("qwen2-tiny-instruct")
    elsewhere = freeze(stage, model="qwen2.5-0.5b-instruct", model_revision="main")
    assert (elsewhere.model, elsewhere.model_revision, elsewhere.files) == ("qwen2.5-0.5b-instruct", "main", ())
    pair = freeze(stage, model="qwen2-tiny-instruct", adapter=str(write_model(tmp_path / "adapter")))
    assert (pair.model, pair.adapter) == (embedded.model_path, str(tmp_path / "adapter"))
    with pytest.raises(ModelError, match="neither a model nor an adapter"):
        freeze(stage, model=str(stage.platform.home.trash))
    with pytest.raises(AccessError):
        freeze(stage, adapter=str(stage.platform.home.secrets))


def test_a_file_that_was_only_touched_is_the_same(stage):
    found = freeze(stage, model=str(stage.model))
    weights = stage.model / "model.safetensors"
    weights.write_bytes(weights.read_bytes())
    found.verify("it")
    weights.unlink()
    with pytest.raises(ModelError, match="is not what it was when it was made"):
        found.verify("it")


def test_a_file_that_loading_would_read_is_not_added_to_what_was_frozen(stage):
    found = freeze(stage, model=str(stage.model))
    (stage.model / "notes.txt").write_text("says nothing")
    found.verify("it")
    (stage.model / "special_tokens_map.json").write_text("{}")
    with pytest.raises(ModelError, match=r"special_tokens_map\.json was not there when it was made"):
        found.verify("it")
    freeze(stage, model=str(stage.model)).verify("it")


def test_memory_grows_with_precision_and_answers(lone):
    source = freeze(lone, model="qwen2-tiny-instruct")

    def memory(**spec):
        return needs.memory_of(RevisionSpec(source=Source(model="x"), **spec), source, 0) - 500_000_000

    weights = 2 * (memory(max_concurrency=1) - memory(max_concurrency=1, precision="bf16"))
    assert weights == memory(max_concurrency=1)
    one, two = memory(max_concurrency=1, weights="int8"), memory(max_concurrency=2, weights="int8")
    assert memory(max_concurrency=3, weights="int8") - two == two - one > 0
    assert memory(weights="int4") < memory(weights="int8") < memory()


def test_what_is_not_known_counts_as_the_process_alone():
    unknown = Frozen(model="some/repository")
    assert needs.memory_of(RevisionSpec(source=Source(model="some/repository")), unknown, 0) == 500_000_000
    card = Frozen(model="qwen2.5-0.5b-instruct")
    assert needs.memory_of(RevisionSpec(source=Source(model="x")), card, 1) > 900 * MEGABYTE


@pytest.mark.parametrize("way", ["moved", "copied"])
def test_a_home_that_lies_elsewhere_serves_and_evaluates_what_its_jobs_made(stage, succeeded_job, tmp_path, way):
    stage.create(spec={"source": Source(job=succeeded_job)})
    stage.create("beside", spec={"source": Source(model=str(stage.model))})
    data = str(tmp_path / "data" / "rows.json")
    evaluation = EvaluationCreate(spec=EvaluateRequest(model=succeeded_job, data=data))
    waiting = stage.platform.jobs.pause(stage.platform.jobs.create(evaluation).id)
    stage.platform.close()
    before, stage.home = stage.home, tmp_path / "elsewhere" / "home"
    if way == "moved":
        stage.home.parent.mkdir()
        before.rename(stage.home)
    else:
        shutil.copytree(before, stage.home)
    stage.platform = stage.open()
    adapter = stage.home / "jobs" / succeeded_job / "output" / "adapter"
    assert stage.platform.jobs.get(succeeded_job).model_path == str(adapter)
    stage.tick()
    specs = [spec_of(run) for run in stage.world.runs.values()]
    assert {spec["model"] for spec in specs} == {str(adapter), str(stage.model)}
    stage.platform.jobs.resume(waiting.id)
    for _ in range(2):
        stage.platform.reconciler.tick()
    asked = json.loads((stage.home / "jobs" / waiting.id / "spec.json").read_text())
    assert asked["model"] == str(adapter)
