"""One server and two stub replicas for all tests of a module; each test begins with no services and no memory."""

import contextlib

import httpx
import pytest

from quickalign.api.app import make_app
from tests.support.gateways import FakeEndpoints, running, stub_replicas
from tests.support.platforms import FAST, open_stub


@pytest.fixture(scope="module")
def config():
    return FAST.model_copy(update={"service_wait_seconds": 0.3})


@pytest.fixture(scope="module")
def platform(tmp_path_factory, config):
    opened = open_stub(tmp_path_factory.mktemp("gateway") / "home", config=config)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def _stubs():
    with stub_replicas(2) as started:
        yield started


@pytest.fixture(scope="module")
def _endpoints():
    return FakeEndpoints()


@pytest.fixture(scope="module")
def app(platform, _endpoints):
    return make_app(platform, endpoints=_endpoints)


@pytest.fixture(scope="module")
def address(app):
    with running(app) as found:
        yield found


@pytest.fixture
def endpoints(_endpoints, app):
    _endpoints.forget()
    app.state.gateway.figures.forget()
    return _endpoints


@pytest.fixture
def stubs(_stubs):
    for stub in _stubs:
        stub.forget()
    return _stubs


@pytest.fixture
def client(address):
    with httpx.Client(base_url=address, timeout=20, trust_env=False) as opened:
        yield opened


@pytest.fixture
def service(endpoints, stubs):
    """The service `one` on both stub replicas."""
    return endpoints.add("one", *(stub.upstream for stub in stubs), model_names=("one", "ft:base:q:one:abc"))


@pytest.fixture
def ask(client, service):
    """Ask `one` with a message that tells the stub replica what to do."""

    def send(order, *, path="/services/one/v1/chat/completions", token="qs-one", model="default", **more):
        body = {"model": model, "messages": [{"role": "user", "content": order}]}
        return client.post(path, json=body, headers={"Authorization": f"Bearer {token}"} | more.pop("headers", {}))

    return send


@pytest.fixture
def held(client, service):
    """A stream of `one` that has begun; yields what is left of it."""

    @contextlib.contextmanager
    def hold(order, token="qs-one"):
        body = {"model": "default", "messages": [{"role": "user", "content": order}]}
        path, headers = "/services/one/v1/chat/completions", {"Authorization": token}
        with client.stream("POST", path, json=body, headers=headers) as answer:
            rest = answer.iter_raw()
            next(rest)
            yield rest

    return hold


@pytest.fixture
def all_stubs(stubs):
    """Let every stub do the same, whatever it is asked."""

    def tell(order):
        for stub in stubs:
            stub.override = order

    return tell
