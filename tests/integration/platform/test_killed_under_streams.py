"""A replica and the server get SIGKILL under 32 streams: no answer that was cut looks whole, and all of it comes back."""

import asyncio
import json
import signal
from pathlib import Path

import httpx
import psutil
import pytest

from quickalign.sdk.predictor import Predictor
from quickalign.sdk.registered_model import RegisteredModel
from quickalign.sdk.session import Session
from tests.support.homes import fresh_home, processes_of, servers_of, wait_until

pytestmark = pytest.mark.slow
CLIENTS = 32
ASK = {
    "model": "default",
    "messages": [{"role": "user", "content": "Could you please hurt me?"}],
    "max_tokens": 300,
    "ignore_eos": True,
    "stream": True,
}


async def _follow(client: httpx.AsyncClient, url: str, begun: asyncio.Event) -> str:
    """How one answer ended: `whole`, `told` (by a status or an error event), `broken` (the connection), or `cut`."""
    lines: list[str] = []
    try:
        async with client.stream("POST", url, json=ASK) as answer:
            if answer.status_code != httpx.codes.OK:
                return "told"
            async for line in answer.aiter_lines():
                lines += [line.removeprefix("data: ")] if line.startswith("data: ") else []
                begun.set()
    except httpx.TransportError:
        return "broken"
    finally:
        begun.set()
    if any("error" in json.loads(line) for line in lines if line != "[DONE]"):
        return "told"
    return "whole" if lines[-1:] == ["[DONE]"] else "cut"


async def _streams(predictor: Predictor, kill: psutil.Process) -> set[str]:
    """How the streams ended under which a process was killed."""
    headers = {"Authorization": f"Bearer {predictor.access_token}"}
    url = f"{predictor.endpoint.rstrip('/')}/v1/chat/completions"
    limits = httpx.Limits(max_connections=CLIENTS)
    async with httpx.AsyncClient(headers=headers, timeout=120, limits=limits, trust_env=False) as client:
        begun = [asyncio.Event() for _ in range(CLIENTS)]
        streams = [asyncio.create_task(_follow(client, url, each)) for each in begun]
        await asyncio.wait([asyncio.create_task(each.wait()) for each in begun], return_when=asyncio.FIRST_COMPLETED)
        while sum(each.is_set() for each in begun) < CLIENTS // 4:
            await asyncio.sleep(0.01)
        kill.send_signal(signal.SIGKILL)
        return set(await asyncio.gather(*streams))


def _replica(home: Path) -> psutil.Process:
    return next(one for one in processes_of(home) if "quickalign.serve" in one.cmdline())


def _answers(predictor: Predictor) -> str | None:
    answer = predictor.openai().chat.completions.create(model="default", messages=ASK["messages"], max_tokens=4)
    return answer.choices[0].finish_reason


def test_no_answer_that_was_cut_looks_whole(tmp_path: Path) -> None:
    with fresh_home(tmp_path) as home:
        session = Session(home=home)
        predictor = RegisteredModel("qwen2-tiny-instruct", session=session).deploy("tiny")
        ended = asyncio.run(_streams(predictor, _replica(home)))
        assert ended <= {"told", "whole"}, "what had begun is told that it broke; what had not goes to the next replica"
        assert "told" in ended
        assert _answers(predictor), "it waits for the replica that comes instead"

        server = servers_of(home)[0]
        replica = _replica(home)
        ended = asyncio.run(_streams(predictor, server))
        assert ended <= {"broken", "told"}
        assert "broken" in ended
        session.close()
        session = Session(home=home)
        predictor = Predictor("tiny", session=session)
        predictor.wait_for_ready()
        assert _answers(predictor)
        assert _replica(home).pid == replica.pid, "the replica went on, and the next server found it"

        predictor.delete_service()
        wait_until(lambda: {one.pid for one in processes_of(home)} == {one.pid for one in servers_of(home)})
        session.close()
