"""Which services share a base, what is refused, what each takes, and what is said of it; nothing is loaded."""

import json
import os
import sys

import psutil
import pytest

from quickalign.core.errors import OptionError
from quickalign.core.wire.services import ServiceState, ServiceUpdate, Source
from quickalign.platform.config import Config, RayConfig
from quickalign.platform.devices import Device
from quickalign.platform.processes import identify
from quickalign.platform.services import keepers
from quickalign.serve.engines.vllm import environment
from tests.support.platforms import GIB
from tests.support.services import Stage, get_ready, spec_of

S = ServiceState
MODEL = "qwen2-tiny-instruct"
GPU = Device("cuda", 0, "GPU 0", 24 * GIB, 1)
CPU = Device("cpu", 0, "CPU", 64 * GIB, 1)
WEIGHTS = 10 << 20


@pytest.fixture
def gpu(tmp_path, monkeypatch):
    """A stage with a GPU, where vLLM counts as installed."""
    monkeypatch.setenv(environment.PYTHON_VARIABLE, sys.executable)
    opened = Stage(tmp_path / "home", devices=(CPU, GPU))
    yield opened
    opened.platform.close()


def adapter(folder, rank=4, **manifest):
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank, "base_model_name_or_path": MODEL}))
    (folder / "adapter_model.safetensors").write_bytes(bytes(WEIGHTS))
    if manifest:
        (folder / "quickalign.json").write_text(json.dumps(manifest))
    return str(folder)


def spec(stage, folder=None, **changes):
    """A specification of vLLM on the tiny model."""
    source = Source(model=MODEL, adapter=folder)
    return stage.spec(**({"source": source, "engine": "vllm"} | changes))


def made(stage, name, folder=None, **changes):
    options = {key: changes.pop(key) for key in ("gpus", "replicas") if key in changes}
    values = spec(stage, folder, **changes).model_dump(exclude_unset=True)
    return stage.create(name, spec=values, **options)


def reserved(stage, index=1):
    return stage.platform.system().devices[index]


def test_services_of_one_base_take_it_once_and_the_view_says_so(gpu, tmp_path):
    made(gpu, "one", adapter(tmp_path / "a"))
    gpu.tick()
    alone = reserved(gpu).reserved_bytes
    made(gpu, "two", adapter(tmp_path / "b", rank=8))
    made(gpu, "plain")
    gpu.tick()
    device = reserved(gpu)
    [base] = device.bases
    assert (base.name, base.services) == (MODEL, ("one", "two", "plain"))
    assert device.reserved_bytes == 3 * alone - 2 * base.memory_bytes - WEIGHTS, "the plain one has no adapter"
    assert gpu.services.get("two").revisions[0].shared_base == MODEL
    assert spec_of(gpu.world.waiting()[0]).get("share_base") is None, "the replica finds out by itself"


def test_an_adapter_of_its_own_names_the_same_base_as_one_on_a_model(gpu, tmp_path):
    made(gpu, "pair", adapter(tmp_path / "a"))
    made(gpu, "lone", source={"adapter": adapter(tmp_path / "b")})
    gpu.tick()
    assert reserved(gpu).bases[0].services == ("pair", "lone")


@pytest.mark.parametrize(
    "other", [{"context": 64}, {"precision": "fp32"}, {"share_base": False}, {"engine": "transformers"}, {"gpus": 0}]
)
def test_what_differs_has_a_base_of_its_own(gpu, other):
    made(gpu, "one")
    made(gpu, "two", **other)
    gpu.tick()
    [base] = [base for base in reserved(gpu).bases if "one" in base.services]
    assert base.services == ("one",)


def test_a_rank_that_needs_more_room_has_a_base_of_its_own(gpu, tmp_path):
    made(gpu, "one", adapter(tmp_path / "a"))
    made(gpu, "two", adapter(tmp_path / "b", rank=100))
    gpu.tick()
    assert [base.services for base in reserved(gpu).bases] == [("one",), ("two",)]


def test_on_a_cpu_it_is_shared_where_that_is_asked_for(gpu):
    for name in ("one", "two"):
        made(gpu, name, gpus=0, share_base=True)
    gpu.tick()
    assert reserved(gpu, 0).bases[0].services == ("one", "two")
    assert spec_of(gpu.world.waiting()[0])["share_base"] is True


def test_what_cannot_be_shared_is_refused_when_it_is_asked_for(gpu, tmp_path):
    trained = adapter(tmp_path / "a", hyperparameters={"load_in_4bit": True, "lora_dim": 4})
    with pytest.raises(OptionError, match=r"share_base=true.*load_in_4bit=true.*set it to false"):
        made(gpu, "one", trained, share_base=True)
    with pytest.raises(OptionError, match=r"share_base=true.*engine=transformers.*engine=vllm") as refused:
        made(gpu, "one", engine="transformers", share_base=True)
    assert (refused.value.field, refused.value.value) == ("spec.share_base", True)
    with pytest.raises(OptionError, match=r"share_base=true.*weights=int8.*Leave weights out"):
        made(gpu, "one", weights="int8", share_base=True)
    made(gpu, "one", trained)  # by itself it is not shared, and is served
    gpu.tick()
    assert reserved(gpu).bases == ()
    with pytest.raises(OptionError, match="load_in_4bit"):
        gpu.services.update("one", ServiceUpdate(spec=spec(gpu, trained, share_base=True)))


def test_on_a_cluster_it_is_refused_and_never_done_by_itself(tmp_path, monkeypatch):
    monkeypatch.setenv(environment.PYTHON_VARIABLE, sys.executable)
    config = Config(executor="ray", ray=RayConfig(address="http://127.0.0.1:9"))
    stage = Stage(tmp_path / "home", devices=(CPU, GPU), config=config)
    try:
        with pytest.raises(OptionError, match=r"share_base=true.*executor=ray"):
            made(stage, "one", share_base=True)
        made(stage, "one")
        stage.tick()
        assert spec_of(stage.world.waiting()[0])["share_base"] is False
        assert reserved(stage).bases == ()
    finally:
        stage.platform.close()


def test_a_replica_that_has_a_base_of_its_own_after_all_counts_whole(gpu):
    made(gpu, "one")
    gpu.tick()
    gpu.all_ready()  # its ready file names no keeper
    gpu.tick()
    assert gpu.services.get("one").state is S.RUNNING
    assert reserved(gpu).bases == ()
    assert gpu.services.get("one").revisions[0].shared_base is None


def test_who_keeps_it_stands_with_the_replica_and_goes_with_its_process(gpu):
    made(gpu, "one")
    gpu.tick()
    [run] = gpu.world.waiting()
    gpu.world.arrive(run)
    get_ready(run, keeper={"key": "k", "pid": os.getpid(), "mark": "none"})
    gpu.tick()
    [replica] = gpu.services.get("one").replicas
    assert replica.keeper == os.getpid()
    gpu.world.end(run, 1)
    gpu.tick()
    assert gpu.services.get("one").replicas[0].keeper is None


class _Row:
    """What `prove` looks at of a replica's row."""

    def __init__(self, pid, key="nobody", mark="none"):
        found = identify(pid)
        self.keeper = {"key": key, "pid": pid, "mark": mark, "bytes": 7, "identities": [found.model_dump()]}


def test_a_keeper_is_proved_gone_when_nobody_else_uses_it(monkeypatch):
    keeper = psutil.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    row = _Row(keeper.pid)
    assert keepers.prove(row, late=False) is None, "it is there for nobody, so it will end"
    monkeypatch.setattr(keepers, "clients_of", lambda key: (os.getpid(),))
    assert keepers.prove(row, late=False).processes == (), "others use it"
    monkeypatch.setattr(keepers, "clients_of", lambda key: (2**22 - 1,))
    assert keepers.prove(row, late=False) is None, "its client is gone, and it has not noticed yet"
    monkeypatch.setattr(keepers, "clients_of", lambda key: None)
    assert keepers.prove(row, late=True) is None, "it does not answer, and is killed"
    keeper.wait(20)
    freed = keepers.prove(row, late=False)
    assert (freed.processes, freed.memory_bytes) == ((keeper.pid,), 7)
