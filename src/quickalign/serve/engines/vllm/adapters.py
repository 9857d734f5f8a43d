"""The adapters in a running vLLM, each counted by those that use it: loaded with the first, unloaded with the last."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx

from quickalign.serve.engine import EngineCannotError

_log = logging.getLogger(__name__)
_SECONDS = 600.0


class Adapters:
    """The adapters of the vLLM at `endpoint`. All methods belong to one event loop."""

    def __init__(self, endpoint: str, headers: dict[str, str]) -> None:
        self._client = httpx.AsyncClient(base_url=endpoint, headers=headers, timeout=_SECONDS, trust_env=False)
        self._lock = asyncio.Lock()
        self._users: dict[str, list[str]] = {}
        self._loaded: dict[str, str] = {}

    async def hold(self, name: str, folder: str) -> None:
        """Count one more user of the adapter `name`, whose files lie in `folder`.

        Raises:
            EngineCannotError: vLLM cannot load it.
        """
        async with self._lock:
            if name not in self._users:
                await self._load(name, folder, load_inplace=False)
            self._users.setdefault(name, []).append(folder)

    async def release(self, name: str, folder: str) -> None:
        """Count one less."""
        async with self._lock:
            users = self._users[name]
            users.remove(folder)
            try:
                if not users:
                    del self._users[name], self._loaded[name]
                    await self._post("unload_lora_adapter", {"lora_name": name})
                elif self._loaded[name] not in users:
                    # vLLM reads an adapter again when it had to make room, and this folder may go with its service.
                    await self._load(name, users[0], load_inplace=True)
            except EngineCannotError as error:
                _log.warning("An adapter could not be let go: %s", error)

    async def _load(self, name: str, folder: str, *, load_inplace: bool) -> None:
        body: dict[str, Any] = {"lora_name": name, "lora_path": folder}
        await self._post("load_lora_adapter", body | ({"load_inplace": True} if load_inplace else {}))
        self._loaded[name] = folder

    async def _post(self, what: str, body: dict[str, Any]) -> None:
        try:
            answer = await self._client.post(f"/v1/{what}", json=body)
        except httpx.HTTPError as error:
            raise EngineCannotError(f"vLLM did not answer {what}: {error or type(error).__name__}") from None
        if answer.status_code != httpx.codes.OK:
            raise EngineCannotError(f"vLLM cannot use the adapter {body.get('lora_path', '')}: {_reason(answer)}")


def _reason(answer: httpx.Response) -> str:
    try:
        error = answer.json()["error"]
        return str(error["message"] if isinstance(error, dict) else error)[:500]
    except (ValueError, LookupError, TypeError):
        return f"HTTP {answer.status_code} {answer.text[:300]}"
