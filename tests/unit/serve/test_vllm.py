"""The engine on vLLM against a small server that speaks its protocol; against vLLM itself: tests/integration/serve."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from quickalign.core.errors import OptionError, RunError
from quickalign.serve.engine import EngineCannotError, Generation, Load, Sampling, TokenOut, TokenScore
from quickalign.serve.engines import registry
from quickalign.serve.engines.vllm import environment, server
from quickalign.serve.engines.vllm.core import VllmCore
from quickalign.serve.engines.vllm.load import load_vllm
from quickalign.serve.engines.vllm.messages import apart, body_of
from quickalign.serve.pipe import Pipe
from tests.support.runs import small_model

LOADING = """
import sys, time
from quickalign.serve import worker
worker.loader = lambda name: lambda load: (print("loading", flush=True), time.sleep(600))
sys.exit(worker.main(sys.argv[1:]))
"""
DOUBLE = Path(__file__).parents[2] / "doubles" / "vllm_double"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home, a model, and an interpreter that has the double in vLLM's place."""
    folder = tmp_path_factory.mktemp("vllm")
    small_model(seed=2).save_pretrained(folder / "model")
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={DOUBLE} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def core(folder: Path) -> Iterator[VllmCore]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUICKALIGN_HOME", str(folder / "home"))
        patch.setenv(environment.PYTHON_VARIABLE, str(folder / "python"))
        made = load_vllm(wanted(folder))
    yield made
    made.close()


def wanted(folder: Path, compression: str = "auto") -> Load:
    model = str(folder / "model")
    return Load(
        "vllm", model, None, "none", ("fp32",), 4, 256, compression, probes=((3, 4, 5),), probe_tokens=4  # type: ignore[arg-type]
    )  # fmt: skip


def until_idle(core: VllmCore, seconds: float = 20.0) -> list[tuple[int, TokenOut]]:
    out: list[tuple[int, TokenOut]] = []
    deadline = time.monotonic() + seconds
    while not core.idle:
        assert time.monotonic() < deadline
        out += core.step()
    return out


def told(core: VllmCore) -> dict[str, object]:
    answer: dict[str, object] = httpx.get(f"{core._server.endpoint}/told", trust_env=False).json()
    return answer


def test_what_is_loaded_and_how_the_server_is_started(core: VllmCore, folder: Path) -> None:
    info = core.info
    assert (info.engine, info.precision, info.context, info.vocabulary) == ("vllm", "fp32", 256, 160)
    assert info.adapter == "none"
    assert info.references[0].prompt == (3, 4, 5)
    arguments = " ".join(told(core)["argv"])  # type: ignore[arg-type]
    for part in (f"--model {folder / 'model'}", "--dtype float32", "--max-model-len 256", "--max-num-seqs 4"):
        assert part in arguments
    assert "--host 127.0.0.1" in arguments
    key = core._server.headers["Authorization"].removeprefix("Bearer ")
    assert key not in arguments
    assert told(core)["environment"]["VLLM_CPU_KVCACHE_SPACE"] == "1"  # type: ignore[index]
    refused = httpx.post(f"{core._server.endpoint}/v1/completions", json={}, trust_env=False)
    assert refused.status_code == 401


def test_tokens_choices_ends_and_log_probs(core: VllmCore) -> None:
    core.add(1, Generation((5, 20), Sampling(max_tokens=3)))
    core.add(2, Generation((5, 30), Sampling(max_tokens=9, stop=frozenset({32}), logprobs=2), choices=2, first=4))
    out = until_idle(core)
    assert [(one.token, one.finish) for number, one in out if number == 1] == [(21, None), (22, None), (23, "length")]
    for choice in (4, 5):
        mine = [one for number, one in out if number == 2 and one.choice == choice]
        assert [(one.token, one.finish) for one in mine] == [(31, None), (32, "stop")]
        assert mine[0].score == TokenScore(31, -0.75, ((531, -0.5), (31, -0.75)))


def test_a_prompts_own_log_probs(core: VllmCore) -> None:
    how = Sampling(max_tokens=1, logprobs=0, prompt_logprobs=0)
    core.add(1, Generation((5, 20, 30), how))
    core.add(2, Generation((5, 20, 30), Sampling(max_tokens=0, logprobs=0, prompt_logprobs=0)))
    out = until_idle(core)
    prompt = (TokenScore(20, -0.75), TokenScore(30, -0.75))
    assert [one for number, one in out if number == 1] == [
        TokenOut(0, 31, TokenScore(31, -0.75), finish="length", prompt=prompt)
    ]
    assert [one for number, one in out if number == 2] == [TokenOut(0, None, finish="length", prompt=prompt)]


def test_every_option_of_a_request_reaches_vllm() -> None:
    how = Sampling(7, 0.5, 3, 0.9, 0.1, 0.2, 0.3, 1.1, ((8, -5.0),), 42, frozenset({9, 2}), 4, 4)
    assert body_of("base", Generation((1, 2), how, choices=3)) == {
        "model": "base", "prompt": [1, 2], "n": 3, "stream": True, "return_token_ids": True, "max_tokens": 7,
        "temperature": 0.5, "top_k": 3, "top_p": 0.9, "min_p": 0.1, "presence_penalty": 0.2, "frequency_penalty": 0.3,
        "repetition_penalty": 1.1, "logit_bias": {"8": -5.0}, "seed": 42, "stop_token_ids": [2, 9], "ignore_eos": True,
        "logprobs": 4, "return_tokens_as_token_ids": True, "echo": True,
    }  # fmt: skip


def test_what_vllm_has_another_word_for() -> None:
    """It refuses top_p=0 and an answer of no tokens, and takes the seed -1 for none."""
    body = body_of("base", Generation((1, 2), Sampling(0, top_p=0.0, seed=-1)))
    assert 0 < body["top_p"] < 1e-8
    assert body["max_tokens"] == 1
    assert body["seed"] == body_of("base", Generation((1, 2), Sampling(0, seed=-1)))["seed"] >= 0
    assert body_of("base", Generation((1, 2), Sampling(0, prompt_logprobs=0)))["max_tokens"] == 0, "scores the prompt"


def test_an_answer_of_no_tokens_has_none(core: VllmCore) -> None:
    core.add(1, Generation((5, 20, 30), Sampling(max_tokens=0)))
    assert until_idle(core) == [(1, TokenOut(0, None, finish="length"))]


def test_greedy_choices_are_asked_for_one_by_one() -> None:
    greedy = Generation((1, 2), Sampling(4, temperature=0), choices=2, first=3)
    assert [(one.choices, one.first) for one in apart(greedy)] == [(1, 3), (1, 4)]
    drawn = Generation((1, 2), Sampling(4), choices=2)
    assert apart(drawn) == [drawn]


@pytest.mark.parametrize(
    ("first", "said"),
    [(900, "begins with 900"), (901, "without a finish"), (903, "ended the answer with 'error'")],
)
def test_an_answer_that_fails_says_so_and_others_go_on(core: VllmCore, first: int, said: str) -> None:
    core.add(1, Generation((first, 20), Sampling(max_tokens=9)))
    core.add(2, Generation((5, 20), Sampling(max_tokens=4)))
    out = until_idle(core)
    assert said in str([one for number, one in out if number == 1][-1].error)
    assert [one.finish for number, one in out if number == 2][-1] == "length"


def test_what_is_cancelled_or_given_up_tells_nothing_more(core: VllmCore) -> None:
    core.add(1, Generation((904, 20), Sampling(max_tokens=10_000), choices=2))
    while not core.step():
        pass
    core.cancel(1, 0)
    assert {one.choice for _ in range(20) for _, one in core.step()} == {1}
    core.cancel(1, None)
    assert core.idle
    core.add(2, Generation((904, 20), Sampling(max_tokens=10_000), choices=2))
    assert core.abandon("enough") == [(2, TokenOut(0, None, error="enough")), (2, TokenOut(1, None, error="enough"))]
    assert core.idle


def test_the_server_ends_with_the_engine_and_leaves_nothing(folder: Path) -> None:
    arguments = ["--model", str(folder)]
    for end in ("told", "killed"):
        one = server.VllmServer(folder / "python", arguments, {})
        one.wait("base", (1, 2))
        pids = httpx.get(f"{one.endpoint}/told", trust_env=False).json()["pids"]
        processes = [psutil.Process(pid) for pid in pids]
        if end == "told":
            one.end()
        else:  # the pipe closes, as it does when the engine's process is killed
            assert one._guard.stdin is not None
            os.close(one._guard.stdin.fileno())
            one._guard.wait(20)
        assert not psutil.wait_procs(processes, timeout=20)[1]


def test_an_engine_whose_replica_goes_while_it_loads_ends(folder: Path) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        engine = subprocess.Popen(
            [sys.executable, "-c", LOADING, str(theirs.fileno()), "vllm"],
            pass_fds=[theirs.fileno()],
            stdout=subprocess.PIPE,
            text=True,
        )
    assert engine.stdout is not None
    with engine.stdout, ours:
        Pipe(ours).send(wanted(folder))
        assert engine.stdout.readline() == "loading\n"
    assert engine.wait(30) == 0


def test_a_server_that_dies_is_noticed(folder: Path, core: VllmCore) -> None:
    """Runs last: the server of `core` is gone afterwards."""
    core.add(1, Generation((902, 20), Sampling(max_tokens=9)))
    last = until_idle(core)[-1][1]
    assert last.error is not None
    assert "broke off" in last.error or "without a finish" in last.error
    core._server._guard.wait(20)
    with pytest.raises(RunError, match="exit code 3"):
        core.step()
    with pytest.raises(EngineCannotError, match=r"did not start.*No module named"):
        server.VllmServer(Path(sys.executable), [], {}).wait("base", (1,))


def test_when_it_is_chosen_and_what_it_cannot(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUICKALIGN_HOME", str(folder / "empty"))
    monkeypatch.delenv(environment.PYTHON_VARIABLE, raising=False)
    with pytest.raises(OptionError, match="quickalign engines install vllm"):
        registry.resolve_engine("vllm")
    monkeypatch.setattr(registry.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert registry.resolve_engine("auto") == "transformers"
    monkeypatch.setenv(environment.PYTHON_VARIABLE, str(folder / "python"))
    assert registry.resolve_engine("auto") == registry.resolve_engine("vllm") == "vllm"
    with pytest.raises(OptionError, match=r"weights='int8'.*openvino"):
        load_vllm(wanted(folder, "int8"))
