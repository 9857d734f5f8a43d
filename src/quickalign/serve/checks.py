"""What a proof consists of, and the one check that looks at an endpoint from outside."""

from __future__ import annotations

import json
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict

from quickalign.core.errors import RunError

PROBE_TOKENS = 16
PROBES = ("Hello", "Could you please help me with something?", "请介绍一下你自己。")


class Check(BaseModel):
    """One check of the proof, and what was seen."""

    model_config = ConfigDict(frozen=True)

    name: str
    passed: bool
    seen: str


class Proof(BaseModel):
    """What a replica has shown before it is ready."""

    model_config = ConfigDict(frozen=True)

    checks: tuple[Check, ...]

    def demand(self) -> None:
        """Stop at a check that failed.

        Raises:
            RunError: with what was seen.
        """
        for check in self.checks:
            if not check.passed:
                raise RunError(
                    f"The replica does not serve what was trained: {check.name}: {check.seen}",
                    "Export the run again, or serve it with engine=transformers.",
                )

    def told(self) -> list[dict[str, Any]]:
        """The checks as they are written down."""
        return [check.model_dump(mode="json") for check in self.checks]


async def check_stream(endpoint: str, token: str | None) -> Check:
    """Whether one answer comes through the endpoint, piece by piece, whole."""
    body = {
        "model": "default",
        "messages": [{"role": "user", "content": PROBES[0]}],
        "max_tokens": PROBE_TOKENS,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    lines: list[str] = []
    async with (
        httpx.AsyncClient(timeout=60, trust_env=False) as client,
        client.stream("POST", f"{endpoint}/v1/chat/completions", json=body, headers=headers) as response,
    ):
        async for line in response.aiter_lines():
            lines += [line.removeprefix("data: ")] if line.startswith("data: ") else []
    events = [json.loads(line) for line in lines if line != "[DONE]"]
    ended = any(choice["finish_reason"] for one in events for choice in one.get("choices", ()))
    whole = response.status_code == httpx.codes.OK and lines[-1:] == ["[DONE]"] and ended
    seen = f"HTTP {response.status_code}, {len(lines)} events" + ("." if whole else f", the last {lines[-1:]}.")
    return Check(name="streamed answer", passed=whole, seen=seen)
