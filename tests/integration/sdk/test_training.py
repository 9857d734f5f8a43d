"""Training through the SDK and the command line on a real server with the embedded model."""

import json
import os
import pty
import re
import signal
import subprocess

import psutil
import pytest

from quickalign.core.errors import DataError, OptionError
from quickalign.core.wire.jobs import JobState
from quickalign.sdk import discover
from quickalign.sdk.recipe import ModelTrainingRecipe
from quickalign.sdk.session import Session
from quickalign.sdk.training_job import TrainingJob, TrainingJobStatus
from tests.support.homes import COMMAND, environment, fresh_home, run, servers_of, wait_until

MODEL = "qwen2-tiny-instruct"
OPTIONS = {"training_strategy": "dpo", "load_in_4bit": False, "precision": "fp32"}
FAST = ("--training-strategy", "dpo", "--load-in-4bit", "false", "--precision", "fp32", "--sample-tokens", "0")
LONG = ("--num-train-epochs", "200")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with fresh_home(tmp_path_factory.mktemp("sdk")) as made:
        yield made


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with small files of preference data."""
    folder = tmp_path_factory.mktemp("data")
    rows = [
        {
            "prompt": f"How do I {what}? I ask for the {n}th time.",
            "chosen": f"Gladly! {what} with care.",
            "rejected": "No.",
        }
        for n, what in enumerate(("sleep well", "cook rice", "mend a bike", "write a poem", "swim", "plant a tree") * 4)
    ]
    (folder / "pairs.json").write_text(json.dumps(rows[:16]))
    (folder / "validation.json").write_text(json.dumps(rows[16:]))
    (folder / "bad.json").write_text(json.dumps([*rows[:2], {"prompt": "Hi", "chosen": 3, "rejected": "x"}]))
    return folder


@pytest.fixture
def session(home):
    made = Session(home=home)
    yield made
    made.close()


def recipe(session, **options):
    return ModelTrainingRecipe(
        MODEL, model_provider="pai", hyperparameters={**OPTIONS, **options}, sample_tokens=0, session=session
    )


def test_a_recipe_trains_and_its_job_tells_everything(session, place, capsys):
    made = recipe(session)
    job = made.train({"train": place / "pairs.json", "validation": place / "validation.json"}, job_name="first")
    shown = capsys.readouterr().out
    assert "step 2/2" in shown
    assert shown.rstrip().endswith("succeeded.")
    assert job.status == TrainingJobStatus.Succeed
    assert [line["step"] for line in job.metrics()] == [1, 2]
    assert [line["step"] for line in job.metrics("evaluations")] == [0, 2]
    assert "step 2/2" in job.logs()
    assert {event.kind for event in job.events()} >= {"state"}
    assert job.report()["data"]["rows"] == 16
    assert job.artifact("report.html").startswith(b"<!")
    weights = made.model_data()
    assert os.path.isfile(os.path.join(weights, "adapter_model.safetensors"))  # noqa: PTH113, PTH118
    assert TrainingJob.list(TrainingJobStatus.Succeed, session)[0] == job
    assert set(job.record.inputs) == {"train", "validation"}


def test_bad_data_fails_with_the_whole_sentence_of_the_trainer(session, place):
    with pytest.raises(DataError, match=r"row 3") as caught:
        recipe(session).train({"train": place / "bad.json"}, show_logs=False)
    assert "bad_rows" in str(caught.value) or "--bad-rows" in str(caught.value)


def test_impossible_options_are_refused_before_a_job_is_made(session, place):
    before = session.server.info().jobs
    with pytest.raises(OptionError, match="loss_type"):
        recipe(session, label_smoothing=0.1, loss_type="hinge")
    assert session.server.info().jobs == before


def test_pause_resume_and_stop(session, place):
    job = recipe(session, num_train_epochs=200).train({"train": place / "pairs.json"}, wait=False)
    wait_until(lambda: len(job.metrics()) > 2, 120)
    job.pause()
    wait_until(lambda: job.refresh().state is JobState.PAUSED)
    steps = len(job.metrics())
    assert job.status == TrainingJobStatus.Paused
    job.resume()
    wait_until(lambda: len(job.metrics()) > steps, 120)
    job.stop()
    wait_until(lambda: job.refresh().is_completed())
    assert job.status == TrainingJobStatus.Terminated
    assert job.checkpoints()
    assert [line["step"] for line in job.metrics()] == list(range(1, len(job.metrics()) + 1))
    job.delete()
    assert job not in TrainingJob.list(session=session)


def test_a_follower_goes_on_over_a_killed_server(session, home, place, capsys):
    job = recipe(session, num_train_epochs=60).train({"train": place / "pairs.json"}, wait=False)
    wait_until(lambda: len(job.metrics()) > 2, 120)
    import threading

    def replace():
        psutil.Process(discover.read(home).pid).kill()
        discover.start(home)

    killer = threading.Thread(target=replace)
    killer.start()
    job.wait()
    killer.join()
    shown = capsys.readouterr().out
    assert [int(n) for n in re.findall(r"^step (\d+)/120", shown, re.MULTILINE)] == list(range(1, 121))
    assert job.status == TrainingJobStatus.Succeed
    assert len(servers_of(home)) == 1


def test_the_command_line_trains_and_copies_results_to_the_output(home, place):
    done = run(home, place, "train", MODEL, "pairs.json", "--validation", "validation.json", *FAST, "--output", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert not CONTROL.search(done.stdout)
    for part in ("step 2/2", "validation at step 0", "● Done"):
        assert part in done.stdout
    assert list((place / "run").rglob("adapter_model.safetensors"))
    answered = run(home, place, "generate", "run", "Hi", "--max-new-tokens", "5", "--json")
    assert answered.returncode == 0, answered.stderr


def test_an_uploaded_file_is_looked_into_trained_on_and_freed(home, place):
    sent = json.loads(run(home, place, "files", "upload", "pairs.json", "--json").stdout)[0]["id"]
    rows = json.loads(run(home, place, "files", "rows", sent, "--limit", "2", "--json").stdout)
    assert len(rows["rows"]) == 2
    report = run(home, place, "files", "report", sent, "--model", MODEL, "--seq-length", "64")
    assert report.returncode == 0, report.stderr
    assert "✓ 16 usable" in report.stdout
    done = run(home, place, "train", MODEL, sent, *FAST, "--max-steps", "1", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["event"] == "done"
    assert run(home, place, "files", "download", sent, "--output", "back.json").returncode == 0
    assert (place / "back.json").read_bytes() == (place / "pairs.json").read_bytes()
    assert run(home, place, "files", "delete", sent, "--yes").returncode == 0


def test_ctrl_c_leaves_the_job_running_and_it_can_be_watched_and_cancelled(home, place):
    process = subprocess.Popen(
        [*COMMAND, "train", MODEL, "pairs.json", *FAST, *LONG],
        cwd=place,
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if "step 1/" in line:
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "Traceback" not in out + err
    job = re.search(r"quickalign jobs watch (job-\w+)", err)[1]
    assert json.loads(run(home, place, "jobs", "show", job, "--json").stdout)["state"] == "running"
    assert run(home, place, "jobs", "cancel", job).returncode == 0
    watched = run(home, place, "jobs", "watch", job)
    assert watched.returncode == 130
    assert "was cancelled" in watched.stderr
    listed = run(home, place, "jobs", "list", "--state", "cancelled", COLUMNS="80").stdout
    assert job in listed
    assert max(len(line) for line in listed.splitlines()) <= 80
    logs = run(home, place, "jobs", "logs", "-f", job)
    assert "step 1/" in logs.stdout
    assert run(home, place, "jobs", "delete", job, "--yes").returncode == 0


def test_a_terminal_gets_a_moving_bar(home, place):
    main_end, terminal_end = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "train", MODEL, "pairs.json", *FAST, "--num-train-epochs", "4"],
        cwd=place,
        env=environment(home, COLUMNS="80"),
        stdin=terminal_end,
        stdout=terminal_end,
        stderr=terminal_end,
    )
    os.close(terminal_end)
    shown = bytearray()
    while True:
        try:
            piece = os.read(main_end, 65536)
        except OSError:  # Linux reports the closed far end so
            break
        if not piece:
            break
        shown += piece
    os.close(main_end)
    text = shown.decode()
    assert process.wait(60) == 0, text
    assert "pairs/s" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") > 0
