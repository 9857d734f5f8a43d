import pytest

from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.wire.jobs import JobState
from tests.support.platforms import drive_to
from tests.unit.api.conftest import BOTH, CONTENT, OPTIONS

pytestmark = BOTH

JOBS = "/v1/fine_tuning/jobs"


@pytest.fixture
def make(client, file_id):
    def make_one(**changes):
        own = {name: value for name, value in OPTIONS.items() if name != "training_strategy"}
        method = {"type": "dpo", "dpo": {"hyperparameters": own}}
        body = {"model": "qwen2-tiny-instruct", "training_file": file_id, "method": method, **changes}
        answer = client.post(JOBS, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return make_one


def test_a_job_has_the_published_shape(client, make, file_id):
    job = make(suffix="Mine", seed=3, metadata={"a": "b"})
    assert job["object"] == "fine_tuning.job"
    assert job["id"].startswith("ftjob-")
    assert job["status"] == "queued"
    assert job["training_file"] == file_id
    assert job["method"]["dpo"]["hyperparameters"]["n_epochs"] == "auto"
    assert (job["fine_tuned_model"], job["finished_at"], job["error"], job["trained_tokens"]) == (None,) * 4
    assert (job["seed"], job["metadata"], job["result_files"]) == (3, {"a": "b"}, [])
    assert client.get(f"{JOBS}/{job['id']}").json() == job


def test_options_that_came_as_texts_are_numbers_to_everybody(client, make_job):
    """As the command line and PAI's client send them."""
    texts = {"learning_rate": "0.001", "num_train_epochs": "2", "per_device_train_batch_size": "3", "seed": "5"}
    texts |= {"gradient_accumulation_steps": "4", "dpo_beta": "0.2", "load_in_4bit": "false", "max_steps": "7"}
    made = make_job(spec={"hyperparameters": {"training_strategy": "dpo", **texts}})
    kept = made["spec"]["hyperparameters"]
    assert (kept["learning_rate"], kept["load_in_4bit"], kept["max_steps"]) == (0.001, False, 7)
    assert kept.keys() == {"training_strategy", *texts}
    [job] = client.get(JOBS).json()["data"]
    numbers = job["method"]["dpo"]["hyperparameters"]
    assert (numbers["n_epochs"], numbers["batch_size"], numbers["beta"]) == (2, 12, 0.2)
    assert numbers["learning_rate_multiplier"] == pytest.approx(0.001 / Hyperparameters().learning_rate)
    assert job["seed"] == 5


def test_a_fine_tuned_model_is_trained_further(client, make, platform):
    first = make()["id"]
    drive_to(platform, first.replace("ftjob-", "job-"), JobState.SUCCEEDED)
    model = client.get(f"{JOBS}/{first}").json()["fine_tuned_model"]
    job = make(model=model)
    assert (job["model"], job["status"]) == (model, "queued")


def test_lists_page_and_filter_by_metadata(client, make):
    ids = [make(metadata={"n": str(number % 2)})["id"] for number in range(4)]
    first = client.get(JOBS, params={"limit": 3}).json()
    assert [job["id"] for job in first["data"]] == ids[:0:-1]
    assert (first["object"], first["has_more"]) == ("list", True)
    assert (first["first_id"], first["last_id"]) == (ids[3], ids[1])
    rest = client.get(JOBS, params={"after": first["last_id"]}).json()
    assert ([job["id"] for job in rest["data"]], rest["has_more"]) == ([ids[0]], False)
    odd = client.get(JOBS, params={"metadata[n]": "1"}).json()["data"]
    assert [job["id"] for job in odd] == [ids[3], ids[1]]
    assert client.get(JOBS, params={"metadata": "null"}).status_code == 400


def test_moves(client, make):
    address = f"{JOBS}/{make()['id']}"
    assert client.post(f"{address}/pause").json()["status"] == "paused"
    assert client.post(f"{address}/resume").json()["status"] == "queued"
    assert client.post(f"{address}/cancel").json()["status"] == "cancelled"
    refused = client.post(f"{address}/pause")
    assert refused.status_code == 400
    assert refused.json()["error"]["type"] == "invalid_request_error"


def test_what_a_finished_job_left(client, make, platform):
    job_id = make(suffix="My Model")["id"]
    drive_to(platform, job_id.replace("ftjob-", "job-"), JobState.SUCCEEDED)
    job = client.get(f"{JOBS}/{job_id}").json()
    assert job["status"] == "succeeded"
    name = job["fine_tuned_model"]
    assert name.startswith("ft:qwen2-tiny-instruct:quickalign:my-model:")
    assert client.get(f"/v1/models/{name}").json()["id"] == name
    assert client.get("/v1/models").json()["data"][0]["id"] == name
    results = job["result_files"][0]
    assert client.get(f"/v1/files/{results}").json()["purpose"] == "fine-tune-results"
    assert client.get(f"/v1/files/{results}/content").text.count("\n") == 6
    assert client.delete(f"/v1/files/{results}").status_code == 400
    checkpoints = client.get(f"{JOBS}/{job_id}/checkpoints", params={"limit": 2}).json()
    assert [one["step_number"] for one in checkpoints["data"]] == [6, 4]
    assert checkpoints["has_more"]
    rest = client.get(f"{JOBS}/{job_id}/checkpoints", params={"after": checkpoints["last_id"]}).json()["data"]
    assert [one["step_number"] for one in rest] == [2]
    assert rest[0]["metrics"]["train_loss"] == 0.5
    assert client.delete(f"/v1/models/{name}").json() == {"id": name, "object": "model", "deleted": True}
    assert client.get(f"{JOBS}/{job_id}").status_code == 404
    assert client.get(f"/v1/models/{name}").status_code == 404


def test_events_come_newest_first_in_pages(client, make, platform):
    job_id = make()["id"]
    drive_to(platform, job_id.replace("ftjob-", "job-"), JobState.SUCCEEDED)
    whole = client.get(f"{JOBS}/{job_id}/events", params={"limit": 1000}).json()
    assert not whole["has_more"]
    assert whole["data"][-1]["message"] == "The job is queued."
    seen, after = [], None
    while True:
        page = client.get(f"{JOBS}/{job_id}/events", params={"limit": 3} | ({"after": after} if after else {})).json()
        seen += page["data"]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert seen == whole["data"]
    assert client.get(f"{JOBS}/{job_id}/events", params={"after": "ftevent-x-1"}).status_code == 404


def test_files(client):
    form = {"files": {"file": ("pairs.jsonl", CONTENT)}, "data": {"purpose": "fine-tune"}}
    ids = [client.post("/v1/files", **form).json()["id"] for _ in range(3)]
    newest = client.get("/v1/files", params={"limit": 2}).json()
    assert [file["id"] for file in newest["data"]] == [ids[2], ids[1]]
    assert newest["has_more"]
    oldest = client.get("/v1/files", params={"order": "asc", "after": ids[0]}).json()
    assert [file["id"] for file in oldest["data"]] == ids[1:]
    assert client.get("/v1/files", params={"purpose": "batch"}).json()["data"] == []
    assert client.get(f"/v1/files/{ids[0]}/content").content == CONTENT
    assert client.delete(f"/v1/files/{ids[0]}").json() == {"id": ids[0], "object": "file", "deleted": True}
    assert client.get(f"/v1/files/{ids[0]}").json()["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"files": {"file": ("a.json", b"[1]")}}, "purpose"),
        ({"files": {"other": ("a.json", b"[1]")}, "data": {"purpose": "fine-tune"}}, "other"),
        ({"files": {"file": ("a.json", b"[1]")}, "data": {"purpose": "x"}}, "purpose"),
        ({"files": {"file": ("a.json", b"")}, "data": {"purpose": "fine-tune"}}, "file"),
        (
            {
                "files": {"file": ("a.json", b"[1]")},
                "data": {"purpose": "fine-tune", "expires_after[anchor]": "created_at"},
            },
            "expires_after[anchor]",
        ),
    ],
)
def test_uploads_that_are_refused(client, form, param):
    answer = client.post("/v1/files", **form)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


def test_bodies_that_are_no_form(client):
    for kind, body in (
        ("application/json", b"{}"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"--b\r\nnonsense"),
        ("multipart/form-data; boundary=b; charset=none", b"\xff"),
    ):
        answer = client.post("/v1/files", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 400, (kind, answer.text)
        assert answer.json()["error"]["type"] == "invalid_request_error"


def test_errors_have_the_published_shape(client, stranger, file_id):
    body = {"model": "qwen2-tiny-instruct", "training_file": file_id}
    cases = [
        (client.post(JOBS, json={"model": "m"}), 400, "training_file"),
        (client.post(JOBS, json=body | {"training_file": "file-none"}), 404, "training_file"),
        (client.post(JOBS, json=body | {"model": "none"}), 400, "model"),
        (client.post(JOBS, json=body | {"integrations": [{}]}), 400, "integrations"),
        (client.post(JOBS, json=body | {"suffix": "x" * 65}), 400, "suffix"),
        (client.get(f"{JOBS}/ftjob-none"), 404, None),
        (client.get(f"{JOBS}/job-none"), 404, "fine_tuning_job_id"),
        (client.get("/v1/models/none"), 404, "model"),
        (client.get("/v1/assistants"), 404, None),
        (stranger.get("/v1/models"), 401, None),
    ]
    for answer, status, param in cases:
        error = answer.json()["error"]
        assert answer.status_code == status, error
        assert error.keys() == {"message", "type", "param", "code"}
        assert param is None or error["param"] == param


def test_a_model_without_a_service(client):
    for path in ("chat/completions", "completions"):
        answer = client.post(f"/v1/{path}", json={"model": "m", "messages": []})
        assert answer.status_code == 404
        assert "No service answers" in answer.json()["error"]["message"]
