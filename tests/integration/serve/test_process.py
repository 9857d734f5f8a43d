"""The replica as a process: tokens, its end, the engine's end, and what it refuses to start with."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import openai
import psutil
import pytest

from tests.support.replicas import ENVIRONMENT, MODEL, running_replica

LONG = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "Hello"}],
    "max_tokens": 1900,
    "extra_body": {"ignore_eos": True},
    "stream": True,
}


def refused(*flags: str) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-m", "quickalign.serve", *flags],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | ENVIRONMENT,
        check=False,
    )
    assert ended.stdout == ""
    return ended.returncode, ended.stderr


def test_tokens_and_metrics_and_a_clean_end(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("first-token\nsecond-token\n")
    with running_replica("--model", MODEL, "--name", "mine", "--token-file", str(file), token="first-token") as replica:
        with replica.http() as http:
            ask = {"model": "mine", "prompt": "Hi", "max_tokens": 2}
            assert http.post("/v1/completions", json=ask).status_code == 200
            for header in ("Bearer second-token", "bearer first-token", "first-token"):
                assert http.post("/v1/completions", json=ask, headers={"Authorization": header}).status_code == 200
            for header in ("Bearer wrong", "", "Bearer", "Basic first-token", "Bearer first-tokenx"):
                for path in ("/v1/models", "/metrics", "/v1/completions", "/openapi.json", "/nothing"):
                    response = http.get(path, headers={"Authorization": header})
                    assert response.status_code == 401, (header, path)
                    assert response.json()["error"]["code"] == "invalid_api_key"
            assert httpx.get(f"{replica.endpoint}/health", trust_env=False).status_code == 200
            assert http.get("/health", headers={"X-Request-Id": "abc"}).headers["x-request-id"] == "abc"
            metrics = http.get("/metrics").text
        assert 'quickalign_requests_total{model="mine",path="/v1/completions",status="200"} 4.0' in metrics
        assert "quickalign_time_to_first_token_seconds_bucket" in metrics
        assert 'quickalign_generation_tokens_total{model="mine"}' in metrics
        loaded = {Path(one.path).name for one in psutil.Process(replica.told["pid"]).memory_maps()}
        assert not any(name.startswith("libtorch") for name in loaded), "PyTorch belongs to the engine's process"
        engine = psutil.Process(replica.told["engine_pid"])
        replica.process.send_signal(signal.SIGTERM)
        assert replica.process.wait(20) == 0
        psutil.wait_procs([engine], timeout=10)
        assert not engine.is_running()
    assert "Traceback" not in "".join(replica.errors)


def test_the_end_of_the_engine_ends_streams_with_an_error_and_the_replica() -> None:
    with running_replica("--model", MODEL) as replica:
        stream = replica.client().chat.completions.create(**LONG)
        next(iter(stream))
        psutil.Process(replica.told["engine_pid"]).kill()
        with pytest.raises(openai.APIError, match="engine"):
            for _ in stream:
                pass
        assert replica.process.wait(30) == 12
    assert "signal 9" in "".join(replica.errors)


def test_the_engine_ends_with_the_replica() -> None:
    with running_replica("--model", MODEL, "--no-proof") as replica:
        assert replica.told["proof"] is None
        engine = psutil.Process(replica.told["engine_pid"])
        stream = replica.client().chat.completions.create(**LONG)
        next(iter(stream))
        replica.process.kill()
        gone, _ = psutil.wait_procs([engine], timeout=10)
        assert gone or not engine.is_running()


def test_open_streams_finish_or_end_with_an_error_when_told_to_end() -> None:
    with running_replica("--model", MODEL, "--drain-seconds", "0.5", "--no-proof") as replica:
        stream = replica.client().chat.completions.create(**LONG)
        next(iter(stream))
        started = time.monotonic()
        replica.process.send_signal(signal.SIGTERM)
        with pytest.raises(openai.APIError, match="shutting down"):
            for _ in stream:
                pass
        assert replica.process.wait(20) == 0
        assert time.monotonic() - started < 15


def test_what_cannot_be_served_is_told_in_a_sentence(tmp_path: Path) -> None:
    code, text = refused("--model", str(tmp_path))
    assert code == 4, text
    assert text.startswith("error: ")
    assert "Traceback" not in text
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, text = refused("--model", MODEL, "--port", str(taken.getsockname()[1]))
    assert (code, "cannot be opened" in text) == (2, True), text
    code, text = refused("--model", MODEL, "--host", "0.0.0.0")
    assert (code, "without a token" in text) == (2, True), text
    code, text = refused("--model", MODEL, "--context", "100000")
    assert (code, "2048" in text) == (2, True), text
