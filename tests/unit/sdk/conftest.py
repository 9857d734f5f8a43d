"""A server in memory, and sessions with it."""

import httpx
import pytest

from quickalign.sdk import session as sessions
from quickalign.sdk.client import Client
from quickalign.sdk.session import Session
from tests.support.fake_api import ENDPOINT, TOKEN, FakeApi


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """A home of its own, no server configured, no default session, and none that could be started."""
    monkeypatch.setenv("QUICKALIGN_HOME", str(tmp_path / "home"))
    for name in ("QUICKALIGN_ENDPOINT", "QUICKALIGN_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sessions, "_default", None)
    return tmp_path / "home"


@pytest.fixture
def api():
    return FakeApi()


@pytest.fixture
def remote(api, monkeypatch):
    """A session with a server that is named by its address."""
    transport = httpx.MockTransport(api.answer)
    monkeypatch.setattr(
        sessions, "Client", lambda place, **more: Client(place, transport=transport, sleep=lambda _: None, **more)
    )
    return Session(endpoint=ENDPOINT, token=TOKEN)


@pytest.fixture
def own(remote, monkeypatch):
    """A session with a server of this home."""
    monkeypatch.setattr(sessions.discover, "find_or_start", lambda home: sessions.Place(ENDPOINT, TOKEN, home))
    return Session()
