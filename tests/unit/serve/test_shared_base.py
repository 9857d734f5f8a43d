"""One vLLM for all that serve one base, against the small server that speaks vLLM's protocol."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from quickalign.core.errors import OptionError, RunError
from quickalign.serve.engine import EngineCannotError, Generation, Load, Sampling
from quickalign.serve.engines.sharing import check_sharing, is_shared
from quickalign.serve.engines.vllm import environment, rendezvous
from quickalign.serve.engines.vllm.beginning import MARK, Beginning
from quickalign.serve.engines.vllm.claim import Claim, claim
from quickalign.serve.engines.vllm.core import VllmCore
from quickalign.serve.engines.vllm.load import load_vllm
from quickalign.serve.engines.vllm.ranks import rank_bucket, shared_bucket
from tests.support.runs import small_model

DOUBLE = Path(__file__).parents[2] / "doubles" / "vllm_double"
HOLDER = """
import json, sys
from quickalign.serve.engines.vllm.beginning import Beginning
from quickalign.serve.engines.vllm.claim import claim
held = claim(Beginning(**json.loads(sys.argv[1])), tuple(json.loads(sys.argv[2])))
print(held.keeper.pid, flush=True)
sys.stdin.read()
"""
SECONDS = 60.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, two adapters of other ranks, and an interpreter that has the double in vLLM's place."""
    folder = tmp_path_factory.mktemp("shared")
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={DOUBLE} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    for rank in (2, 3, 13):
        adapter(folder / f"rank{rank}", rank)
    adapter(folder / "rank2-again", 2)
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own, so that no other test shares its keeper; nothing runs in it afterwards."""
    monkeypatch.setenv("QUICKALIGN_HOME", str(tmp_path / "home"))
    yield tmp_path / "home"
    for process in psutil.process_iter(["cmdline"]):
        if str(tmp_path) in " ".join(process.info["cmdline"] or ()):
            process.kill()


def adapter(folder: Path, rank: int) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank}))
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


def beginning(folder: Path, home: Path, key: str = "one", **changes: Any) -> Beginning:
    values: dict[str, Any] = {
        "key": f"{key}-{home.parent.name}",
        "python": str(folder / "python"),
        "arguments": ("--model", str(home.parent / "model")),
        "settings": {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"},
        "model": "base",
        "probe": (1, 2),
        "weights_bytes": 123,
    }
    return Beginning(**(values | changes))


def named(folder: Path, rank: int) -> tuple[str, str]:
    return f"rank{rank}", str(folder / f"rank{rank}")


def told(held: Claim) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(f"{held.endpoint}/told", trust_env=False).json()
    return answer


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def all_gone(held: Claim, *pids: int) -> None:
    until(lambda: all(map(is_gone, (held.keeper.pid, *pids))))
    until(lambda: rendezvous.clients_of(held.keeper.key) == ())


def second_holder(begun: Beginning, named: tuple[str, str]) -> subprocess.Popen[str]:
    """A process of its own that holds a claim."""
    values = json.dumps({name: getattr(begun, name) for name in Beginning.__slots__})
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, values, json.dumps(named)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str], how: signal.Signals) -> None:
    process.send_signal(how)
    process.wait(SECONDS)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.stdout.close()


def test_two_share_one_server_and_the_last_ends_it(folder: Path, home: Path) -> None:
    begun = beginning(folder, home)
    one = claim(begun, named(folder, 2))
    two = claim(beginning(folder, home), named(folder, 3))
    again = claim(begun, ("rank2", str(folder / "rank2-again")))
    base = claim(begun, None)
    assert {one.endpoint, two.endpoint, again.endpoint, base.endpoint} == {one.endpoint}
    assert one.keeper == two.keeper
    assert [one.model, two.model, again.model, base.model] == ["rank2", "rank3", "rank2", "base"]
    assert one.weights_bytes == 123
    assert rendezvous.clients_of(begun.key) == (os.getpid(),) * 4
    assert set(told(one)["adapters"]) == {"rank2", "rank3"}
    two.end()
    until(lambda: set(told(one)["adapters"]) == {"rank2"})
    one.end()  # the folder it came from may go now; the other one's stays
    until(lambda: told(again)["adapters"] == {"rank2": str(folder / "rank2-again")})
    again.end()
    until(lambda: told(base)["adapters"] == {})
    base.check()
    pids = told(base)["pids"]
    assert Path(begun.log).exists()
    base.end()
    all_gone(base, *pids)
    assert not Path(begun.log).exists()


def test_a_keeper_stands_apart_from_who_starts_it(folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUICKALIGN_LEASE", "the replica's")
    held = claim(beginning(folder, home), None)
    assert os.getsid(held.keeper.pid) == held.keeper.pid
    environment = told(held)["environment"]
    assert "QUICKALIGN_LEASE" not in environment
    assert environment[MARK] == held.keeper.mark
    pids = told(held)["pids"]
    held.end()
    all_gone(held, *pids)


def test_two_that_come_at_once_start_one_keeper(folder: Path, home: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        held = list(pool.map(lambda _: claim(beginning(folder, home), named(folder, 2)), range(8)))
    assert len({one.keeper.pid for one in held}) == 1
    for one in held:
        one.end()
    all_gone(held[0])


def test_another_key_makes_another_keeper(folder: Path, home: Path) -> None:
    one, two = (claim(beginning(folder, home, key), None) for key in ("one", "two"))
    assert one.keeper.pid != two.keeper.pid
    assert one.endpoint != two.endpoint
    for held in (one, two):
        held.end()
        all_gone(held)


def test_a_client_that_is_killed_gives_its_claim_up(folder: Path, home: Path) -> None:
    begun = beginning(folder, home)
    killed = second_holder(begun, named(folder, 3))
    assert killed.stdout is not None
    keeper = int(killed.stdout.readline())
    held = claim(begun, named(folder, 2))
    assert held.keeper.pid == keeper, "the one that the other process started"
    assert set(told(held)["adapters"]) == {"rank2", "rank3"}
    ended(killed, signal.SIGKILL)
    until(lambda: set(told(held)["adapters"]) == {"rank2"})
    held.check()
    pids = told(held)["pids"]
    held.end()
    all_gone(held, *pids)


def test_the_last_client_that_is_killed_takes_everything_along(folder: Path, home: Path) -> None:
    begun = beginning(folder, home)
    killed = second_holder(begun, named(folder, 3))
    assert killed.stdout is not None
    keeper = int(killed.stdout.readline())
    held = claim(begun, None)
    pids = told(held)["pids"]
    held.end()
    ended(killed, signal.SIGKILL)
    until(lambda: all(map(is_gone, (keeper, *pids))))


def test_a_keeper_that_is_killed_takes_vllm_along_and_is_noticed(folder: Path, home: Path) -> None:
    held = claim(beginning(folder, home), None)
    pids = told(held)["pids"]
    os.kill(held.keeper.pid, signal.SIGKILL)
    all_gone(held, *pids)
    with pytest.raises(RunError, match="its keeper is gone"):
        held.check()
    held.end()
    after = claim(beginning(folder, home), None)
    assert after.keeper.pid != held.keeper.pid
    after.end()
    all_gone(after)


def test_a_vllm_that_dies_ends_its_keeper_and_says_why(folder: Path, home: Path) -> None:
    held = claim(beginning(folder, home), None)
    pids = told(held)["pids"]
    os.kill(pids[0], signal.SIGKILL)
    all_gone(held, *pids)
    with pytest.raises(RunError, match="exit code 137"):
        held.check()
    held.end()
    assert Path(beginning(folder, home).log).exists(), "what it said is kept"


def test_who_comes_while_the_last_goes_gets_a_vllm_that_lives(folder: Path, home: Path) -> None:
    for _ in range(3):
        held = claim(beginning(folder, home), None)
        held.end()
        following = claim(beginning(folder, home), None)
        assert httpx.get(f"{following.endpoint}/told", trust_env=False).status_code == 200
        following.check()
        following.end()
    all_gone(following)


def test_one_that_is_silent_or_speaks_nonsense_holds_nobody_up(folder: Path, home: Path) -> None:
    begun = beginning(folder, home)
    held = claim(begun, None)
    silent, odd = rendezvous.connect(begun.key), rendezvous.connect(begun.key)
    assert silent is not None
    assert odd is not None
    odd.sendall(b"\xff nonsense\n")
    assert odd.recv(10) == b"", "it is sent away"
    other = claim(begun, named(folder, 2))
    other.end()
    assert rendezvous.clients_of(begun.key) in ((os.getpid(),), (os.getpid(),) * 2)
    held.end()
    all_gone(held)  # the silent one is no claim
    silent.close()
    odd.close()


def test_another_user_is_refused(folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = beginning(folder, home)
    held = claim(begun, None)
    monkeypatch.setattr(rendezvous.os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(RunError, match=f"taken by the user {os.getuid()}"):
        claim(begun, None)
    assert rendezvous.clients_of(begun.key) is None
    monkeypatch.undo()
    held.end()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_keeper_answers_no_other_user(folder: Path, home: Path) -> None:
    begun = beginning(folder, home)
    held = claim(begun, None)
    ask = (
        "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1].encode());"
        "s.sendall(b'{\"who\": true}\\n'); print(s.recv(100))"
    )
    name = "@"  # an abstract name cannot be an argument
    script = ask.replace("sys.argv[1].encode()", repr(b"\0quickalign-vllm-" + begun.key.encode()))
    said = subprocess.run([sys.executable, "-c", script, name], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "b''"
    held.end()
    all_gone(held)


def test_an_adapter_that_cannot_be_loaded_harms_no_other(folder: Path, home: Path) -> None:
    begun = beginning(folder, home)
    held = claim(begun, None)
    with pytest.raises(EngineCannotError, match="the adapter cannot be read"):
        claim(begun, named(folder, 13))
    until(lambda: rendezvous.clients_of(begun.key) == (os.getpid(),))
    held.check()
    held.end()
    all_gone(held)


def test_a_vllm_that_does_not_start_is_told_by_its_own_words(folder: Path, home: Path) -> None:
    begun = beginning(folder, home, python=sys.executable)
    with pytest.raises(EngineCannotError, match=r"did not start.*No module named"):
        claim(begun, None)
    until(lambda: rendezvous.clients_of(begun.key) == ())


def test_keepers_that_end_without_a_word_are_given_up(
    folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RunError, match=r"could not be started.*share_base=false"):
        claim(beginning(folder, home), None)


def test_a_name_that_is_bound_and_not_listened_to_yet_is_waited_for(folder: Path, home: Path) -> None:
    """Another process is between the two steps."""
    begun = beginning(folder, home)
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(b"\0quickalign-vllm-" + begun.key.encode())
    threading.Timer(0.3, bound.close).start()
    held = claim(begun, None)
    held.end()
    all_gone(held)


class TestTheEngine:
    """The same through `load_vllm`, as a replica's engine does."""

    @pytest.fixture
    def wanted(self, folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Load]:
        monkeypatch.setenv(environment.PYTHON_VARIABLE, str(folder / "python"))
        if not (folder / "model").exists():
            small_model(seed=2).save_pretrained(folder / "model")

        def make(**changes: Any) -> Load:
            load = Load("vllm", str(folder / "model"), None, "none", ("fp32",), 2, 256, share_base=True)
            return replace(load, **changes)

        return make

    def test_one_base_many_answers_and_what_is_told(self, wanted: Callable[..., Load]) -> None:
        one, two = load_vllm(wanted()), load_vllm(wanted(slots=5))
        other = load_vllm(wanted(context=128))
        assert one.info.keeper == two.info.keeper
        assert one.info.keeper is not None
        assert other.info.keeper is not None
        assert other.info.keeper.pid != one.info.keeper.pid
        held = one._server
        assert isinstance(held, Claim)
        arguments = " ".join(told(held)["argv"])
        assert "--enable-lora --max-loras 4 --max-cpu-loras 32 --max-lora-rank 64" in arguments
        assert told(held)["environment"]["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
        for core in (one, two, other):
            core.add(1, Generation((5, 20), Sampling(max_tokens=2)))
            assert tokens(core) == [21, 22]
            core.close()
        all_gone(held)

    def test_a_replica_has_no_more_answers_open_than_its_own_slots(self, wanted: Callable[..., Load]) -> None:
        core = load_vllm(wanted(slots=2))
        for number in (1, 2):
            core.add(number, Generation((904, 20), Sampling(max_tokens=10_000)))
        core.add(3, Generation((5, 20), Sampling(max_tokens=2), choices=9))
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            assert {number for number, _ in core.step()} <= {1, 2}
        core.cancel(1, None)
        core.cancel(2, None)
        assert sorted(tokens(core)) == [21] * 9 + [22] * 9
        core.close()

    def test_an_idle_engine_notices_that_the_base_is_gone(self, wanted: Callable[..., Load]) -> None:
        core = load_vllm(wanted())
        assert core.info.keeper is not None
        core.check()
        os.kill(core.info.keeper.pid, signal.SIGKILL)
        assert core.idle
        until(lambda: rendezvous.clients_of(core.info.keeper.key if core.info.keeper else "") == ())
        with pytest.raises(RunError, match="services share has ended"):
            core.check()
        core.close()

    def test_a_base_quantised_in_training_is_not_shared(self, wanted: Callable[..., Load]) -> None:
        with pytest.raises(
            OptionError, match=r"share_base=true.*load_in_4bit=true.*set it to false.*load_in_4bit=false"
        ):
            load_vllm(wanted(quantization="4bit"))


def tokens(core: VllmCore) -> list[int | None]:
    out = []
    deadline = time.monotonic() + SECONDS
    while not core.idle:
        assert time.monotonic() < deadline
        out += [one.token for _, one in core.step()]
    return out


def test_where_a_base_is_shared_by_itself() -> None:
    assert is_shared(None, "none", "cuda")
    assert not is_shared(None, "4bit", "cuda")
    assert not is_shared(None, "none", "cpu")
    assert is_shared(True, "none", "cpu")
    assert not is_shared(False, "none", "cuda")
    with pytest.raises(OptionError, match=r"share_base=true is not possible with engine=openvino.*engine=vllm"):
        check_sharing(True, "openvino")
    check_sharing(True, "vllm")
    check_sharing(None, "openvino")


def test_the_rank_that_room_is_made_for(tmp_path: Path) -> None:
    assert rank_bucket(str(adapter(tmp_path / "a", 33))) == 64
    assert shared_bucket(None) == shared_bucket(str(adapter(tmp_path / "b", 4))) == 64
    assert shared_bucket(str(adapter(tmp_path / "c", 65))) == 128
    with pytest.raises(EngineCannotError, match="rank 600"):
        rank_bucket(str(adapter(tmp_path / "d", 600)))
