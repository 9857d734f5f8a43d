"""`train` as a job, `jobs`, `files` and `server`, against a server in memory."""

import json
import os
import re
import sys
from collections import deque
from types import SimpleNamespace

import httpx
import pytest

from quickalign.core.wire.jobs import JobState, LogChunk, Progress, Reason
from quickalign.core.wire.system import SystemInfo
from quickalign.sdk import discover
from quickalign.sdk import follow as following
from quickalign.sdk import session as sessions
from quickalign.sdk.client import Client
from quickalign.sdk.place import Place
from tests.support.fake_api import ENDPOINT, TOKEN, FakeApi, event, job, sse

JOB = job(1).id
END = ("end", "", "{}")


@pytest.fixture
def api(monkeypatch):
    """A server that the environment names."""
    made = FakeApi()
    transport = httpx.MockTransport(made.answer)
    monkeypatch.setattr(sessions, "Client", lambda place, **more: Client(place, transport=transport, **more))
    monkeypatch.setenv("QUICKALIGN_ENDPOINT", ENDPOINT)
    monkeypatch.setenv("QUICKALIGN_TOKEN", TOKEN)
    return made


@pytest.fixture
def own(api, monkeypatch):
    """The same server as that of this home."""
    monkeypatch.delenv("QUICKALIGN_ENDPOINT")
    monkeypatch.setattr(discover, "find_or_start", lambda home: Place(ENDPOINT, TOKEN, home))
    return api


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.json").write_text('[{"prompt": "a"}, {"prompt": "b"}, {"prompt": "c"}]')
    return tmp_path / "pairs.json"


def ending(api, state, **values):
    """Every job that is created ends at once, after two steps and two evaluations."""
    create = api._create

    def created(request):
        answer = create(request)
        name = next(reversed(api.jobs))
        api.jobs[name] = api.jobs[name].model_copy(update={"state": state, **values})
        return answer

    api._create = created
    told = [event(1, "state", "Running."), event(2, "warning", "The chosen answers fall."), event(3, "note", "Saved.")]
    steps = [{"step": n, "loss": 0.7 - n / 10, "rewards_margin": 0.1, "rewards_accuracy": 0.5, "pairs_per_second": 2.0,
              "tokens_per_second": 90.0} for n in (1, 2)]  # fmt: skip
    evaluations = [{"step": n, "loss": 0.6, "accuracy": 0.5 + n / 4, "margin": 0.1, "logps_chosen": -9.0,
                    "logps_rejected": -8.0, "rows": 10} for n in (0, 2)]  # fmt: skip
    api.streams["events"] = deque([sse(*(("e", str(e.sequence), e.model_dump_json()) for e in told), END)])
    for name, lines in (("steps", steps), ("evaluations", evaluations)):
        api.streams[name] = deque([sse(*(("m", str(n), json.dumps(line)) for n, line in enumerate(lines, 1)), END)])


def test_train_makes_a_job_and_shows_it_to_its_end(cli, own, pairs):
    ending(own, JobState.SUCCEEDED, model_path="/srv/output/adapter", adapter_sha256="cd" * 32, name="first")
    code, out, err = cli(
        "train", "qwen2-tiny-instruct", "pairs.json", "--training-strategy", "dpo", "--lora-dim", "8",
        "--name", "first", "--gpus", "0", "--priority", "5", "--label", "a=b=c", "--output", "out",
    )  # fmt: skip
    assert (code, err) == (0, "")
    create = next(request for request in own.requests if request.method == "POST")
    sent = json.loads(create.content)
    assert sent["spec"]["hyperparameters"] == {"training_strategy": "dpo", "lora_dim": "8"}
    assert sent["spec"]["train"] == str(pairs)
    assert sent["output"] == str(pairs.parent / "out")
    assert (sent["name"], sent["gpus"], sent["priority"], sent["metadata"]) == ("first", 0, 5, {"a": "b=c"})
    order = ["● first", "● Running.", "● Done", "/srv/output/adapter", f"quickalign generate {pairs.parent / 'out'}"]
    assert [out.index(part) for part in order] == sorted(out.index(part) for part in order)
    for part in ("! The chosen answers fall.", "step 1/", "validation at step 0", "accuracy 50 %", "sha256 cdcdcdcd"):
        assert part in out
    assert "\x1b" not in out


def test_results_go_to_a_uri_as_it_was_written(cli, own, pairs):
    assert cli("train", "m", "pairs.json", "--detach", "--output", "s3://bucket/first")[0] == 0
    create = next(request for request in own.requests if request.method == "POST")
    assert json.loads(create.content)["output"] == "s3://bucket/first"


def test_an_empty_output_is_no_output(cli, own, pairs):
    code, _, err = cli("train", "m", "pairs.json", "--detach", "--output", "")
    assert code == 5
    assert "The path is empty" in err


def test_train_as_json_is_lines_that_end_with_the_job(cli, own, pairs):
    ending(own, JobState.SUCCEEDED)
    code, out, err = cli("train", "m", "pairs.json", "--json")
    assert (code, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines[0]["event"] == "job"
    assert lines[-1]["event"] == "done"
    assert lines[-1]["job"]["state"] == "succeeded"
    assert {"step", "evaluation", "warning", "state"} <= {line["event"] for line in lines}


def test_a_failed_job_ends_with_its_kind_and_its_whole_message(cli, own, pairs):
    message = "Row 3 cannot be used. " + "All of it. " * 40
    ending(own, JobState.FAILED, reason=Reason(code="failed", message=message, exit_code=3))
    code, _, err = cli("train", "m", "pairs.json")
    assert code == 3
    assert " ".join(message.split()) in " ".join(err.split())
    code, out, _ = cli("train", "m", "pairs.json", "--json")
    assert json.loads(out.splitlines()[-1])["error"]["kind"] == "DataError"


@pytest.mark.parametrize(("state", "word"), [(JobState.CANCELLED, "clone"), (JobState.PAUSED, "resume")])
def test_a_job_that_others_stopped_ends_the_watching_with_a_way_on(cli, own, pairs, state, word):
    ending(own, state)
    code, _, err = cli("train", "m", "pairs.json")
    assert code == 130
    assert f"quickalign jobs {word} job-" in err


def test_a_job_that_was_resumed_when_its_streams_had_ended_is_watched_on(cli, own, pairs, monkeypatch):
    ending(own, JobState.RUNNING)
    calls = []

    def follow(client, name, told):
        calls.append(dict(told))
        if len(calls) == 2:
            own.add(own.jobs[name].model_copy(update={"state": JobState.SUCCEEDED}))
        return following.follow(client, name, told)

    monkeypatch.setattr("quickalign.cli.watch.job.follow", follow)
    code, out, _ = cli("train", "m", "pairs.json", "--json")
    assert code == 0
    assert json.loads(out.splitlines()[-1])["job"]["state"] == "succeeded"
    assert calls == [{"events": 0, "steps": 0, "evaluations": 0}, {"events": 3, "steps": 2, "evaluations": 2}]


def test_ctrl_c_leaves_the_job_alone_and_says_how_to_come_back(cli, own, pairs, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr("quickalign.cli.watch.job.follow", interrupted)
    code, _, err = cli("train", "m", "pairs.json")
    assert code == 130
    assert "goes on" in err
    assert "quickalign jobs watch job-" in err
    assert [each.state for each in own.jobs.values()] == [JobState.QUEUED]


def test_detach_returns_at_once_with_the_id(cli, own, pairs):
    code, out, _ = cli("train", "m", "pairs.json", "--detach")
    assert code == 0
    assert next(iter(own.jobs)) in out
    assert json.loads(cli("train", "m", "pairs.json", "--detach", "--json")[1])["state"] == "queued"
    assert all("stream" not in request.url.path for request in own.requests)


def test_data_is_sent_to_a_server_elsewhere_and_places_of_this_machine_are_refused(cli, api, pairs):
    assert cli("train", "m", "pairs.json", "--detach")[0] == 0
    assert list(api.files.values()) == [pairs.read_bytes()]
    code, _, err = cli("train", "m", "pairs.json", "--detach", "--output", "out")
    assert code == 2
    assert "a path of this machine" in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--no-resume"], "--no-resume has no effect with a job"),
        (["--resume"], "--resume has no effect with a job"),
        (["--local", "--detach"], "--detach has no effect with --local"),
        (["--local", "--output", "s3://bucket/first"], "--output s3://bucket/first is a URI"),
        (["--local", "--gpus", "1"], "--gpus has no effect with --local"),
        (["--local", "--label", "a=b"], "--label has no effect with --local"),
        (["--local", "--workers", "2"], "--workers has no effect with --local"),
        (["--strategy", "fsdp2", "--load-in-4bit", "false"], "strategy='fsdp2' spreads the weights"),
        (["--strategy", "fsdp2", "--workers", "2"], "not possible with load_in_4bit=true"),
        (["--label", "a"], "--label 'a' has no value"),
        (["--dpo-beta", "0.3"], "has no effect with training_strategy='sft'"),
        (["--name", ""], "name=''"),
    ],
)
def test_options_without_an_effect_are_refused_before_anything_is_sent(cli, own, pairs, recorded, arguments, sentence):
    code, _, err = cli("train", "m", "pairs.json", *arguments)
    assert code == 2
    assert sentence in err
    assert not own.jobs
    assert not recorded


def test_every_hyperparameter_reaches_the_job(cli, own, pairs):
    assert cli("train", "m", "pairs.json", "--detach", "--load-in-4bit", "false", "--target-modules", "a,b")[0] == 0
    assert own.sent()["spec"]["hyperparameters"] == {"load_in_4bit": "false", "target_modules": "a,b"}


def test_jobs_are_listed_and_shown_at_eighty_columns(cli, api, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    api.add(
        job(1, JobState.RUNNING, progress=Progress(phase="train", step=37, total_steps=1200, seconds_left=900.0)),
        job(2, JobState.FAILED, reason=Reason(code="failed", message="Row 3 cannot be used.", exit_code=3)),
        job(3, JobState.QUEUED, queue_position=1, reason=Reason(code="waiting_for_gpu", message="1 GPU is busy.")),
    )
    code, out, _ = cli("jobs", "list")
    assert code == 0
    assert all(each.id in out for each in api.jobs.values())
    assert "37/1,200" in out
    assert "1 in queue" in out
    assert max(len(line) for line in out.splitlines()) <= 80
    assert [each["id"] for each in json.loads(cli("jobs", "list", "--state", "failed", "--json")[1])] == [job(2).id]
    assert "2 jobs; --limit shows more" in cli("jobs", "list", "--limit", "2")[1]
    assert "Row 3 cannot be used." in cli("jobs", "show", job(2).id)[1]
    assert "1 GPU is busy." in cli("jobs", "show", job(3).id)[1]
    assert "--training-strategy dpo" in cli("jobs", "show", job(3).id)[1]
    assert json.loads(cli("jobs", "show", job(3).id, "--json")[1])["queue_position"] == 1


def test_why_a_job_failed_is_shown_whole_where_nobody_watches(cli, api):
    why = f"Its results cannot be copied to /data/{'x' * 150}: no space left on device."
    api.add(job(1, JobState.FAILED, reason=Reason(code="failed", message=why, exit_code=5)))
    assert f"✗ {why}\n" in cli("jobs", "show", job(1).id)[1]


def test_no_jobs_unknown_states_and_unknown_jobs_are_sentences(cli, api):
    assert "There are no jobs yet" in cli("jobs", "list")[1]
    assert "No job matches." in cli("jobs", "list", "--search", "x")[1]
    code, _, err = cli("jobs", "list", "--state", "done")
    assert code == 2
    assert "queued, starting, running" in err
    code, _, err = cli("jobs", "show", "job-none")
    assert code == 8
    assert "There is no job job-none." in err


def test_logs_events_and_metrics(cli, api):
    api.add(job(1))
    api.log = "one\ntwo [b]three[/b]\n"
    api.events = [event(1), event(2, "warning", "Hot [b]!\x1b[2J"), event(3)]
    api.metrics["steps"] = [{"step": n, "loss": 1 / n, "learning_rate": 1e-4} for n in range(1, 51)]
    api.metrics["evaluations"] = [{"step": 0, "loss": 0.7, "accuracy": 0.5, "rows": 10}]
    assert cli("jobs", "logs", JOB)[1] == api.log
    assert cli("jobs", "logs", JOB, "--offset", "4")[1] == api.log[4:]
    out = cli("jobs", "events", JOB)[1]
    assert len(out.splitlines()) == 3
    assert "Hot [b]!\\x1b[2J" in out
    assert [
        json.loads(line)["sequence"] for line in cli("jobs", "events", JOB, "--after", "1", "--json")[1].splitlines()
    ]
    out = cli("jobs", "metrics", JOB)[1]
    assert "50 steps; --json shows those between." in out
    assert len(json.loads(cli("jobs", "metrics", JOB, "--json")[1])) == 50
    assert [line["step"] for line in json.loads(cli("jobs", "metrics", JOB, "--last", "2", "--json")[1])] == [49, 50]
    assert "50 %" in cli("jobs", "metrics", JOB, "--kind", "evaluations")[1]


def test_a_log_is_followed_to_its_end(cli, api):
    api.add(job(1))
    pieces = [LogChunk(offset=n, next_offset=n + 1, text=text, complete=False) for n, text in enumerate("abc")]
    api.streams["logs"] = deque([sse(*(("l", str(p.next_offset), p.model_dump_json()) for p in pieces), END)])
    assert cli("jobs", "logs", "-f", JOB)[:2] == (0, "abc")


@pytest.mark.parametrize(("verb", "state"), [("cancel", "cancelling"), ("pause", "pausing"), ("resume", "resuming")])
def test_jobs_are_moved(cli, api, verb, state):
    api.add(job(1))
    assert state in cli("jobs", verb, JOB)[1]
    assert json.loads(cli("jobs", verb, JOB, "--json")[1])["state"] == state


def test_a_clone_keeps_the_other_options(cli, api):
    api.add(job(1))
    words = ("--set", "lora_dim=8", "--name", "again", "--output", "s3://bucket/again")
    code, out, _ = cli("jobs", "clone", JOB, *words, "--json")
    assert code == 0
    assert api.sent() == {
        "spec": {"hyperparameters": {"training_strategy": "dpo", "lora_dim": "8"}},
        "name": "again",
        "output": "s3://bucket/again",
    }
    assert json.loads(out)["cloned_from"] == JOB
    code, _, err = cli("jobs", "clone", JOB, "--set", "lora_dim=0", "--set", "lora_alpha=8")
    assert code == 2
    assert "lora_alpha" in err


def test_nothing_is_deleted_without_a_yes(cli, api):
    api.add(job(1))
    api.files["file-1"] = b"x"
    for group, name in (("jobs", JOB), ("files", "file-1")):
        code, _, err = cli(group, "delete", name)
        assert code == 2
        assert "--yes" in err
        assert cli(group, "delete", name, "--yes")[1] == f"Deleted {name}\n"
        assert cli(group, "delete", name, "--yes")[0] == 8


def test_nothing_is_deleted_where_a_name_is_wrong(cli, api):
    api.add(job(1))
    api.files["file-1"] = b"x"
    for group, name in (("jobs", JOB), ("files", "file-1")):
        assert cli(group, "delete", name, "no-such-thing", "--yes")[0] == 8
        assert cli(group, "delete", "no-such-thing")[0] == 8  # nobody is asked about what there is not
        assert cli(group, "delete", name, "--yes")[0] == 0


def test_files_are_sent_listed_looked_into_and_fetched(cli, api, pairs):
    sent = json.loads(cli("files", "upload", "pairs.json", "--json")[1])
    name = sent[0]["id"]
    assert api.requests[-1].url.params["purpose"] == "fine-tune"
    assert name in cli("files", "list")[1]
    assert "sha256" in cli("files", "show", name)[1]
    out = cli("files", "rows", name, "--limit", "2", "--offset", "1")[1]
    assert "● Row 2" in out
    assert "● Row 3" in out
    code, _, err = cli("files", "download", name)
    assert code == 2
    assert "exists already" in err
    assert cli("files", "download", name, "--output", "copy.json")[0] == 0
    assert (pairs.parent / "copy.json").read_bytes() == pairs.read_bytes()
    assert "--seq-length has no effect without --model" in cli("files", "report", name, "--seq-length", "64")[2]
    assert "cannot be uploaded" in cli("files", "upload", "none.json")[2]


def test_a_download_cannot_be_led_elsewhere_by_its_name(cli, api, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    api.files["file-1"] = b"x"
    monkeypatch.setattr(api, "_stored", lambda name: {"id": name, "filename": "../../evil", "bytes": 1,
                                                      "sha256": "ab" * 32, "created_at": 1.0})  # fmt: skip
    assert cli("files", "download", "file-1")[0] == 0
    assert (tmp_path / "evil").read_bytes() == b"x"


def test_status_start_and_stop_of_a_home_without_a_server(cli, home, monkeypatch):
    code, out, _ = cli("server", "status")
    assert code == 12
    assert "No server runs" in out
    code, out, _ = cli("server", "status", "--json")
    assert (code, json.loads(out)["running"]) == (12, False)
    assert "No server runs" in cli("server", "stop")[1]
    assert json.loads(cli("server", "stop", "--json")[1]) == {"stopped": False}


def test_status_of_a_named_server(cli, api, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    info = SystemInfo.model_validate(
        {
            "version": "9.9", "versions": {}, "started_at": 1.7e9, "database": "sqlite", "home": "/srv/home",
            "devices": [{"name": "NVIDIA H100", "kind": "cuda", "index": 0, "total_bytes": 80 * 10**9,
                         "reserved_bytes": 10**9, "jobs": [JOB],
                         "bases": [{"name": "qwen2-7b", "memory_bytes": 14 * 10**9, "services": ["one", "two"]}]}],
            "queue": [{"job": job(2).id, "position": 1, "priority": 0, "resources": {"gpus": 1, "memory_bytes": 5},
                       "reason": {"code": "waiting_for_gpu", "message": "All GPUs are busy."}}],
            "jobs": {"running": 1, "queued": 1, "failed": 0},
        }
    )  # fmt: skip
    api.accidents.extend([httpx.Response(200, text=info.model_dump_json())] * 2)
    code, out, _ = cli("server", "status")
    assert code == 0
    for part in (ENDPOINT, "9.9", "1 running, 1 queued", "NVIDIA H100 (cuda 0)", JOB, "All GPUs are busy.",
                 "qwen2-7b", "14.0 GB", "one", "two"):  # fmt: skip
        assert part in out
    assert max(len(line) for line in out.splitlines()) <= 80
    assert json.loads(cli("server", "status", "--json")[1])["system"]["database"] == "sqlite"


def test_a_running_server_is_not_started_with_other_settings(cli, monkeypatch, home):
    running = SimpleNamespace(endpoint="http://127.0.0.1:5")
    monkeypatch.setattr(discover, "find", lambda home: running)
    code, _, err = cli("server", "start", "--port", "9")
    assert code == 9
    assert "server stop" in err


def test_running_in_the_foreground_is_the_server_s_own_program(cli, monkeypatch, home):
    called = []
    monkeypatch.setattr("quickalign.cli.commands.server.os.execv", lambda *arguments: called.append(arguments))
    cli("server", "run", "--host", "127.0.0.1", "--port", "0")
    program = [sys.executable, "-m", "quickalign.server", "--home", str(home), "--host", "127.0.0.1", "--port", "0"]
    assert called == [(sys.executable, program)]


@pytest.mark.parametrize("how", ["start", "run"])
def test_the_process_list_shows_nobody_the_database_s_password(cli, monkeypatch, home, how):
    url = "postgresql://ann:hidden@db.example.org/quickalign"
    monkeypatch.setenv("QUICKALIGN_DATABASE_URL", "postgresql://other")  # and so taken back after the test
    started = []

    def begin(*arguments):
        started.append(arguments)
        return discover.ServerFile(endpoint=ENDPOINT, pid=1, create_time=0.0)

    monkeypatch.setattr("quickalign.cli.commands.server.os.execv", begin)
    monkeypatch.setattr(discover, "_launch", begin)
    assert cli("server", how, "--port", "0", "--database-url", url)[0] == 0
    assert "hidden" not in str(started)
    assert os.environ["QUICKALIGN_DATABASE_URL"] == url


@pytest.mark.parametrize("width", [80, 120])
def test_a_watched_job_fits_the_terminal_and_leaves_it_as_it_was(width):
    import io

    from rich.console import Console

    from quickalign.cli.terminal import THEME
    from quickalign.cli.watch.job import ScreenView
    from quickalign.sdk.follow import MetricsLine

    console = Console(
        theme=THEME, file=io.StringIO(), width=width, height=40, force_terminal=True, color_system="standard"
    )
    view = ScreenView(console, nearby=True)
    reason = Reason(code="waiting_for_gpu", message="All GPUs are busy with other jobs, and this one waits for one.")
    view.job(job(1, JobState.QUEUED, reason=reason))
    view.item(event(1, "phase", "data: pairs.json"))
    view.job(job(1, JobState.RUNNING, progress=Progress(phase="train", step=1, total_steps=20)))
    for step in range(1, 21):
        values = {"step": step, "loss": 1 / step, "rewards_margin": 0.1, "rewards_accuracy": 0.9}
        view.item(MetricsLine("steps", {**values, "pairs_per_second": 3.2, "tokens_per_second": 412.0}))
    view.item(event(2, "warning", "The chosen answers become less likely. " * 4))
    done = job(1, JobState.SUCCEEDED, model_path="/srv/home/jobs/job-1/output/adapter", adapter_sha256="ab" * 32)
    view.end(done)
    view.close()
    text = console.file.getvalue()
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    assert max(len(line) for line in plain.replace("\r", "\n").splitlines()) <= width
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") > 0
    for part in ("● Data", "queued: All GPUs are busy", "20/20", "loss", "● Done", "quickalign generate"):
        assert part in plain


def test_jobs_are_listed_by_label(cli, api):
    assert cli("jobs", "list", "--label", "team=a", "--label", "for=b=c")[0] == 0
    assert api.requests[-1].url.params.get_list("label") == ["team=a", "for=b=c"]
    code, _, said = cli("jobs", "list", "--label", "team")
    assert code == 2
    assert "--label NAME=VALUE" in said
