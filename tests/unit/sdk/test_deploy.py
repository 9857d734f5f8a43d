"""Deploying: what is sent is what was asked for, what cannot be honoured is refused by name, and waiting tells why."""

import pytest

from quickalign.core.errors import ConflictError, ModelError, NotFoundError, OptionError
from quickalign.core.wire.jobs import JobState
from quickalign.core.wire.services import Autoscaling, RevisionSpec, ServiceState, ServiceUpdate
from quickalign.predictor import Predictor, ServiceStatus
from quickalign.sdk import service_wait
from quickalign.sdk.deploy import REFUSED, AutoscalingConfig
from quickalign.sdk.recipe import ModelTrainingRecipe
from quickalign.sdk.registered_model import RegisteredModel
from quickalign.sdk.service_request import OPTIONS, name_from, resolve_source
from quickalign.sdk.training_job import TrainingJob
from tests.support.fake_api import ENDPOINT, job
from tests.support.fake_services import BROKEN, REMOVAL, service

MODEL = "qwen2-tiny-instruct"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(service_wait, "_LOOK_SECONDS", 0.0)


@pytest.fixture
def trained(api, remote):
    """A recipe whose job has succeeded."""
    recipe = ModelTrainingRecipe(MODEL, hyperparameters={"training_strategy": "dpo"}, session=remote)
    made = recipe.train({"train": "file-1"}, wait=False, show_logs=False)
    api.add(job(1, JobState.SUCCEEDED, model_path="/srv/adapter").model_copy(update={"id": made.id}))
    return recipe


def test_a_recipe_s_job_becomes_a_service_and_the_way_there_is_told(api, trained, capsys):
    predictor = trained.deploy("qwen2_example_abc123")
    assert api.services.asked == [
        {
            "name": "qwen2_example_abc123",
            "spec": {"source": {"job": trained.latest_job.id}},
            "limits": {},
            "replicas": 1,
            "metadata": {},
        }
    ]
    assert isinstance(predictor, Predictor)
    assert predictor.service_name == "qwen2_example_abc123"
    assert predictor.service_status == ServiceStatus.Running
    assert predictor.endpoint == f"{ENDPOINT}/services/qwen2_example_abc123"
    assert predictor.console_uri == predictor.endpoint + "/"
    told = capsys.readouterr().out
    for part in (predictor.console_uri, "starting: The weights are read.", "running"):
        assert part in told


def test_autoscaling_is_an_argument_with_a_type(api, trained):
    trained.deploy("a", autoscaling={"min": 0, "max": 2}, wait=False)
    trained.latest_job.deploy("b", autoscaling={"max": 3}, wait=False)
    RegisteredModel(MODEL, session=trained.session).deploy("c", autoscaling={"max": 4, "quiet_seconds": 9}, wait=False)
    assert [each["spec"]["autoscaling"] for each in api.services.asked] == [
        {"min": 0, "max": 2},
        {"max": 3},
        {"max": 4, "quiet_seconds": 9},
    ]
    assert AutoscalingConfig.__annotations__.keys() == Autoscaling.model_fields.keys()
    with pytest.raises(OptionError, match=r"options\['autoscaling'\]"):
        trained.deploy("d", options={"autoscaling": {"max": 2}}, autoscaling={"max": 3})
    with pytest.raises(OptionError, match="min must not be above max"):
        trained.deploy("d", autoscaling={"min": 3, "max": 1})
    assert len(api.services.asked) == 3


def test_every_argument_reaches_its_place(api, trained):
    options = {
        "checkpoint": 7,
        "engine": "transformers",
        "precision": "fp32",
        "weights": "int8",
        "system_prompt": "",
        "context": 64,
        "max_concurrency": 3,
        "max_waiting": 0,
        "share_base": False,
        "autoscaling": {"min": 0, "max": 2, "ongoing_requests": 4, "quiet_seconds": 60},
        "requests_per_minute": 60,
        "concurrency": 2,
        "idle_stop_seconds": 90,
    }
    assert set(options) == set(OPTIONS)
    trained.deploy("s", "gpu:2", 3, options=options, wait=False, labels={"team": "a"})
    sent = api.services.asked[0]
    assert sent["spec"] == {
        "source": {"job": trained.latest_job.id, "checkpoint": 7},
        **{name: options[name] for name in RevisionSpec.model_fields if name != "source"},
    }
    assert sent["limits"] == {"requests_per_minute": 60, "concurrency": 2}
    assert (sent["replicas"], sent["gpus"], sent["idle_stop_seconds"]) == (3, 2, 90)
    assert sent["metadata"] == {"team": "a"}
    trained.deploy("t", resource_config={"gpu": 1}, wait=False)
    assert api.services.asked[1]["gpus"] == 1


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_honoured_is_refused_with_the_reason(api, trained, name):
    with pytest.raises(OptionError, match=f"argument {name} cannot be honoured: {REFUSED[name][:30]}"):
        trained.deploy("s", **{name: "x"})
    assert api.services.asked == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"service_name": "Bad Name"}, "'Bad Name' cannot be a service's name"),
        ({"options": {"engin": "vllm"}}, "no option 'engin'. Did you mean 'engine'"),
        ({"options": {"metadata.rpc.keepalive": 5}}, "no option 'metadata.rpc.keepalive'"),
        ({"options": {"engine": "magic"}}, "engine='magic' is not possible"),
        ({"options": {"context": 1}}, "context=1 is not possible"),
        ({"options": {"concurrency": 0}}, "concurrency=0 is not possible"),
        ({"options": {"autoscaling": {"min": 3, "max": 2}}}, "not possible: min is 3 and max is 2"),
        ({"autoscaling": {"min": 3}}, r"autoscaling\.max is missing. The most replicas"),
        ({"autoscaling": {"max": 3, "mim": 1}}, r"no option 'autoscaling\.mim'. Did you mean 'min'"),
        ({"labels": {"run": 3}}, r"labels\.run=3 is not possible"),
        ({"instance_count": 0}, "replicas=0 is not possible"),
        ({"resource_config": {"cpu": 2}}, "resource_config.cpu=2 cannot be honoured"),
        ({"instance_type": "cpu", "resource_config": {"gpu": 1}}, "resource_config exclude each other"),
        ({"made_up": 1}, "A deployment has no argument 'made_up'"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_before_anything_is_sent(api, trained, arguments, sentence):
    with pytest.raises(OptionError, match=sentence):
        trained.deploy(**{"service_name": "s"} | arguments)
    assert api.services.asked == []


def test_a_job_that_has_not_succeeded_has_nothing_to_deploy_but_its_checkpoints(api, remote):
    recipe = ModelTrainingRecipe(MODEL, session=remote)
    with pytest.raises(OptionError, match="made no job yet"):
        recipe.deploy("s")
    api.add(job(1, JobState.CANCELLED))
    cancelled = TrainingJob.get(job(1).id, remote)
    with pytest.raises(ConflictError, match="is cancelled and has no trained model"):
        cancelled.deploy("s")
    cancelled.deploy("s", options={"checkpoint": 4}, wait=False)
    assert api.services.asked[0]["spec"]["source"] == {"job": cancelled.id, "checkpoint": 4}


def test_a_card_becomes_a_service_with_a_name_made_of_its_own(api, remote):
    predictor = RegisteredModel(MODEL, "v2", session=remote).deploy(wait=False)
    assert predictor.service_name.startswith(f"{MODEL}-")
    assert api.services.asked[0]["spec"]["source"] == {"model": MODEL, "model_revision": "v2"}
    assert name_from("Qwen/Qwen2 7B!") == "qwen-qwen2-7b"
    assert name_from("***") == "service"


def test_a_service_that_fails_raises_its_kind_and_its_sentence(api, trained):
    api.services.fails = True
    with pytest.raises(ModelError, match=r"Service s failed: The greedy answers differ\.") as caught:
        trained.deploy("s")
    assert "quickalign services logs s" in caught.value.remedy


def test_starting_stopping_scaling_and_what_is_freed(api, remote):
    api.services.add(service("first"))
    predictor = Predictor("first", session=remote)
    predictor.stop_service()
    assert predictor.service_status == ServiceStatus.Stopped
    with pytest.raises(ConflictError, match="is stopped"):
        predictor.wait_for_ready()
    predictor.start_service()
    assert predictor.service_status == ServiceStatus.Running
    predictor.scale(3)
    assert [replica.state for replica in predictor.record.replicas] == ["ready"] * 3
    assert predictor.delete_service() == REMOVAL
    assert predictor.service_status == ServiceStatus.Deleted
    with pytest.raises(NotFoundError):
        Predictor("first", session=remote)


def test_nothing_is_waited_for_where_that_is_asked(api, remote):
    api.services.add(service("first"))
    predictor = Predictor("first", session=remote)
    predictor.stop_service(wait=False)
    assert predictor.state is ServiceState.STOPPING
    predictor.refresh()
    predictor.start_service(wait=False)
    assert predictor.state is ServiceState.STARTING
    assert predictor.delete_service(wait=False) is None


def test_an_update_keeps_what_it_does_not_name_and_waits_for_the_new_revision(api, remote):
    api.services.add(service("first"))
    predictor = Predictor("first", session=remote)
    predictor.update(weights="int8", source={"job": "job-2"})
    before = predictor.record.revisions[-1].spec.model_dump()
    assert api.services.asked == [{"spec": {**before, "source": {"job": "job-2"}, "weights": "int8"}}]
    assert predictor.record.revision == 2
    predictor.update(system_prompt="Be kind.")
    sent = api.services.asked[-1]["spec"]
    assert (sent["source"]["job"], sent["weights"], sent["system_prompt"]) == ("job-2", "int8", "Be kind.")
    predictor.rollback()
    assert predictor.record.revision == 4
    with pytest.raises(OptionError, match=r"no field 'weight' .* Did you mean 'weights'"):
        predictor.update(weight="int8")
    for name, way in (("replicas", r"scale\(\)"), ("checkpoint", "source"), ("metadata", "labels")):
        with pytest.raises(OptionError, match=f"no field '{name}' .* Did you mean '{way}'"):
            predictor.update(**{name: 3})
    with pytest.raises(OptionError, match="changes nothing"):
        predictor.update()


def test_an_update_of_autoscaling_keeps_what_is_left_out_of_it(api, remote):
    api.services.add(service("first"))
    predictor = Predictor("first", session=remote)
    predictor.update(autoscaling={"min": 0, "max": 4, "ongoing_requests": 3})
    predictor.update(autoscaling={"max": 8})
    found = predictor.record.revisions[0].spec.autoscaling
    assert (found.min, found.max, found.ongoing_requests) == (0, 8, 3)
    predictor.update(autoscaling=None)
    assert predictor.record.revisions[0].spec.autoscaling is None


def test_an_update_changes_limits_and_labels_without_a_revision(api, remote):
    api.services.add(service("first"))
    predictor = Predictor("first", session=remote)
    predictor.update(concurrency=2, idle_stop_seconds=None, labels={"team": "a"})
    limits = {"requests_per_minute": None, "concurrency": 2}
    assert api.services.asked == [{"limits": limits, "idle_stop_seconds": None, "metadata": {"team": "a"}}]
    assert predictor.record.revision == 1


def test_an_update_that_fails_its_checks_says_so_and_the_old_revision_stays(api, remote):
    api.services.add(service("first"))
    api.services.fails = True
    predictor = Predictor("first", session=remote)
    with pytest.raises(ModelError, match=f"revision 2. failed: {BROKEN.message}") as caught:
        predictor.update(weights="int8")
    assert caught.value.remedy == "`quickalign services logs first` shows its log."
    assert predictor.refresh().record.revision == 1
    assert predictor.service_status == ServiceStatus.Running


def test_tokens_metrics_log_and_events(api, remote):
    api.services.add(service("first", metadata={"team": "a"}))
    api.log = "one\ntwo\nthree\nfour\n"
    predictor = Predictor("first", session=remote)
    assert predictor.access_token == "qs-1"
    assert predictor.rotate_token() == predictor.access_token == "qs-2"
    api.services.token = "qs-9"
    assert predictor.access_token == "qs-2", "as last seen"
    assert predictor.refresh().access_token == "qs-9"
    assert predictor.metrics().tokens_out == 345
    assert predictor.logs() == api.log
    assert predictor.labels == {"team": "a"}
    assert predictor.describe_service()["path"] == "/services/first/v1"
    made = remote.services.create_token("first", "phone")
    assert [token.name for token in remote.services.tokens("first")] == ["phone"]
    remote.services.revoke_token("first", made.id)
    assert remote.services.tokens("first") == ()


def test_services_are_listed_page_by_page(api, remote):
    api.services.add(*(service(f"s{n}") for n in range(5)), service("gone", ServiceState.DELETED))
    names = [each.name for each in remote.services.all(page_size=2)]
    assert names == ["s4", "s3", "s2", "s1", "s0"]
    assert [each.name for each in remote.services.all(states=[ServiceState.DELETED])] == ["gone"]


def test_a_create_that_lost_its_answer_makes_one_service(api, trained, monkeypatch):
    import httpx

    def lost(request):
        api.services._create(request)
        raise httpx.ReadError("lost")

    api.accidents.extend([lambda request: api._with_job(lambda _, found: found)(request, trained.latest_job.id), lost])
    trained.deploy("s", wait=False)
    assert len(api.services.found) == 1


def test_a_change_that_lost_its_answer_is_not_made_twice(api, remote):
    import httpx

    api.services.add(service("first"))
    api.accidents.append(httpx.ReadError("lost"))
    with pytest.raises(Exception, match="may or may not have been done"):
        remote.services.update("first", ServiceUpdate(replicas=2))
    assert len(api.requests) == 1


def test_where_a_predictor_cannot_be(api, remote):
    with pytest.raises(OptionError, match="endpoint_type='INTRANET' cannot be honoured"):
        Predictor("first", "INTRANET", session=remote)


def test_what_a_source_names(remote, own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "a" / "adapter").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "adapter" / "adapter_config.json").touch()
    assert resolve_source(own, "job-1") == {"job": "job-1"}
    assert resolve_source(own, "ft:m:q::1") == {"job": "ft:m:q::1"}
    assert resolve_source(own, "runs/a") == {"model": str(tmp_path / "runs" / "a")}
    assert resolve_source(own, MODEL, "runs/a/adapter") == {
        "model": MODEL,
        "adapter": str(tmp_path / "runs" / "a" / "adapter"),
    }
    assert resolve_source(own, "Qwen/Qwen2-7B") == {"model": "Qwen/Qwen2-7B"}
    with pytest.raises(OptionError, match="is a folder of this machine"):
        resolve_source(remote, "runs/a")
