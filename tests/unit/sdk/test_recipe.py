"""Recipes: options are checked before anything is sent, and what is sent is what was asked for."""

import json
import os
from collections import deque

import pytest

from quickalign.core import errors
from quickalign.core.errors import OptionError
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.wire.jobs import JobState, LogChunk, Reason
from quickalign.sdk import cloud, training_job
from quickalign.sdk.cloud import gpus_of
from quickalign.sdk.methods import apply_method
from quickalign.sdk.model_recipe import ModelRecipe, ModelRecipeType
from quickalign.sdk.problems import error_of_job
from quickalign.sdk.recipe import ModelTrainingRecipe
from quickalign.sdk.registered_model import RegisteredModel
from quickalign.sdk.session import Session
from quickalign.sdk.training_job import TrainingJob, TrainingJobStatus
from tests.support.fake_api import ENDPOINT, TOKEN, event, job, problem, sse

MODEL = "qwen2-tiny-instruct"
DPO = {"training_strategy": "dpo"}


def recipe(session, **values):
    return ModelTrainingRecipe(**{"model_name": MODEL, "hyperparameters": DPO, "session": session} | values)


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.json"
    path.write_text("[]")
    return path


def test_a_job_is_what_was_asked_for(api, remote):
    made = recipe(
        remote,
        method="LoRA_LLM",
        model_version="v2",
        instance_type="gpu:2",
        labels={"team": "a"},
        priority=3,
        max_retries=1,
    ).train({"train": "file-1", "validation": "hf://o/r/v.json"}, {"model": "s3://b/out"}, wait=False, job_name="first")
    assert api.sent() == {
        "name": "first",
        "spec": {
            "model": MODEL,
            "model_revision": "v2",
            "train": "file-1",
            "validation": "hf://o/r/v.json",
            "data_format": "auto",
            "safe_rlhf_preference": "better",
            "bad_rows": "error",
            "sample_prompts": [],
            "sample_tokens": 128,
            "closing_rows": 16,
            "strategy": "ddp",
            "hyperparameters": DPO,
        },
        "output": "s3://b/out",
        "workers": 1,
        "gpus": 2,
        "priority": 3,
        "metadata": {"team": "a"},
        "max_retries": 1,
    }
    assert made.training_job_name == "first"


def test_the_mission_s_data_is_sent_as_it_is_written(api, remote):
    uri = "oss://pai-quickstart-local/huggingface/datasets/safe_rlhf/sampled_train.json"
    recipe(remote).train({"train": uri}, wait=False)
    assert api.sent()["spec"]["train"] == uri
    recipe(remote).train(wait=False)
    assert api.sent()["spec"]["train"] == uri, "the default inputs are the sample set"


def test_local_data_is_named_to_this_home_s_server_and_sent_to_another(api, remote, own, pairs, monkeypatch):
    recipe(own).train({"train": pairs}, wait=False)
    assert api.sent()["spec"]["train"] == str(pairs)
    monkeypatch.chdir(pairs.parent)
    recipe(own).train({"train": "pairs.json"}, wait=False)
    assert api.sent()["spec"]["train"] == str(pairs)
    recipe(remote).train({"train": pairs}, wait=False)
    assert api.sent()["spec"]["train"] in api.files
    assert api.requests[-2].headers["X-Content-SHA256"]


def test_data_that_the_own_server_may_not_read_is_sent(api, own, pairs):
    api.accidents.append(problem(403, "access", "Outside.", field="spec.train", value=str(pairs)))
    recipe(own).train({"train": pairs}, wait=False)
    assert api.sent()["spec"]["train"] in api.files


def test_a_refusal_of_something_else_is_not_mended(api, own, pairs):
    api.accidents.append(problem(403, "access", "The token is wrong."))
    with pytest.raises(errors.AccessError):
        recipe(own).train({"train": pairs}, wait=False)
    assert not api.files


def test_a_local_output_is_only_for_this_home_s_server(api, remote, own, pairs, monkeypatch):
    monkeypatch.chdir(pairs.parent)
    recipe(own).train({"train": pairs}, {"model": "out"}, wait=False)
    assert api.sent()["output"] == str(pairs.parent / "out")
    with pytest.raises(OptionError, match="path of this machine"):
        recipe(remote).train({"train": "file-1"}, {"model": "out"}, wait=False)


def test_the_session_s_bucket_and_workspace_are_honoured(api, remote):
    session = Session(workspace_id=12, endpoint=ENDPOINT, token=TOKEN, oss_bucket_name="mine")
    recipe(session).train({"train": "file-1"}, wait=False, job_name="n")
    assert api.sent()["output"] == "oss://mine/quickalign/n/"
    assert api.sent()["metadata"] == {"workspace_id": "12"}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"hyperparameters": {"lr": 1}}, "It is called 'learning_rate' here"),
        ({"hyperparameters": {"learning_rte": 1}}, "Did you mean 'learning_rate'"),
        ({"hyperparameters": {"dpo_beta": 0.3}}, "has no effect with training_strategy='sft'"),
        ({"hyperparameters": {"lora_dim": 0}, "method": "LoRA_LLM"}, "method='LoRA_LLM' and lora_dim=0 exclude"),
        ({"method": "RLHF"}, "no training method"),
        ({"instance_count": 0}, "instance_count=0 is no number of workers"),
        ({"instance_type": "big"}, "instance_type='big' does not say how many GPUs"),
        ({"model_provider": "acme"}, "model_provider='acme'"),
        ({"model_name": None}, "needs a model"),
        ({"colour": "blue"}, "no argument 'colour'"),
    ],
)
def test_mistakes_are_named_before_anything_is_sent(api, remote, values, sentence):
    with pytest.raises(OptionError, match=sentence):
        recipe(remote, **values)
    assert not api.requests


def test_what_a_job_cannot_have_is_named_as_it_was_given(api, remote):
    with pytest.raises(OptionError, match=r"labels\.run=3 is not possible: input should be a valid string"):
        recipe(remote, labels={"run": 3}).train({"train": "file-1"}, wait=False)
    with pytest.raises(OptionError, match=r"job_name='x+' is not possible"):
        recipe(remote).train({"train": "file-1"}, wait=False, job_name="x" * 500)
    with pytest.raises(OptionError, match="sample_prompts='Hello' is not possible"):  # and not five prompts of a letter
        recipe(remote, sample_prompts="Hello").train({"train": "file-1"}, wait=False)
    with pytest.raises(OptionError, match=r"data is missing\."):
        ModelRecipe("job-1", recipe_type="evaluation", session=remote).run(wait=False)
    assert not api.requests


def test_workers_and_how_they_share_the_weights_are_sent(api, remote):
    recipe(remote, instance_count=4, instance_type="gpu", strategy="fsdp2").train({"train": "file-1"}, wait=False)
    sent = api.sent()
    assert (sent["workers"], sent["gpus"], sent["spec"]["strategy"]) == (4, 1, "fsdp2")


@pytest.mark.parametrize("name", cloud.REFUSED)
def test_every_cloud_argument_that_cannot_be_honoured_is_refused_by_name(api, remote, name):
    with pytest.raises(OptionError, match=f"The argument {name} cannot be honoured"):
        recipe(remote, **{name: "x"})
    recipe(remote, **{name: None})


@pytest.mark.parametrize(
    ("inputs", "outputs", "sentence"),
    [
        ({"train": "file-1", "test": "file-2"}, None, "no input 'test'"),
        ({"validation": "file-1"}, None, "no 'train' data"),
        ({"train": "file-1"}, {"tensorboard": "s3://b"}, "no output 'tensorboard'"),
        ({"train": "file-1", "model": ""}, {"model": "ftp://h/x"}, "ftp"),
    ],
)
def test_inputs_and_outputs_that_there_are_not_are_named(api, remote, inputs, outputs, sentence):
    with pytest.raises(errors.QuickalignError, match=sentence):
        recipe(remote).train(inputs, outputs, wait=False)
    assert not api.requests


def test_a_missing_file_is_named(api, remote):
    with pytest.raises(errors.StorageError, match=r"none\.json does not exist"):
        recipe(remote).train({"train": "none.json"}, wait=False)


def test_a_pipe_is_not_emptied_by_an_upload(api, remote, tmp_path):
    os.mkfifo(tmp_path / "pairs.json")
    for send in (lambda path: recipe(remote).train({"train": path}, wait=False), remote.files.upload):
        with pytest.raises(errors.StorageError, match="not a file"):
            send(tmp_path / "pairs.json")
    assert not api.requests


def test_a_model_of_the_cards_is_looked_up(api, remote):
    assert recipe(remote, model_provider="pai").model_name == MODEL
    with pytest.raises(errors.ModelError, match="Did you mean 'qwen2-tiny-instruct'"):
        recipe(remote, model_provider="quickstart", model_name="qwen2-tny")


def test_a_registered_model_makes_a_recipe(api, remote):
    model = RegisteredModel(MODEL, model_provider="pai", session=remote)
    assert model.model_version == "main"
    assert model == next(RegisteredModel.list(session=remote))
    model.training_recipe("QLoRA_LLM", DPO).train({"train": "file-1"}, wait=False)
    assert api.sent()["spec"]["model"] == MODEL
    assert "model_revision" not in api.sent()["spec"]


@pytest.mark.parametrize("file", ["config.json", "adapter_config.json", "quickalign.json", "model.gguf"])
def test_a_folder_of_weights_replaces_the_model(api, own, tmp_path, monkeypatch, file):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / file).write_text("{}")
    monkeypatch.chdir(tmp_path)
    for written in (tmp_path / "weights", "weights"):
        recipe(own, model_uri=written).train({"train": "file-1"}, wait=False)
        assert api.sent()["spec"]["model"] == str(tmp_path / "weights")
    recipe(own).train({"train": "file-1", "model": "org/other"}, wait=False)
    assert api.sent()["spec"]["model"] == "org/other"


def test_definitions_are_the_options(api, remote):
    found = {each.name: each for each in recipe(remote).hyperparameter_definitions}
    assert list(found) == list(Hyperparameters.model_fields)
    assert (found["load_in_4bit"].type, found["load_in_4bit"].default_value) == ("Bool", "true")
    assert found["training_strategy"].choices == ("sft", "dpo")
    assert float(found["learning_rate"].default_value) == 5e-5


@pytest.mark.parametrize(
    ("method", "given", "sent"),
    [
        (None, {}, {}),
        ("LoRA_LLM", {"load_in_4bit": "false"}, {"load_in_4bit": "false"}),
        ("QLoRA_LLM", {}, {}),
        ("QLoRA_LLM", {"load_in_8bit": True}, {"load_in_8bit": True}),
        ("Standard", {}, {"lora_dim": 0}),
        ("full_llm", {"lora_dim": 0}, {"lora_dim": 0}),
    ],
)
def test_methods_and_options_go_together(method, given, sent):
    assert apply_method(method, given) == sent


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("QLoRA_LLM", {"load_in_4bit": False}),
        ("QLoRA_LLM", {"lora_dim": 0}),
        ("Standard", {"lora_dim": 8}),
        ("Standard", {"load_in_4bit": True}),
    ],
)
def test_methods_and_options_that_exclude_each_other_are_refused(method, given):
    with pytest.raises(OptionError):
        apply_method(method, given)


@pytest.mark.parametrize(
    ("name", "gpus"),
    [
        ("cpu", 0),
        ("gpu", 1),
        ("gpu:4", 4),
        ("2xGPU", 2),
        # GPUs of ECS types as Alibaba Cloud lists them
        ("ecs.gn6e-c12g1.24xlarge", 8),
        ("ecs.gn6i-c24g1.12xlarge", 2),
        ("ecs.gn7i-c8g1.2xlarge", 1),
        ("ecs.gn7i-c32g1.32xlarge", 4),
        ("ecs.gn6v-c8g1.16xlarge", 8),
        ("ecs.c6.large", 0),
        ("ecs.g6.xlarge", 0),
    ],
)
def test_instance_types_say_how_many_gpus(name, gpus):
    assert gpus_of(name, None, None) == gpus


def test_an_instance_spec_says_it_too_and_nothing_else():
    assert gpus_of(None, {"GPU": "2"}, 1) == 2
    with pytest.raises(OptionError, match=r"instance_spec\.memory='32Gi' cannot be honoured"):
        gpus_of(None, {"gpu": 1, "memory": "32Gi"}, None)
    with pytest.raises(OptionError, match="exclude each other"):
        gpus_of("cpu", {"gpu": 1}, None)


@pytest.fixture
def over(api, monkeypatch):
    """`over(state, **values)` makes every job that is created end so, with a log."""

    def install(state, **values):
        create = api._create

        def created(request):
            answer = create(request)
            name, found = next(reversed(api.jobs.items()))
            api.jobs[name] = found.model_copy(update={"state": state, **values})
            return answer

        monkeypatch.setattr(api, "_create", created)
        chunk = LogChunk(offset=0, next_offset=34, text="hi!\nwarning: told by the log\n", complete=True)
        api.streams["logs"] = deque([sse(("log", "34", chunk.model_dump_json()), ("end", "", ""))])
        notice = event(2, "notice", "The sample set stands in.")
        warning = event(3, "warning", "told by the log")
        api.streams["events"] = deque(
            [sse(*(("e", str(e.sequence), e.model_dump_json()) for e in (event(1), notice, warning)), ("end", "", ""))]
        )

    return install


def test_waiting_shows_log_and_notices_and_returns_the_weights(api, remote, over, capsys):
    over(JobState.SUCCEEDED, model_path="/srv/jobs/1/output/adapter")
    made = recipe(remote)
    trained = made.train({"train": "file-1"})
    out = capsys.readouterr().out
    assert "hi!\n" in out
    assert "● The sample set stands in." in out
    assert out.count("told by the log") == 1
    assert f"{ENDPOINT}/console/jobs/{trained.id}\n" in out, "a page that a browser can open"
    assert out.rstrip().endswith("succeeded.")
    assert made.latest_job is trained
    assert trained.status == TrainingJobStatus.Succeed
    assert made.model_data() == "/srv/jobs/1/output/adapter"


@pytest.mark.parametrize(
    ("code", "kind"),
    [(2, errors.OptionError), (3, errors.DataError), (6, errors.CapacityError), (None, errors.RunError)],
)
def test_a_failure_is_raised_as_its_kind_with_its_whole_message(api, remote, over, code, kind):
    message = "Row 7, field 'chosen': found the number 3, expected a text. " + "All of it. " * 100
    over(JobState.FAILED, reason=Reason(code="failed", message=message, exit_code=code))
    made = recipe(remote)
    with pytest.raises(kind) as caught:
        made.train({"train": "file-1"}, show_logs=False)
    assert message in str(caught.value)
    assert made.latest_job is not None
    assert made.latest_job.reason_message == message
    with pytest.raises(errors.ConflictError, match="is failed"):
        made.model_data()


def test_a_cancelled_job_ends_the_waiting_without_an_error(api, remote, over, capsys):
    over(JobState.CANCELLED)
    made = recipe(remote)
    assert made.train({"train": "file-1"}).status == TrainingJobStatus.Terminated
    assert "was cancelled" in capsys.readouterr().out
    with pytest.raises(errors.ConflictError, match=r"is cancelled .* options=\{'checkpoint': STEP\} of deploy"):
        made.deploy("first")


def test_waiting_without_logs_looks_again_until_it_is_over(api, remote, monkeypatch):
    made = recipe(remote)
    trained = made.train({"train": "file-1"}, wait=False)
    looks = []

    def sleep(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            api.add(api.jobs[trained.id].model_copy(update={"state": JobState.SUCCEEDED}))

    monkeypatch.setattr(training_job.time, "sleep", sleep)
    assert made.wait(interval=9, show_logs=False) is trained
    assert looks == [9, 9, 9]


def test_a_failed_job_that_was_resumed_is_waited_for_again(api, remote, monkeypatch):
    trained = recipe(remote).train({"train": "file-1"}, wait=False)
    moved = lambda state: api.add(api.jobs[trained.id].model_copy(update={"state": state}))  # noqa: E731
    moved(JobState.FAILED)
    with pytest.raises(errors.RunError):
        trained.wait(show_logs=False)
    moved(JobState.RUNNING)
    looks = []
    monkeypatch.setattr(training_job.time, "sleep", lambda _: looks.append(moved(JobState.SUCCEEDED)))
    trained.wait(show_logs=False)
    assert len(looks) == 1
    assert trained.state is JobState.SUCCEEDED


def test_a_job_that_is_resumed_when_its_log_has_ended_is_shown_on(api, remote, over, monkeypatch, capsys):
    over(JobState.RUNNING)
    trained = recipe(remote).train({"train": "file-1"}, wait=False)

    def sleep(_):
        api.add(api.jobs[trained.id].model_copy(update={"state": JobState.SUCCEEDED}))
        chunk = LogChunk(offset=34, next_offset=40, text="again\n", complete=True)
        api.streams["logs"] = deque([sse(("log", "40", chunk.model_dump_json()), ("end", "", ""))])

    monkeypatch.setattr(training_job.time, "sleep", sleep)
    trained.wait()
    assert capsys.readouterr().out.endswith(f"again\nTraining job {trained.id} succeeded.\n")
    asked = [request.url.params for request in api.requests if request.url.path.endswith("/stream")]
    assert sorted(one["offset"] for one in asked if "offset" in one) == ["0", "34"]
    assert sorted(one["after"] for one in asked if "after" in one) == ["0", "3"]


@pytest.mark.parametrize(
    ("kind", "words"),
    [("train", "its last checkpoint."), ("evaluate", "what it has computed."), ("export", "makes the export again.")],
)
def test_a_failure_says_where_its_kind_of_job_goes_on(kind, words):
    assert str(error_of_job(job(1, JobState.FAILED, kind=kind))).endswith(words)


def test_interrupting_the_waiting_leaves_the_job_alone(api, remote, monkeypatch, capsys):
    trained = recipe(remote).train({"train": "file-1"}, wait=False)
    monkeypatch.setattr(TrainingJob, "_show", lambda self, told: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        trained.wait()
    assert f"TrainingJob.get('{trained.id}').wait()" in capsys.readouterr().out
    assert api.jobs[trained.id].state is JobState.QUEUED


def test_a_job_is_stopped_paused_gone_on_with_and_deleted(api, remote):
    made = TrainingJob(api.add(job(1)), remote)
    made.pause()
    assert made.state is JobState.PAUSING
    made.resume()
    assert made.state is JobState.RESUMING
    made.stop()
    assert made.state is JobState.CANCELLING
    made.delete()
    with pytest.raises(errors.NotFoundError):
        made.refresh()


def test_logs_events_and_metrics_are_read_to_their_end(api, remote):
    made = TrainingJob(api.add(job(1)), remote)
    api.log = "a long log of many lines\n" * 3
    api.events = [event(number) for number in range(1, 8)]
    api.metrics["steps"] = [{"step": number, "loss": 1 / number} for number in range(1, 9)]
    assert made.logs() == api.log
    assert list(made.events()) == api.events
    assert made.metrics() == api.metrics["steps"]
    assert made.metrics("evaluations") == []
    api.artifacts["report.json"] = json.dumps({"verdict": "better"}).encode()
    assert made.report() == {"verdict": "better"}


def test_jobs_are_listed_by_the_cloud_s_states_and_pages(api, remote):
    for number in range(1, 6):
        api.add(job(number, JobState.RUNNING if number % 2 else JobState.SUCCEEDED))
    assert [each.id[-1] for each in TrainingJob.list(session=remote, page_size=2, page_number=2)] == ["3", "2"]
    assert [each.id[-1] for each in TrainingJob.list(TrainingJobStatus.Succeed, session=remote)] == ["4", "2"]
    with pytest.raises(OptionError, match="state 'Done'"):
        TrainingJob.list("Done", session=remote)
    assert TrainingJob.get(job(2).id, remote) == TrainingJob(job(2), remote)


def test_every_state_has_a_word_of_the_cloud_s():
    words = {training_job._STATUS[state] for state in JobState}
    assert set(training_job._STATUS) == set(JobState)
    assert words <= {value for value in vars(TrainingJobStatus).values() if isinstance(value, str)}
    finals = {training_job._STATUS[state] for state in JobState if state.is_final}
    assert finals <= set(TrainingJobStatus.completed_status())


def test_a_recipe_of_any_type_is_a_job_of_that_kind(api, remote):
    options = {"rows": "5", "fail_below": {"accuracy": 0.6}}
    evaluation = ModelRecipe("job-1", recipe_type="evaluation", hyperparameters=options, session=remote)
    evaluation.run({"data": "file-1", "against": "job-2"}, wait=False, job_name="judged")
    sent = api.sent()
    assert (sent["kind"], sent["name"]) == ("evaluate", "judged")
    wanted = {"model": "job-1", "data": "file-1", "against": "job-2", "rows": 5, "fail_below": {"accuracy": 0.6}}
    assert {name: sent["spec"][name] for name in wanted} == wanted
    compression = ModelRecipe(
        "job-1", recipe_type=ModelRecipeType.COMPRESSION, hyperparameters={"compression": "int8"}, session=remote
    )
    compression.run(outputs={"model": "s3://b/small"}, wait=False)
    assert (api.sent()["kind"], api.sent()["output"]) == ("export", "s3://b/small")
    ModelRecipe(MODEL, recipe_type="fine_tuning", hyperparameters=DPO, session=remote).run(
        {"train": "file-1"}, wait=False
    )
    assert "kind" not in api.sent()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"recipe_type": "tuning"}, "recipe_type='tuning'"),
        ({"recipe_type": "evaluation", "model_provider": "pai"}, "type evaluation has no argument 'model_provider'"),
        ({"recipe_type": "evaluation", "source_dir": "x"}, "source_dir cannot be honoured"),
        ({"recipe_type": "evaluation", "hyperparameters": {"row": 5}}, r"no option 'row'\. Did you mean 'rows'"),
        ({"recipe_type": "evaluation", "labels": {"run": 3}}, r"labels\.run=3 is not possible"),
    ],
)
def test_what_a_recipe_cannot_be_is_refused(remote, values, words):
    with pytest.raises(errors.OptionError, match=words):
        ModelRecipe("job-1", session=remote, **values).run({"data": "file-1"}, wait=False)
