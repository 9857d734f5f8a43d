import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quickalign.api.pai.routes import ROUTES
from quickalign.core.wire.jobs import JobState
from tests.support.platforms import drive_to
from tests.unit.api.conftest import CONTENT

JOBS = "/api/v1/trainingjobs"
OUTPUT = "oss://quickalign/pai/training_job/x_1/model/"


@pytest.fixture
def model(pai):
    found = pai("ListModels", "GET", "/api/v1/models", ModelName='"qwen2-tiny-instruct"', Provider="pai")
    return found.json()["Models"][0]


@pytest.fixture
def body(model, oss):
    """What the stock client sends for a recipe, with the defaults of every option."""
    assert oss("PUT", "/quickalign/pai/in/rows.jsonl", content=CONTENT).status_code == 200
    spec = model["LatestVersion"]["TrainingSpec"]["LoRA_LLM"]
    defaults = {one["Name"]: one["DefaultValue"] for one in spec["AlgorithmSpec"]["HyperParameters"]}
    asked = {**defaults, "training_strategy": "dpo", "load_in_4bit": "False", "max_steps": "6", "save_steps": "2"}
    return {
        "AlgorithmSpec": spec["AlgorithmSpec"],
        "ComputeResource": {"EcsCount": 1, "EcsSpec": "cpu"},
        "HyperParameters": [{"Name": name, "Value": value} for name, value in asked.items() if value],
        "InputChannels": [
            {"Name": "model", "InputUri": model["LatestVersion"]["Uri"]},
            {"Name": "train", "InputUri": "oss://quickalign.oss-local/pai/in/rows.jsonl"},
        ],
        "OutputChannels": [
            {"Name": "model", "OutputUri": OUTPUT},
            {"Name": "checkpoints", "OutputUri": "oss://quickalign/pai/x/checkpoints/"},
        ],
        "TrainingJobName": "small",
        "Labels": [{"Key": "team", "Value": "a"}],
        "UserVpc": {},
        "Scheduler": {"MaxRunningTimeInSeconds": None},
        "WorkspaceId": "1",
    }


def made(pai, body):
    answer = pai("CreateTrainingJob", "POST", JOBS, body=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["TrainingJobId"]


def refused(pai, body):
    answer = pai("CreateTrainingJob", "POST", JOBS, body=body)
    assert answer.status_code >= 400, answer.text
    return answer.json()["Code"], answer.json()["Message"]


def test_a_job_has_the_options_that_were_meant(pai, platform, body):
    job = platform.jobs.get(made(pai, body))
    wanted = {"training_strategy": "dpo", "load_in_4bit": False, "max_steps": 6, "save_steps": 2}
    assert job.spec.hyperparameters == wanted
    assert job.spec.model == "qwen2-tiny-instruct"
    assert job.name == "small"
    assert job.metadata["team"] == "a"


def test_eight_bits_do_not_contradict_the_default_of_four(pai, platform, body):
    given = {one["Name"]: one["Value"] for one in body["HyperParameters"]}
    given |= {"load_in_4bit": "true", "load_in_8bit": "True"}
    body["HyperParameters"] = [{"Name": name, "Value": value} for name, value in given.items()]
    job = platform.jobs.get(made(pai, body))
    assert job.spec.hyperparameters["load_in_8bit"] is True
    assert "load_in_4bit" not in job.spec.hyperparameters


def test_a_job_s_life_as_the_client_sees_it(pai, platform, body):
    job = made(pai, body)
    assert pai("GetTrainingJob", "GET", f"{JOBS}/{job}").json()["Status"] == "Initializing"
    drive_to(platform, job, JobState.SUCCEEDED)
    shown = pai("GetTrainingJob", "GET", f"{JOBS}/{job}").json()
    assert shown["Status"] == "Succeed"
    assert shown["OutputChannels"] == [{"Name": "model", "OutputUri": OUTPUT}]
    assert shown["TrainingJobUrl"].startswith("http://127.0.0.1/")
    listed = pai("ListTrainingJobs", "GET", JOBS, Status="Succeed", PageNumber="1", PageSize="20").json()
    assert [one["TrainingJobId"] for one in listed["TrainingJobs"]] == [job]
    assert pai("ListTrainingJobs", "GET", JOBS, Status="Failed").json()["TrainingJobs"] == []


def test_pages_of_the_log_are_its_lines_and_end(pai, platform, body):
    job = made(pai, body)
    drive_to(platform, job, JobState.SUCCEEDED)
    seen, page = [], 1
    while logs := pai("ListTrainingJobLogs", "GET", f"{JOBS}/{job}/logs", PageNumber=str(page), PageSize="3").json()[
        "Logs"
    ]:
        seen += logs
        page += 1
    assert seen == platform.jobs.logs(job).text.splitlines()


def test_stopping_and_deleting(pai, platform, body):
    job = made(pai, body)
    assert pai("StopTrainingJob", "PUT", f"{JOBS}/{job}/stop").status_code == 200
    assert pai("GetTrainingJob", "GET", f"{JOBS}/{job}").json()["Status"] == "Terminated"
    assert pai("DeleteTrainingJob", "DELETE", f"{JOBS}/{job}").status_code == 200
    assert pai("GetTrainingJob", "GET", f"{JOBS}/{job}").json()["Code"] == "TrainingJobNotFound"


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"Environments": {"A": "b"}}, "UnsupportedParameter", "Environments"),
        ({"PythonRequirements": ["x"]}, "UnsupportedParameter", "PythonRequirements"),
        ({"UserVpc": {"VpcId": "v"}}, "UnsupportedParameter", "UserVpc"),
        ({"Scheduler": {"MaxRunningTimeInSeconds": 5}}, "UnsupportedParameter", "MaxRunningTimeInSeconds"),
        ({"ComputeResource": {"EcsCount": 2, "EcsSpec": "cpu"}}, "UnsupportedParameter", "one machine"),
        ({"ComputeResource": {"EcsSpec": "ecs.gn6i"}}, "InvalidParameter", "this machine has cpu"),
        ({"AlgorithmSpec": {"Image": "pytorch"}}, "InvalidAlgorithm", "own program"),
        ({"AlgorithmSpec": None}, "InvalidAlgorithm", "missing"),
        ({"InputChannels": []}, "InvalidParameter", "model is missing"),
        ({"OutputChannels": [{"Name": "model", "OutputUri": "oss://mine/x/"}]}, "InvalidParameter", "quickalign"),
        ({"HyperParameters": [{"Name": "dpo_bta", "Value": "1"}]}, "InvalidParameter", "dpo_beta"),
        ({"TrainingJobName": "a" * 101}, "InvalidParameter", "TrainingJobName="),
        ({"Labels": [{"Key": str(n), "Value": ""} for n in range(17)]}, "InvalidParameter", "Labels="),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(pai, platform, body, change, code, said):
    found = refused(pai, body | change)
    assert found[0] == code
    assert said in found[1]
    assert platform.jobs.list().items == ()


def test_a_missing_object_is_named(pai, body):
    body["InputChannels"][1]["InputUri"] = "oss://quickalign/pai/in/nothing.json"
    assert refused(pai, body)[0] == "ObjectNotFound"


def test_models_with_versions(pai):
    create = {"ModelName": "mine", "Labels": [{"Key": "a", "Value": "b"}]}
    model = pai("CreateModel", "POST", "/api/v1/models", body=create).json()["ModelId"]
    path = f"/api/v1/models/{model}/versions"
    for name in ("1.0.0", None):
        version = {"Uri": OUTPUT, **({"VersionName": name} if name else {})}
        assert pai("CreateModelVersion", "POST", path, body=version).status_code == 200
    again = pai("CreateModelVersion", "POST", path, body={"Uri": OUTPUT, "VersionName": "1.0.0"})
    assert (again.status_code, again.json()["Code"]) == (409, "OperationConflict")
    assert pai("GetModel", "GET", f"/api/v1/models/{model}").json()["LatestVersion"]["VersionName"] == "0.2.0"
    assert [one["VersionName"] for one in pai("ListModelVersions", "GET", path).json()["Versions"]] == [
        "0.2.0",
        "1.0.0",
    ]
    pai("UpdateModelVersion", "PUT", f"{path}/1.0.0", body={"VersionDescription": "good"})
    assert pai("GetModelVersion", "GET", f"{path}/1.0.0").json()["VersionDescription"] == "good"
    pai("DeleteModelVersion", "DELETE", f"{path}/1.0.0")
    assert pai("ListModelVersions", "GET", path).json()["TotalCount"] == 1
    pai("DeleteModel", "DELETE", f"/api/v1/models/{model}")
    assert pai("ListModels", "GET", "/api/v1/models").json()["TotalCount"] == 0


def test_the_workspace_its_algorithms_and_machines(pai):
    configs = pai("ListConfigs", "GET", "/api/v1/workspaces/1/configs", ConfigKeys="modelExportPath").json()
    assert configs["Configs"][0]["ConfigValue"] == "oss://quickalign/"
    assert pai("ListAlgorithms", "GET", "/api/v1/algorithms", AlgorithmProvider="pai").json()["TotalCount"] == 3
    version = pai("GetAlgorithmVersion", "GET", "/api/v1/algorithms/QLoRA_LLM/versions/v1.0").json()
    assert version["AlgorithmSpec"]["Image"].endswith("QLoRA_LLM")
    specs = pai("ListEcsSpecs", "GET", "/api/v1/ecsspecs", PageSize="10").json()["EcsSpecs"]
    assert [one["InstanceType"] for one in specs] == ["cpu"]


def test_a_service_that_asks_for_the_cloud_is_refused(pai):
    config = {"name": "a", "processor": "quickalign", "model_path": "oss://quickalign-models/qwen2-tiny-instruct/"}
    for change, said in (
        ({"containers": [{"image": "x"}]}, "containers"),
        ({"metadata": {"resource": "eas-r-1"}}, "metadata.resource"),
        ({"processor": "tensorflow"}, "processor"),
        ({"model_path": "oss://elsewhere/x/"}, "model_path"),
        ({"name": None}, "name"),
    ):
        answer = pai("CreateService", "POST", "/api/v2/services", body=config | change)
        assert answer.status_code == 400, answer.text
        assert said in answer.json()["Message"]


def test_a_service_s_life_as_the_client_sees_it(pai, platform):
    config = {
        "name": "mine_1",
        "processor": "quickalign",
        "metadata": {"instance": 1},
        "model_path": "oss://quickalign-models/qwen2-tiny-instruct/",
    }
    created = pai("CreateService", "POST", "/api/v2/services", body=config)
    assert created.status_code == 200, created.text
    path = "/api/v2/services/local/mine_1"
    shown = pai("DescribeService", "GET", path).json()
    assert shown["Status"] == "Waiting"
    assert json.loads(shown["ServiceConfig"])["processor"] == "quickalign"
    assert shown["InternetEndpoint"] == "http://127.0.0.1/services/mine_1"
    assert shown["AccessToken"] == platform.services.tokens.own("mine_1").token
    listed = pai("ListServices", "GET", "/api/v2/services").json()["Services"]
    assert [one["ServiceName"] for one in listed] == ["mine_1"]
    assert "AccessToken" not in listed[0]
    assert pai("UpdateServiceVersion", "PUT", f"{path}/version", body={"Version": 7}).status_code == 400
    assert pai("StopService", "PUT", f"{path}/stop").status_code == 200
    assert pai("DescribeService", "GET", path).json()["Status"] in ("Stopping", "Stopped")
    deleted = pai("DeleteService", "DELETE", path)
    assert deleted.status_code == 200
    assert "mine_1" in deleted.json()["Message"]
    assert pai("DescribeService", "GET", "/api/v2/services/mars/mine_1").json()["Code"] == "RegionNotFound"


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    [
        "ModelName",
        "Uri",
        "Labels",
        "HyperParameters",
        "InputChannels",
        "OutputChannels",
        "ComputeResource",
        "AlgorithmSpec",
        "TrainingJobName",
        "name",
        "metadata",
        "model_path",
        "cloud",
        "labels",
        "Version",
        "VersionName",
        "Scheduler",
    ]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    route=st.sampled_from(ROUTES),
    fuzz=st.dictionaries(FIELDS, VALUES, max_size=4),
    part=st.text("ab-1./ä%", min_size=1),
)
def test_no_body_makes_the_server_fail(pai, route, fuzz, part):
    from urllib.parse import quote

    path = route.address
    for name in ("id", "version", "name", "region"):
        path = path.replace(f"{{{name}}}", quote(part, safe=""))
    answer = pai(route.action, route.method, path, body=fuzz if route.method in ("POST", "PUT") else None)
    assert answer.status_code < 500, answer.text
    assert "RequestId" in answer.json()
