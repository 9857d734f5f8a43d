"""From settings to executors, and what is said of clusters that cannot be used."""

import logging

import pytest

from quickalign.core.errors import AccessError, OptionError
from quickalign.platform import config as configs
from quickalign.platform.config import Config, RayConfig
from quickalign.platform.executors import machines, ray_probe
from quickalign.platform.executors.local import LocalExecutor
from quickalign.platform.executors.machines import find_machines, pool
from quickalign.platform.executors.ray import RayExecutor
from quickalign.platform.executors.ray_jobs import Node
from quickalign.platform.home import Home
from tests.support.absent import take_away
from tests.support.fake_ray import FakeRay, node
from tests.support.platforms import cpu

ON_RAY = Config.model_validate({"executor": "ray", "ray": {"address": "http://head:8265"}})


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home")
    home.make()
    return home


@pytest.fixture
def ray(monkeypatch):
    ray = FakeRay(room=1)
    monkeypatch.setattr(machines, "RayJobs", lambda address, token: ray.client(token))
    monkeypatch.setattr(ray_probe, "_PAUSE_SECONDS", 0.05)
    return ray


def test_this_machine(home):
    found = find_machines(Config(), home, cpu(2))
    assert isinstance(found.jobs, LocalExecutor)
    assert found.devices == cpu(2)
    found.close()


def test_a_cluster_is_asked_once_whether_it_sees_the_home(home, ray):
    for _ in range(2):
        found = find_machines(ON_RAY, home)
        assert isinstance(found.jobs, RayExecutor)
        assert [device.name for device in found.devices] == ["Ray cluster, 3 nodes, 3 CPUs"]
        found.close()
    assert sum(asked == "POST /api/jobs/" for asked in ray.asked) == 1
    assert not list(home.jobs.iterdir())


@pytest.mark.parametrize(("code", "said"), [(21, "do not see the home"), (22, "have no quickalign"), (9, "cannot run")])
def test_a_cluster_that_cannot_run_what_lies_in_the_home(home, ray, monkeypatch, code, said):
    monkeypatch.setattr(ray_probe, "_script", lambda mark, python: f"exit {code}")
    with pytest.raises(OptionError, match=said):
        find_machines(ON_RAY, home)


def test_a_cluster_without_room_is_no_mistake(home, ray, monkeypatch):
    ray.room = 0
    monkeypatch.setattr(ray_probe, "_SECONDS", 0.1)
    find_machines(ON_RAY, home).close()
    assert [known.status for known in ray.jobs.values()] == ["STOPPED"]


def test_a_cluster_that_is_away_is_waited_for(home, ray, caplog):
    ray.away = True
    with caplog.at_level(logging.WARNING):
        found = find_machines(ON_RAY, home)
    assert "Jobs wait for it" in caplog.text
    assert found.devices[0].kind == "cpu"


def test_a_cluster_that_refuses_the_token_is_a_mistake(home, ray):
    ray.token = "right"
    with pytest.raises(AccessError, match="refuses the token"):
        find_machines(ON_RAY, home)


def test_a_local_cluster_needs_ray(home, monkeypatch):
    take_away(monkeypatch, "ray")
    config = Config.model_validate({"executor": "ray", "ray": {"address": "local"}})
    with pytest.raises(OptionError, match=r"pip install 'quickalign\[ray\]'"):
        find_machines(config, home)


def test_the_cluster_as_devices():
    nodes = [Node(8, 0, 32e9), Node(16, 4, 256e9, 80 << 30)]
    processors, cards = pool(nodes, RayConfig(jobs=50))
    assert (processors.total_bytes, processors.most_bytes, processors.slots) == (288e9, 256e9, 50)
    assert (cards.kind, cards.most_bytes, cards.total_bytes) == ("cuda", 80 << 30, 320 << 30)
    assert [device.kind for device in pool(nodes[:1], RayConfig())] == ["cpu"]
    assert pool(nodes[:1], RayConfig(card_gb=24))[1].most_bytes == 24e9


def test_cards_without_a_size_are_not_offered(caplog):
    assert [device.kind for device in pool([Node(8, 1, 32e9)], RayConfig())] == ["cpu"]
    assert "card_gb" in caplog.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('executor = "ray"', "needs ray.address"),
        ('[ray]\naddress = "http://head:8265"', "nothing uses it"),
        ('executor = "ray"\n[ray]\naddress = "ray://head:10001"', "begin with http"),
        ('executor = "ray"\ncpu_jobs = 2\n[ray]\naddress = "local"', "cpu_jobs is of this machine"),
        ('executor = "ray"\n[ray]\naddress = "local"\ntoken_file = "/t"', "makes its own token"),
        ('executor = "ray"\n[ray]\naddress = "local"\nnodes = 3', "ray.nodes"),
        ('executor = "slurm"', "executor"),
    ],
)
def test_settings_that_say_nothing_are_refused(tmp_path, text, said):
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(OptionError, match=said):
        configs.load(tmp_path)


def test_a_node_that_says_nothing_of_itself():
    ray = FakeRay(nodes=[{"raylet": {"state": "ALIVE"}}, node()])
    assert len(ray.client().nodes()) == 2
