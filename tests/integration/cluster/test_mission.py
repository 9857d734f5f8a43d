"""The mission's own script on a home whose jobs and services run on a Ray cluster of three nodes."""

import pytest

from tests.integration.sdk.test_mission import execute, script
from tests.support.ray_cluster import TOKEN, ray_cluster
from tests.support.replicas import ENVIRONMENT

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.timeout(1200)]


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Settings of a server that uses a cluster, which is there for the time of the test."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text(TOKEN)
    with ray_cluster(cpus=2) as cluster:
        yield f'executor = "ray"\n\n[ray]\naddress = "{cluster.url}"\ntoken_file = "{token}"\n'


def test_the_mission_s_script_on_three_nodes(config, tmp_path):
    told = execute(script(), tmp_path, config)
    assert "succeeded." in told
    assert "running" in told
    lines = told.strip().splitlines()
    assert lines[-1].strip(), "the answer is the last that is printed"
