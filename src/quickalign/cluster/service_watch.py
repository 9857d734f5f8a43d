"""Keeping an application: saying that its program lives, and noticing when it or its cluster is gone."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import Any

from quickalign.cluster.service_application import Application, Look, Standing, waited
from quickalign.cluster.service_front import Front
from quickalign.cluster.service_keeper import keeper
from quickalign.cluster.service_leases import BEAT_SECONDS

_log = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0
_CALL_SECONDS = 10.0
SILENCE_SECONDS = 20.0
"""How long a cluster may say nothing before it counts as lost."""


async def beat(application: str) -> None:
    """Say again and again that the application's program lives; an actor that is gone is made again."""
    while True:
        try:
            await _told("hear", application)
        except Exception as error:  # the watch finds out whether all of the cluster is gone
            _log.warning("The keeper of applications does not answer: %s", str(error) or type(error).__name__)
        await asyncio.sleep(BEAT_SECONDS)


async def forget(application: str) -> None:
    """Say that the application is gone. The keeper of the last one goes too, and answers no more."""
    from ray.exceptions import RayActorError  # noqa: PLC0415 - Ray is an extra

    with suppress(RayActorError):
        await _told("leave", application)


async def watch(application: Application, front: Front) -> None:
    """Look at the application until it is gone, or the cluster is: then the endpoint fails, and says so."""
    heard_at = time.monotonic()
    while front.failure is None:
        await asyncio.sleep(_LOOK_SECONDS)
        try:
            seen = await asyncio.wait_for(application.look(), _CALL_SECONDS)
        except Exception as error:  # whatever it is, it says nothing of the application
            if time.monotonic() - heard_at > SILENCE_SECONDS:
                front.fail(f"The cluster does not answer: {type(error).__name__}.")
            continue
        heard_at = time.monotonic()
        if (reason := lost(seen)) is not None:
            front.fail(reason)


def lost(seen: Look) -> str | None:
    """Why an application that was running answers no more; None while it does, or will again."""
    if seen.standing is Standing.GONE:
        return "The application is gone from the cluster."
    if seen.standing is Standing.FAILED:
        return f"The application cannot be kept up: {last_line(seen.message)}"
    return None


def last_line(message: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[-1] if lines else "Ray does not say why."


async def _told(method: str, application: str) -> Any:
    """What the keeper answers to one of its methods."""
    async with asyncio.timeout(_CALL_SECONDS):
        keeping = await waited(keeper)
        return await getattr(keeping, method).remote(application)
