"""The quickstart's service: named after the run, asked through the stock client, and gone where that does not end well."""

from pathlib import Path

import httpx
import pytest

from quickalign.cli import served as last_act
from quickalign.cli.draw.served import served_view
from quickalign.cli.served import QUESTIONS, serve
from quickalign.cli.terminal import screen
from quickalign.core.errors import Interrupted, ModelError
from quickalign.core.wire.services import ServiceState
from quickalign.sdk import service_wait
from quickalign.sdk import session as sessions
from quickalign.sdk.client import Client
from quickalign.sdk.place import Place
from quickalign.sdk.session import Session
from tests.support.echo_service import echo_service
from tests.support.fake_api import TOKEN, FakeApi


@pytest.fixture
def api(monkeypatch):
    """The server of this home, whose services answer at `echo`."""
    made = FakeApi()
    transport = httpx.MockTransport(made.answer)
    monkeypatch.setattr(sessions, "Client", lambda place, **more: Client(place, transport=transport, **more))
    monkeypatch.setattr(service_wait, "_LOOK_SECONDS", 0.0)
    with echo_service() as echo:
        place = lambda home: Place(echo.endpoint, TOKEN, home)  # noqa: E731
        monkeypatch.setattr(sessions.discover, "find_or_start", place)
        made.echo = echo
        yield made


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "runs" / "quickstart-1"
    (folder / "adapter").mkdir(parents=True)
    (folder / "adapter" / "adapter_config.json").touch()
    return folder


def test_the_run_is_deployed_and_asked(api, run, capsys):
    told = []
    found = serve(Session(), run, told.append)
    assert api.services.asked[0]["name"] == "quickstart-1"
    assert api.services.asked[0]["spec"] == {"source": {"model": str(run)}}
    assert api.services.asked[0]["idle_stop_seconds"] == last_act.IDLE_STOP_SECONDS
    assert [service.state for service in told][-1] is ServiceState.RUNNING
    assert found.answers == tuple((question, f"You said: {question}") for question in QUESTIONS)
    assert {request[3]["temperature"] for request in api.echo.requests} == {0}
    screen().print(served_view(found, f"You said: {QUESTIONS[0]}"))
    shown = capsys.readouterr().out
    order = [QUESTIONS[0], "✓ word for word", QUESTIONS[1], "/services/quickstart-1/v1", "1 of 1 checks passed",
             "quickalign chat quickstart-1", "30 min", "quickalign services delete quickstart-1"]  # fmt: skip
    assert [shown.index(part) for part in order] == sorted(shown.index(part) for part in order)
    screen().print(served_view(found, "Something else."))
    assert "– not word for word" in capsys.readouterr().out


def test_a_taken_name_gets_an_ending(api, run):
    assert [serve(Session(), run, lambda service: None).name.startswith("quickstart-1") for _ in range(2)] == [True] * 2
    names = [service.name for service in api.services.found.values()]
    assert len(set(names)) == 2


def states(api):
    return [service.state for service in api.services.found.values()]


def test_a_service_that_fails_is_deleted_again(api, run):
    api.services.fails = True
    with pytest.raises(ModelError, match="greedy answers differ"):
        serve(Session(), run, lambda service: None)
    assert states(api) == [ServiceState.DELETING]


def test_ctrl_c_leaves_nothing_running(api, run):
    def interrupted(service):
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="quickstart-1 is deleted again") as caught:
        serve(Session(), run, interrupted)
    assert f"quickalign deploy {run}" in caught.value.remedy
    assert states(api) == [ServiceState.DELETING]


def test_a_server_elsewhere_is_left_alone(cli, api, monkeypatch, tmp_path, run):
    from quickalign.cli.commands import quickstart

    monkeypatch.setenv("QUICKALIGN_ENDPOINT", "http://elsewhere:1")
    monkeypatch.setenv("QUICKALIGN_TOKEN", "t")
    quickstart._serve_as_json(Path(run))
    assert api.services.asked == []
