"""`deploy`, `services` and `chat`, against a server in memory and a service over real HTTP."""

import io
import json
import sys
from collections import deque
from types import NoneType
from typing import get_args

import httpx
import pytest

from quickalign.cli.service_options import _UNSET
from quickalign.core.wire.jobs import Reason
from quickalign.core.wire.services import Limits, RevisionSpec, ServiceState, ServiceUpdate
from quickalign.sdk import discover, service_wait
from quickalign.sdk import session as sessions
from quickalign.sdk.client import Client
from quickalign.sdk.place import Place
from tests.support.echo_service import echo_service
from tests.support.fake_api import ENDPOINT, TOKEN, FakeApi, event, sse
from tests.support.fake_services import service


@pytest.fixture
def api(monkeypatch):
    """The server of this home."""
    made = FakeApi()
    transport = httpx.MockTransport(made.answer)
    monkeypatch.setattr(sessions, "Client", lambda place, **more: Client(place, transport=transport, **more))
    monkeypatch.setattr(discover, "find_or_start", lambda home: Place(ENDPOINT, TOKEN, home))
    monkeypatch.setattr(service_wait, "_LOOK_SECONDS", 0.0)
    return made


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "First Run" / "adapter").mkdir(parents=True)
    (tmp_path / "runs" / "First Run" / "adapter" / "adapter_config.json").touch()
    return tmp_path / "runs" / "First Run"


def test_deploy_waits_until_it_answers_and_says_how_to_go_on(cli, api, run_folder):
    code, out, err = cli("deploy", "runs/First Run", "--label", "team=a", "--idle-stop", "60", "--replicas", "2")
    assert code == 0
    asked = api.services.asked[0]
    assert asked["name"] == "first-run", "a name is made of the folder's"
    assert asked["spec"] == {"source": {"model": str(run_folder)}}
    assert (asked["replicas"], asked["idle_stop_seconds"], asked["metadata"]) == (2, 60, {"team": "a"})
    assert "starting: The weights are read." in err, "the way there is told apart from the result"
    order = ["● first-run", f"{ENDPOINT}/services/first-run/v1", "greedy answers", "quickalign chat first-run",
             "quickalign services delete first-run"]  # fmt: skip
    assert [out.index(part) for part in order] == sorted(out.index(part) for part in order)


def test_bounds_of_replicas_on_a_cluster(cli, api):
    given = ("--max-replicas", "4", "--min-replicas", "0", "--ongoing-requests", "6", "--quiet-seconds", "60")
    assert cli("deploy", "job-1", "--name", "s", *given)[0] == 0
    bounds = {"min": 0, "max": 4, "ongoing_requests": 6, "quiet_seconds": 60}
    assert api.services.asked[0]["spec"]["autoscaling"] == bounds
    code, _, err = cli("deploy", "job-1", "--name", "t", "--min-replicas", "2")
    assert code == 2
    assert "Add --max-replicas N." in err
    api.services.add(service("first"))
    assert cli("services", "update", "first", "--max-replicas", "2")[0] == 0
    assert api.services.asked[-1]["spec"]["autoscaling"]["max"] == 2
    assert cli("services", "update", "first", "--quiet-seconds", "60")[0] == 0, "what is left out stays"
    assert api.services.asked[-1]["spec"]["autoscaling"] == {
        "min": 1, "max": 2, "ongoing_requests": 8, "quiet_seconds": 60,
    }  # fmt: skip
    api.services.add(service("second"))
    code, _, err = cli("services", "update", "second", "--quiet-seconds", "60")
    assert code == 2
    assert "autoscaling.max is missing" in err


def test_deploy_takes_jobs_cards_and_every_option(cli, api):
    code, _, _ = cli(
        "deploy", "job-1", "--name", "s", "--checkpoint", "4", "--engine", "transformers", "--precision", "fp32",
        "--weights", "int8", "--system-prompt", "", "--context", "64", "--no-share-base", "--max-concurrency", "3", "--max-waiting", "0",
        "--requests-per-minute", "9", "--concurrency", "2", "--gpus", "0",
    )  # fmt: skip
    assert code == 0
    assert api.services.asked[0] == {
        "name": "s",
        "spec": {
            "source": {"job": "job-1", "checkpoint": 4}, "engine": "transformers", "precision": "fp32",
            "weights": "int8", "system_prompt": "", "context": 64, "share_base": False, "max_concurrency": 3, "max_waiting": 0,
        },
        "limits": {"requests_per_minute": 9, "concurrency": 2},
        "gpus": 0,
        "metadata": {},
    }  # fmt: skip
    code, out, _ = cli("deploy", "qwen2-tiny-instruct", "--model-revision", "v2", "--detach", "--json")
    assert code == 0
    assert json.loads(out)["state"] == "pending"
    assert api.services.asked[1]["spec"]["source"] == {"model": "qwen2-tiny-instruct", "model_revision": "v2"}


def test_a_deployment_that_fails_ends_with_its_kind_and_sentence(cli, api):
    api.services.fails = True
    code, out, err = cli("deploy", "job-1")
    assert code == 4
    assert "Service job-1 failed: The greedy answers differ." in err
    assert "quickalign services logs job-1" in err
    assert out == ""
    code, out, _ = cli("deploy", "job-1", "--name", "second", "--json")
    assert json.loads(out)["error"]["kind"] == "ModelError"
    assert cli("deploy", "job-1")[0] == 9, "the name is taken"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("job-1", "--name", "Bad Name"), "'Bad Name' cannot be a service's name"),
        (("job-1", "--adapter", "x"), "Give either a job, or a model and/or an adapter."),
        (("qwen2-tiny-instruct", "--checkpoint", "3"), "A checkpoint needs the job that it belongs to."),
        (("job-1", "--model-revision", "x"), "model_revision needs a model."),
    ],
    ids=str,
)
def test_what_cannot_be_deployed_is_refused_before_it_is_sent(cli, api, arguments, sentence):
    code, _, err = cli("deploy", *arguments)
    assert code == 2
    assert sentence in err
    assert api.services.asked == []


def test_ctrl_c_while_waiting_leaves_the_service_alone(cli, api, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(service_wait, "time", type("Clock", (), {"sleep": interrupted}))
    code, _, err = cli("deploy", "job-1", "--name", "s")
    assert code == 130
    assert "service s goes on" in err
    assert "quickalign services delete s" in err


def test_list_and_show(cli, api):
    assert "no services yet" in cli("services", "list")[1]
    api.services.add(
        service("first", metadata={"team": "a"}, idle_stop_seconds=90), service("second", ServiceState.STOPPED)
    )
    out = cli("services", "list")[1]
    assert out.index("second") < out.index("first"), "newest first"
    assert "transformers fp32" in out
    assert "2 services." in out
    assert "--limit shows more" in cli("services", "list", "--limit", "1")[1]
    assert [each["name"] for each in json.loads(cli("services", "list", "--state", "stopped", "--json")[1])] == [
        "second"
    ]
    assert "No service matches" in cli("services", "list", "--search", "x")[1]
    assert cli("services", "list", "--state", "odd")[0] == 2
    out = cli("services", "show", "first")[1]
    for part in ("svc-first", "✓ greedy answers  8 of 8 equal", "4711", "40123", "123 MB", "team=a", "1 min 30 s"):
        assert part in out
    assert json.loads(cli("services", "show", "first", "--json")[1])["id"] == "svc-first"
    code, _, err = cli("services", "show", "nobody")
    assert code == 8
    assert "There is no service nobody." in err


def test_why_a_service_failed_is_shown_whole_where_nobody_watches(cli, api):
    why = f"Its model cannot be read from /data/{'x' * 150}: no such file."
    api.services.add(service("first", ServiceState.FAILED, reason=Reason(code="failed", message=why)))
    assert f"✗ {why}\n" in cli("services", "show", "first")[1]


def test_stop_start_and_scale(cli, api):
    api.services.add(service("first"))
    assert cli("services", "stop", "first")[:2] == (0, "first  stopped\n")
    assert cli("services", "start", "first")[:2] == (0, "first  running\n")
    code, out, _ = cli("services", "scale", "first", "3", "--json")
    assert code == 0
    assert len(json.loads(out)["replicas"]) == 3
    assert cli("services", "scale", "first", "0")[0] == 2


def test_update_names_what_changes_and_waits_for_it(cli, api, run_folder):
    api.services.add(service("first"))
    code, out, _ = cli("services", "update", "first", "runs/First Run", "--weights", "int4")
    assert (code, out) == (0, "first  running\n")
    sent = api.services.asked[0]["spec"]
    assert sent["source"] == {"model": str(run_folder)}
    assert (sent["weights"], sent["engine"]) == ("int4", "auto")
    assert cli("services", "update", "first", "--concurrency", "2", "--idle-stop", "9", "--label", "a=b")[0] == 0
    assert api.services.asked[1] == {
        "limits": {"requests_per_minute": None, "concurrency": 2},
        "idle_stop_seconds": 9,
        "metadata": {"a": "b"},
    }
    assert cli("services", "rollback", "first")[0] == 0
    code, _, err = cli("services", "update", "first")
    assert code == 2
    assert "The update changes nothing." in err
    assert cli("services", "update", "first", "--checkpoint", "2")[0] == 2
    for flags, told in (
        (("qwen2-tiny-instruct", "--checkpoint", "2"), "✗ A checkpoint needs the job that it belongs to."),
        (("--min-replicas", "3", "--max-replicas", "2"), "is not possible: min is 3 and max is 2;"),
    ):
        code, _, err = cli("services", "update", "first", *flags)
        assert (code, told in err) == (2, True), err


def test_an_update_takes_back_what_was_set(cli, api):
    api.services.add(service("first"))
    options = ("--context", "512", "--system-prompt", "Hi.", "--concurrency", "2", "--idle-stop", "9", "--label", "a=b")
    assert cli("services", "update", "first", *options)[0] == 0
    names = ("idle-stop", "--context", "system_prompt", "labels")
    assert cli("services", "update", "first", *(f"--unset={name}" for name in names))[0] == 0
    sent = api.services.asked[1]
    assert (sent["idle_stop_seconds"], sent["metadata"], sent.get("limits")) == (None, {}, None)
    assert (sent["spec"]["context"], sent["spec"]["system_prompt"]) == (None, None)
    assert sent["spec"]["source"] == api.services.asked[0]["spec"]["source"]
    assert cli("services", "update", "first", "--unset", "concurrency")[0] == 0
    assert api.services.asked[2] == {"limits": {"requests_per_minute": None, "concurrency": None}}


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--unset", "engine"), "--unset 'engine' is nothing that can be unset."),
        (("--unset", "context", "--context", "512"), "--unset context takes back what the same command sets."),
        (("--unset", "autoscaling", "--max-replicas", "2"), "--unset autoscaling takes back what"),
    ],
)
def test_what_cannot_be_taken_back_is_told(cli, api, flags, told):
    api.services.add(service("first"))
    code, _, err = cli("services", "update", "first", *flags)
    assert code == 2
    assert told in err
    assert api.services.asked == []


def test_whatever_may_be_nothing_can_be_taken_back():
    """Held against the wire's own types: a field of a service that may be null, by hand or by `--unset`."""
    may_be_null = {
        name
        for kind in (RevisionSpec, Limits, ServiceUpdate)
        for name, field in kind.model_fields.items()
        if NoneType in get_args(field.annotation) and name not in ("spec", "replicas", "limits", "metadata")
    }
    assert {field for field, _ in _UNSET.values()} == may_be_null | {"labels"}


def test_an_update_that_fails_its_checks_is_told(cli, api):
    api.services.add(service("first"))
    api.services.fails = True
    code, _, err = cli("services", "update", "first", "--weights", "int8")
    assert code == 4
    assert "(revision 2) failed: The greedy answers differ." in err
    assert "`quickalign services logs first`" in err


def test_nothing_is_deleted_where_a_name_is_wrong(cli, api):
    api.services.add(service("first"))
    assert cli("services", "delete", "first", "no-such-service", "--yes")[0] == 8
    assert cli("services", "delete", "no-such-service")[0] == 8
    assert "✓ Deleted first." in cli("services", "delete", "first", "--yes")[1]


def test_delete_shows_the_proof(cli, api, monkeypatch):
    api.services.add(service("first"), service("second"), service("third"))
    code, out, err = cli("services", "delete", "first", "--yes")
    assert code == 0
    for part in ("✓ Deleted first.", "4711", "40123", "123 MB", "/srv/services/svc-1"):
        assert part in out
    gone = json.loads(cli("services", "delete", "second", "-y", "--json")[1])
    assert gone[0]["removal"]["processes"] == [4711]
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    code, _, err = cli("services", "delete", "third")
    assert code == 2
    assert "--yes" in err


def test_logs_and_events_whole_and_followed(cli, api):
    api.services.add(service("first"))
    api.log = "one\ntwo\nthree\nfour\n"
    assert cli("services", "logs", "first", "--replica", "rep-1")[1] == api.log
    assert api.requests[-1].url.params["replica"] == "rep-1"
    api.events = [event(1, "state", "Running."), event(2, "warning", "Restarted.")]
    assert "Restarted." in cli("services", "events", "first")[1]
    told = ("event", "1", event(1, "state", "Running.").model_dump_json())
    api.streams["events"] = deque([sse(told, ("end", "", "{}"))])
    assert json.loads(cli("services", "events", "first", "--follow", "--json")[1])["message"] == "Running."


def test_tokens(cli, api):
    api.services.add(service("first"))
    assert cli("services", "token", "first")[:2] == (0, "qs-1\n")
    assert cli("services", "token", "first", "--rotate")[1] == "qs-2\n"
    made = json.loads(cli("services", "token", "first", "--new", "phone", "--json")[1])
    assert made["token"].startswith("qs-named")
    assert "phone" in cli("services", "token", "first", "--list")[1]
    assert cli("services", "token", "first", "--revoke", made["id"])[0] == 0
    assert "no token but its own" in cli("services", "token", "first", "--list")[1]
    code, _, err = cli("services", "token", "first", "--list", "--rotate")
    assert code == 2
    assert "exclude each other" in err


def test_metrics(cli, api):
    api.services.add(service("first"))
    out = cli("services", "metrics", "first")[1]
    for part in ("12, 1 of them with an error, 2 open", "12 ms at the median, 34 ms", "56.7 tokens/s"):
        assert part in out
    assert json.loads(cli("services", "metrics", "first", "--json")[1])["requests"] == 12


@pytest.fixture
def echo(api, monkeypatch):
    """A service that answers, at the address of the server in memory."""
    api.services.add(service("first"), service("second"))
    with echo_service() as running:
        monkeypatch.setattr(discover, "find_or_start", lambda home: Place(running.endpoint, TOKEN, home))
        yield running


def test_chat_answers_prompts(cli, echo):
    assert cli("chat", "first", "Hello")[:2] == (0, "You said: Hello\n")
    code, out, _ = cli("chat", "first", "A", "B", "--json", "--temperature", "0.5", "--seed", "3", "--max-tokens", "9",
                       "--system-prompt", "Be kind.")  # fmt: skip
    assert code == 0
    assert json.loads(out) == [
        {"prompt": "A", "answer": "You said: A"},
        {"prompt": "B", "answer": "You said: B"},
    ]
    sent = echo.requests[-1][3]
    assert (sent["temperature"], sent["seed"], sent["max_tokens"]) == (0.5, 3, 9)
    assert sent["messages"] == [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "B"}]


def test_chat_compares_two_services(cli, echo):
    code, out, _ = cli("chat", "--compare", "first", "second", "Hello")
    assert code == 0
    assert "❯ Hello" in out
    assert [part in out for part in ("first", "second")] == [True, True]
    assert out.count("You said: Hello") == 2
    rows = json.loads(cli("chat", "--compare", "first", "second", "Hello", "--json")[1])
    assert rows == [{"prompt": "Hello", "first": "You said: Hello", "second": "You said: Hello"}]
    assert {request[1] for request in echo.requests} == {
        "/services/first/v1/chat/completions",
        "/services/second/v1/chat/completions",
    }


@pytest.mark.parametrize(("text", "code", "said"), [("refuse", 2, "There is no room"), ("break", 12, "broke off")])
def test_an_answer_that_is_refused_or_breaks_off_is_told(cli, echo, text, code, said):
    for arguments in (("first",), ("--compare", "first", "second")):
        found, _, err = cli("chat", *arguments, text)
        assert found == code
        assert said in err


@pytest.mark.parametrize(
    "arguments", [(), ("first", "--json"), ("first", "x", "--seed", "1"), ("first", "x", "--temperature", "9")]
)
def test_what_chat_cannot_do_is_refused(cli, echo, arguments, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert cli("chat", *arguments)[0] == 2


def test_a_conversation_remembers_until_a_new_one_begins(cli, echo, monkeypatch):
    lines = iter(["Hello", "", "break", "And now?", "/new", "Again", "/quit"])
    monkeypatch.setattr(sys, "stdin", type("Terminal", (io.StringIO,), {"isatty": lambda self: True})())
    monkeypatch.setattr("builtins.input", lambda *_: next(lines))
    code, out, err = cli("chat", "first")
    assert code == 0
    assert "broke off" in err, "an answer that fails does not end the conversation"
    assert out.index("You said: Hello") < out.index("You said: And now?") < out.index("You said: Again")
    talks = [[message["content"] for message in request[3]["messages"]] for request in echo.requests]
    assert talks == [
        ["Hello"],
        ["Hello", "You said: Hello", "break"],
        ["Hello", "You said: Hello", "And now?"],
        ["Again"],
    ]


def test_lines_of_standard_input_are_asked(cli, echo, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("One\n\nTwo\n"))
    code, out, _ = cli("chat", "first")
    assert code == 0
    assert out == "❯ One\nYou said: One\n❯ Two\nYou said: Two\n"
