import pytest

from quickalign.core.wire.jobs import JobState
from tests.support.platforms import drive_to
from tests.unit.api.conftest import BOTH, OPTIONS

pytestmark = BOTH


def test_make_and_show(client, make_job):
    job = make_job(name="first", metadata={"team": "a"}, priority=3)
    assert job["state"] == "queued"
    assert job["inputs"]["train"]
    shown = client.get(f"/api/v1/jobs/{job['id']}").json()
    assert (shown["name"], shown["metadata"], shown["priority"]) == ("first", {"team": "a"}, 3)


def test_the_same_key_makes_one_job(client, file_id):
    body = {"spec": {"model": "qwen2-tiny-instruct", "train": file_id, "hyperparameters": OPTIONS}}
    key = {"Idempotency-Key": "k1"}
    first = client.post("/api/v1/jobs", json=body, headers=key)
    assert client.post("/api/v1/jobs", json=body, headers=key).json()["id"] == first.json()["id"]
    other = client.post("/api/v1/jobs", json={**body, "priority": 1}, headers=key)
    assert other.status_code == 409
    assert other.json()["field"] == "Idempotency-Key"


def test_filters_and_paging(client, make_job):
    ids = [make_job(name=f"job {number}")["id"] for number in range(5)]
    client.post(f"/api/v1/jobs/{ids[0]}/cancel")
    client.post(f"/api/v1/jobs/{ids[1]}/pause")
    both = client.get("/api/v1/jobs", params={"state": ["cancelled", "paused"]}).json()["items"]
    assert [job["id"] for job in both] == [ids[1], ids[0]]
    assert [job["id"] for job in client.get("/api/v1/jobs", params={"text": "job 3"}).json()["items"]] == [ids[3]]
    assert client.get("/api/v1/jobs", params={"model": "another"}).json()["items"] == []
    seen, after = [], None
    while True:
        page = client.get("/api/v1/jobs", params={"limit": 2} | ({"after": after} if after else {})).json()
        seen += [job["id"] for job in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == ids[::-1]


def test_labels_are_a_filter(client, make_job):
    ids = [make_job(metadata={"team": team, "价": 'a=b "c"'})["id"] for team in ("a", "b")]
    for asked, wanted in ((["team=a"], ids[:1]), (['价=a=b "c"'], ids[::-1]), (["team=a", "价=x"], [])):
        page = client.get("/api/v1/jobs", params={"label": asked})
        assert [job["id"] for job in page.json()["items"]] == wanted, page.text
    answer = client.get("/api/v1/jobs", params={"label": "team"})
    assert (answer.status_code, answer.json()["field"]) == (422, "label")


def test_moves(client, make_job):
    job = make_job()
    address = f"/api/v1/jobs/{job['id']}"
    assert client.post(f"{address}/pause").json()["state"] == "paused"
    assert client.post(f"{address}/resume").json()["state"] in ("resuming", "queued")
    assert client.delete(address).status_code == 409
    assert client.post(f"{address}/cancel").json()["state"] == "cancelled"
    refused = client.post(f"{address}/pause")
    assert refused.status_code == 409
    assert "cancelled" in refused.json()["detail"]
    assert client.delete(address).status_code == 204
    assert client.get(address).status_code == 404


def test_clone_merges(client, make_job):
    job = make_job(name="first")
    changes = {"name": "second", "spec": {"hyperparameters": {"dpo_beta": 0.3}}}
    clone = client.post(f"/api/v1/jobs/{job['id']}/clone", json=changes).json()
    assert clone["name"] == "second"
    assert clone["cloned_from"] == job["id"]
    assert clone["spec"]["hyperparameters"] == OPTIONS | {"dpo_beta": 0.3}
    assert clone["inputs"] == job["inputs"]
    assert client.post(f"/api/v1/jobs/{job['id']}/clone").status_code == 201
    bad = client.post(f"/api/v1/jobs/{job['id']}/clone", json={"colour": "red"})
    assert bad.status_code == 422
    assert bad.json()["field"] == "colour"


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"spec": {"model": "qwen2-tiny-instruct"}}, "spec.train", "required"),
        ({"spec": {"model": "no-such-model", "train": "FILE"}}, "spec.model", "no-such-model"),
        ({"spec": {"model": "qwen2-tiny-instruct", "train": "file-none"}}, "spec.train", "file-none"),
        ({"spec": {"model": "qwen2-tiny-instruct", "train": "FILE", "hyperparameters": {"beta": 1}}}, None, "beta"),
        ({"spec": {"model": "qwen2-tiny-instruct", "train": "FILE"}, "gpus": 9}, None, "GPU"),
        ({"spec": {"model": "qwen2-tiny-instruct", "train": "FILE"}, "colour": 1}, "colour", "not permitted"),
        ({"spec": {"model": "qwen2-tiny-instruct", "train": "ftp://a/b"}}, "spec.train", "ftp"),
    ],
)
def test_what_cannot_be_is_refused_with_field_and_remedy(client, file_id, body, field, words):
    if body["spec"].get("train") == "FILE":
        body = body | {"spec": body["spec"] | {"train": file_id}}
    answer = client.post("/api/v1/jobs", json=body)
    problem = answer.json()
    assert answer.status_code in (403, 404, 422), problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in problem["detail"]
    assert problem["remedy"]
    assert field is None or problem["field"] == field


def test_what_a_finished_job_left(client, finished):
    address = f"/api/v1/jobs/{finished}"
    events = client.get(f"{address}/events", params={"limit": 2}).json()
    assert [event["sequence"] for event in events["items"]] == [1, 2]
    more = client.get(f"{address}/events", params={"after": events["next"]}).json()["items"]
    assert more[0]["sequence"] == 3
    assert more[-1]["data"]["to"] == "succeeded"
    log = client.get(f"{address}/logs").json()
    assert "step 6/6" in log["text"]
    assert log["complete"]
    rest = client.get(f"{address}/logs", params={"offset": 10, "limit": 20}).json()
    assert rest["text"] == log["text"][10:30]
    metrics = client.get(f"{address}/metrics", params={"offset": 4}).json()
    assert [line["step"] for line in metrics["items"]] == [5, 6]
    assert metrics["complete"]
    checkpoints = client.get(f"{address}/checkpoints").json()["items"]
    assert [one["step"] for one in checkpoints] == [2, 4, 6]


def test_artifacts_are_contained(client, finished, platform):
    address = f"/api/v1/jobs/{finished}/artifacts"
    found = client.get(f"{address}/result.json")
    assert found.json()["steps"] == 6
    assert "sandbox" in found.headers["content-security-policy"]
    assert client.get(f"{address}/adapter/adapter_model.safetensors").status_code == 200
    output = platform.home.output(finished)
    (output / "link").symlink_to("/etc/passwd")
    for path in (
        "../spec.json",
        "..%2Fspec.json",
        "%2Fetc%2Fpasswd",
        "link",
        "adapter",
        "a%5C..%5Cb",
        ".lock",
        "x" * 500,
    ):
        assert client.get(f"{address}/{path}").status_code in (404, 400), path
    assert client.get(f"{address}/a%00b").status_code == 400


def test_states_of_a_run(client, make_job, platform):
    job = make_job(spec={"sample_prompts": ["fail 3"]})
    drive_to(platform, job["id"], JobState.FAILED)
    shown = client.get(f"/api/v1/jobs/{job['id']}").json()
    assert shown["reason"]["exit_code"] == 7
    assert "learning_rate" in shown["reason"]["message"]


def test_jobs_of_all_kinds_are_made_and_told_apart(client, make_job, file_id):
    trains = make_job()
    spec = {"model": "qwen2-tiny-instruct", "data": file_id, "fail_below": {"accuracy": 0.6}}
    made = client.post("/api/v1/jobs", json={"kind": "evaluate", "spec": spec})
    assert made.status_code == 201, made.text
    assert (made.json()["kind"], made.json()["spec"]["rows"], made.json()["results"]) == ("evaluate", 0, None)
    for kind, wanted in (("evaluate", made.json()["id"]), ("train", trains["id"])):
        page = client.get("/api/v1/jobs", params={"kind": kind})
        assert [job["id"] for job in page.json()["items"]] == [wanted]
    theirs = f"ftjob-{made.json()['id'].removeprefix('job-')}"
    assert client.get(f"/v1/fine_tuning/jobs/{theirs}").status_code == 404
    assert [job["id"] for job in client.get("/v1/fine_tuning/jobs").json()["data"]] == [
        f"ftjob-{trains['id'].removeprefix('job-')}"
    ]


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"kind": "evaluate", "spec": {"model": "m"}}, "spec.data", "required"),
        ({"kind": "tune", "spec": {"model": "m"}}, "body", "train, evaluate or export"),
        (
            {"kind": "export", "spec": {"model": "m", "compression": "awq"}},
            "spec.compression",
            "gguf-q8_0",
        ),
        ({"kind": "export", "spec": {"model": "job-none"}}, "spec.model", "job-none"),
    ],
)
def test_what_another_kind_cannot_be_names_the_field(client, body, field, words):
    answer = client.post("/api/v1/jobs", json=body)
    assert (answer.status_code in (404, 422), answer.json()["field"]) == (True, field), answer.text
    assert words in answer.json()["detail"]
