"""Services whose program makes its own replicas on a cluster: what it is told, and what its end means."""

import pytest

from quickalign.core.errors import OptionError
from quickalign.core.program import AWAY
from quickalign.core.wire.services import Autoscaling, ServiceState, ServiceUpdate
from quickalign.platform.config import Config, RayConfig
from quickalign.platform.services.starting import CLUSTER_SERVER
from tests.support.services import CALM, Stage, spec_of

BOUNDS = Autoscaling(min=0, max=4, ongoing_requests=6, quiet_seconds=60)
NOBODY = "http://127.0.0.1:9"
ON_CLUSTER = Config(
    **CALM.model_dump(include={"retry_seconds", "retry_seconds_max", "service_start_seconds", "service_retries"}),
    executor="ray",
    ray=RayConfig(address=NOBODY),
)


@pytest.fixture
def stage(tmp_path):
    found = Stage(tmp_path / "home", config=ON_CLUSTER)
    yield found
    found.platform.close()


def test_the_program_is_told_its_application_and_bounds(stage):
    service = stage.running(spec={"autoscaling": BOUNDS})
    (run,) = stage.world.alive()
    told = spec_of(run)
    replica = service.replicas[0].id
    assert run.launch.command[: len(CLUSTER_SERVER)] == CLUSTER_SERVER
    assert told["application"] == f"quickalign-{replica}-1"
    assert told["autoscaling"] == BOUNDS.model_dump()
    assert told["wait_seconds"] == ON_CLUSTER.service_wait_seconds
    assert told["memory_bytes"] > 0
    assert (run.launch.device, run.launch.cpus) == (None, 0)  # its replicas reserve what they take


def test_other_bounds_are_another_revision(stage):
    service = stage.running(spec={"autoscaling": BOUNDS})
    wider = service.revisions[0].spec.model_copy(update={"autoscaling": Autoscaling(max=8)})
    stage.services.update(service.id, ServiceUpdate(spec=wider))
    stage.tick()
    names = {spec_of(run)["application"] for run in stage.world.runs.values()}
    assert len(names) == 2
    stage.all_ready()
    stage.tick()
    assert stage.services.get(service.id).revision == 2


def test_a_cluster_that_is_away_is_nobodys_crash(stage):
    service = stage.running()
    for _ in range(2 * ON_CLUSTER.service_retries + 2):
        for run in stage.world.waiting():
            stage.world.arrive(run)
        (run,) = stage.world.alive()
        stage.world.end(run, AWAY)
        stage.tick()
        stage.tick(ON_CLUSTER.retry_seconds_max)
        stage.tick()
    found = stage.services.get(service.id)
    assert found.state is ServiceState.STARTING
    assert found.revisions[0].reason is None
    stage.all_ready()
    stage.tick()
    assert stage.services.get(service.id).state is ServiceState.RUNNING


def test_on_one_machine_it_is_refused_by_name(tmp_path):
    stage = Stage(tmp_path / "home")
    with pytest.raises(OptionError, match="autoscaling is not possible") as caught:
        stage.create(spec={"autoscaling": BOUNDS})
    assert caught.value.field == "spec.autoscaling"
    service = stage.running()
    assert "application" not in spec_of(stage.world.alive()[0])
    with pytest.raises(OptionError, match="autoscaling is not possible"):
        stage.services.update(service.id, ServiceUpdate(spec=stage.spec(autoscaling=BOUNDS)))
    stage.platform.close()
