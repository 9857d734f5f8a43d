"""The unmodified `openai` package against a real server with the real trainer."""

import json
import os
import subprocess
import sys
import time

import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from tests.support.homes import environment, fresh_home, wait_until

ROWS = [
    {
        "input": {"messages": [{"role": "user", "content": f"Is {i} a number?"}]},
        "preferred_output": [{"role": "assistant", "content": f"Yes, {i} is one."}],
        "non_preferred_output": [{"role": "assistant", "content": "Who knows."}],
    }
    for i in range(16)
]
DATA = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
QUICK = {"load_in_4bit": False, "lora_dim": 4, "lora_alpha": 8, "save_steps": 2}
OVER = ("succeeded", "failed", "cancelled")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with fresh_home(tmp_path_factory.mktemp("openai")) as home:
        log = (home.parent / "server.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", "quickalign.api", "--home", str(home), "--port", "0"],
            stdout=log,
            stderr=log,
            env=environment(home) | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        wait_until((home / "server.json").exists)
        yield home
        process.terminate()
        assert process.wait(30) == 0
        assert not (home / "server.json").exists()
        log.close()


@pytest.fixture(scope="module")
def client(server):
    endpoint = json.loads((server / "server.json").read_text())["endpoint"]
    return OpenAI(base_url=f"{endpoint}/v1", api_key=(server / "token").read_text().strip())


@pytest.fixture(scope="module")
def file(client):
    return client.files.create(file=("pairs.jsonl", DATA), purpose="fine-tune")


def make(client, file, *, n_epochs=1, **options):
    hyperparameters = {"n_epochs": n_epochs, "batch_size": 4, "beta": 0.2, **QUICK, **options}
    return client.fine_tuning.jobs.create(
        model="qwen2-tiny-instruct",
        training_file=file.id,
        method={"type": "dpo", "dpo": {"hyperparameters": hyperparameters}},
    )


def follow(client, job_id, until=OVER, seconds=240):
    end = time.monotonic() + seconds
    while (job := client.fine_tuning.jobs.retrieve(job_id)).status not in until:
        assert job.status not in OVER, job.error
        assert time.monotonic() < end, job
        time.sleep(0.2)
    return job


@pytest.mark.slow
def test_train_follow_and_look_at_checkpoints(client, file):
    job = client.fine_tuning.jobs.create(
        model="qwen2-tiny-instruct",
        training_file=file.id,
        validation_file=file.id,
        suffix="polite",
        seed=7,
        metadata={"team": "a"},
        method={"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": "auto", "batch_size": 4, "beta": 0.2}}},
        extra_body={"method": {"type": "dpo", "dpo": {"hyperparameters": {"batch_size": 4, "beta": 0.2, **QUICK}}}},
    )
    assert job.id.startswith("ftjob-")
    job = follow(client, job.id)
    assert job.status == "succeeded", job.error
    assert job.fine_tuned_model.startswith("ft:qwen2-tiny-instruct:quickalign:polite:")
    assert job.trained_tokens > 0
    assert job.method.dpo.hyperparameters.beta == 0.2
    messages = [event.message for event in client.fine_tuning.jobs.list_events(job.id, limit=5)]
    assert messages[-1] == "The job is queued."
    assert any("Step 4 is saved" in message for message in messages)
    steps = [one.step_number for one in client.fine_tuning.jobs.checkpoints.list(job.id)]
    assert steps == [4, 2]
    assert len(client.files.content(job.result_files[0]).text.splitlines()) == 4
    assert client.models.retrieve(job.fine_tuned_model).owned_by == "quickalign"
    assert [one.id for one in client.fine_tuning.jobs.list(metadata={"team": "a"})] == [job.id]


@pytest.mark.slow
def test_cancel_pause_and_resume(client, file):
    third = make(client, file, n_epochs=3)
    waiting = make(client, file, n_epochs=50)
    assert client.fine_tuning.jobs.cancel(waiting.id).status == "cancelled"
    follow(client, third.id, until=("running",))
    client.fine_tuning.jobs.pause(third.id)
    assert follow(client, third.id, until=("paused",)).finished_at is None
    assert client.fine_tuning.jobs.resume(third.id).status == "queued"
    assert follow(client, third.id).status == "succeeded"
    running = make(client, file, n_epochs=500)
    follow(client, running.id, until=("running",))
    client.fine_tuning.jobs.cancel(running.id)
    assert follow(client, running.id, until=("cancelled",)).fine_tuned_model is None


def test_refusals_are_the_clients_own_exceptions(client, file):
    with pytest.raises(BadRequestError) as caught:
        client.fine_tuning.jobs.create(
            model="qwen2-tiny-instruct",
            training_file=file.id,
            integrations=[{"type": "wandb", "wandb": {"project": "p"}}],
        )
    assert caught.value.param == "integrations"
    with pytest.raises(NotFoundError):
        client.fine_tuning.jobs.retrieve("ftjob-none")
    with pytest.raises(NotFoundError, match="No service answers"):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}])


def test_files_and_models(client, file):
    assert client.files.retrieve(file.id).bytes == len(DATA)
    assert client.files.content(file.id).content == DATA
    other = client.files.create(file=("other.jsonl", DATA), purpose="fine-tune")
    assert [one.id for one in client.files.list(limit=1)][:2] == [other.id, file.id]
    assert client.files.delete(other.id).deleted
    assert "qwen2-tiny-instruct" in [model.id for model in client.models.list()]
