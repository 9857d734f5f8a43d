"""Ray Jobs over HTTP, against a double of its dashboard."""

import pytest

from quickalign.core.errors import AccessError, OptionError, UnavailableError
from quickalign.platform.executors.ray_jobs import Node, read_token
from tests.support.fake_ray import FakeRay, node

SHARE = {"num_cpus": 1.0, "num_gpus": 0, "memory": 0}


@pytest.fixture
def ray():
    return FakeRay()


def test_a_job_from_beginning_to_end(ray):
    jobs = ray.client()
    jobs.submit("one", "true", {"A": "1"}, SHARE)
    assert jobs.find("one").status == "PENDING"
    body = ray.jobs["one"].body
    assert (body["entrypoint_num_cpus"], body["runtime_env"]) == (1.0, {"env_vars": {"A": "1"}})
    jobs.submit("one", "false", {}, SHARE)  # it is there already, and stays as it was
    assert ray.jobs["one"].body["entrypoint"] == "true"
    jobs.stop("one")
    assert jobs.find("one").is_over
    jobs.forget("one")
    assert jobs.find("one") is None
    jobs.stop("one")
    jobs.forget("one")


def test_what_the_nodes_offer(ray):
    ray.nodes = [node(8, 2, 64e9, 81559), node(state="DEAD"), {"hostname": "just seen"}]
    assert ray.client().nodes() == [Node(8, 2, 64e9, 81559 << 20)]


def test_a_head_that_does_not_answer_is_left_alone_for_a_while(ray):
    now = [0.0]
    jobs = ray.client(clock=lambda: now[0])
    ray.away = True
    for _ in range(5):
        with pytest.raises(UnavailableError, match="does not answer: connection refused"):
            jobs.find("one")
    assert len(ray.asked) == 1
    ray.away = False
    with pytest.raises(UnavailableError):
        jobs.find("one")
    now[0] = 6.0
    assert jobs.find("one") is None


def test_the_token_is_needed(ray):
    ray.token = "right"
    ray.client("right").check()
    for wrong in (None, "wrong"):
        with pytest.raises(AccessError, match=r"refuses the token.*ray.token_file"):
            ray.client(wrong).check()


@pytest.mark.parametrize(("version", "said"), [("2.59.1", "has version 2.59.1"), ("nginx", "is no Ray cluster")])
def test_what_is_not_such_a_cluster_is_refused(ray, version, said):
    ray.version = version
    with pytest.raises(OptionError, match=said):
        ray.client().check()


def test_the_token_s_file_is_its_owner_s_alone(tmp_path):
    file = tmp_path / "token"
    with pytest.raises(AccessError, match="cannot be read"):
        read_token(file)
    file.touch(0o600)
    with pytest.raises(AccessError, match="is empty"):
        read_token(file)
    file.write_text("secret\n")
    assert read_token(file) == "secret"
    file.chmod(0o644)
    with pytest.raises(AccessError, match="chmod 600"):
        read_token(file)
