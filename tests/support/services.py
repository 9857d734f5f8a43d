"""Services without processes: a platform on a fake world, and what the replicas in it do."""

import json
from pathlib import Path
from typing import Any

from quickalign.core.wire.services import RevisionSpec, Service, ServiceCreate, ServiceState, Source
from quickalign.platform.config import Config
from quickalign.platform.context import Platform
from quickalign.platform.devices import Device
from tests.support.fake_executor import FakeExecutor, Run, World
from tests.support.platforms import GIB

S = ServiceState
CALM = Config(
    retry_seconds=10, retry_seconds_max=60, service_start_seconds=100, service_stop_seconds=30, service_retries=2
)


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


class Health:
    """What replicas say when they are asked how they are, by their endpoint."""

    def __init__(self) -> None:
        self.sick: set[str] = set()

    def __call__(self, endpoint: str, token: str) -> bool:
        return endpoint not in self.sick


class Stage:
    """A platform whose replicas are runs of a world, moved on by the test."""

    def __init__(self, home: Path, **options: Any) -> None:
        self.world, self.job_world = World(), World()
        self.clock, self.health = Clock(), Health()
        self.home = home
        self.options = {"config": CALM, "devices": (Device("cpu", 0, "CPU", 64 * GIB, 1),)} | options
        self.model = write_model(home.parent / "model")
        self.platform = self.open()

    def open(self) -> Platform:
        return Platform.open(
            self.home,
            executor=FakeExecutor(self.job_world),
            replicas=FakeExecutor(self.world),
            clock=self.clock,
            probe=self.health,
            **self.options,
        )

    def reopen(self) -> None:
        """The server is killed, and another one comes."""
        self.platform.close()
        self.platform = self.open()

    @property
    def services(self) -> Any:
        return self.platform.services

    def tick(self, seconds: float = 0.0) -> None:
        self.clock.now += seconds
        self.platform.service_reconciler.tick()

    def create(self, name: str = "tiny", **changes: Any) -> Service:
        return self.services.create(self.request(name, **changes))

    def request(self, name: str = "tiny", **changes: Any) -> ServiceCreate:
        spec = changes.pop("spec", {})
        return ServiceCreate(name=name, spec=self.spec(**spec), **changes)

    def spec(self, **changes: Any) -> RevisionSpec:
        return RevisionSpec(**({"source": Source(model=str(self.model))} | changes))

    def running(self, name: str = "tiny", **changes: Any) -> Service:
        """A service all of whose replicas are ready."""
        service = self.create(name, **changes)
        self.tick()
        self.all_ready()
        self.tick()
        found = self.services.get(service.id)
        assert found.state is S.RUNNING, found.reason
        return found

    def all_ready(self) -> None:
        for run in self.world.waiting():
            self.world.arrive(run)
        for run in self.world.alive():
            get_ready(run)

    def runs(self, replica: str) -> list[Run]:
        """The starts of a replica, oldest first."""
        return [run for run in self.world.runs.values() if run.attempt.job.endswith(replica)]

    def run_of(self, replica: str) -> Run:
        return self.runs(replica)[-1]

    def finish_stopping(self) -> None:
        """Whatever was asked to end ends."""
        for _ in range(3):
            self.tick(2.0)
            for run in self.world.alive():
                if run.asked_to_stop:
                    self.world.end(run, 0)
        self.tick()


def spec_of(run: Run) -> dict[str, Any]:
    """The specification that a replica was given."""
    found: dict[str, Any] = json.loads(Path(run.launch.command[-1]).read_text())
    return found


def endpoint_of(run: Run) -> str:
    """Where the replica would listen; nobody does at such a low port."""
    return f"http://127.0.0.1:{run.number % 7 + 1}"


def get_ready(run: Run, **changes: Any) -> None:
    """The replica writes its ready file."""
    told = {
        "endpoint": endpoint_of(run),
        "pid": run.pid,
        "engine": "transformers",
        "precision": "fp32",
        "context": 512,
        "weights_bytes": 1000,
        "limit": 80,
        "proof": [{"name": "streamed answer", "passed": True, "seen": "HTTP 200."}],
    }
    Path(spec_of(run)["ready_file"]).write_text(json.dumps(told | changes))


def write_model(folder: Path, weights: bytes = b"weights") -> Path:
    """A folder that looks like a model's to who does not load it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder
