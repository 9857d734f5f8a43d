import pytest
from starlette.testclient import TestClient

from tests.support.signing import OssSigner, PaiSigner


@pytest.fixture
def key(platform):
    made, secret = platform.access_keys.create("test")
    return made.id, secret


@pytest.fixture
def pai(app, key):
    """Calls an action; gives the answer."""
    with TestClient(app, base_url="http://127.0.0.1") as client:

        def call(action, method, path, *, body=None, signer=None, **query):
            headers = {"x-acs-action": action, "x-acs-version": "2021-02-04", "accept": "application/json"}
            signed = signer or PaiSigner(*key)
            return client.request(method, path, params=query, json=body, headers=headers, auth=signed)

        yield call


@pytest.fixture
def oss(app, key):
    with TestClient(app, base_url="http://127.0.0.1") as client:

        def call(method, path, *, signer=None, **options):
            return client.request(method, path, auth=signer or OssSigner(*key), **options)

        yield call
