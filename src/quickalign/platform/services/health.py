"""Asking a replica whether it answers."""

import http.client
import json
from collections.abc import Callable
from urllib.parse import urlsplit

_SECONDS = 3.0
_MOST_BYTES = 1 << 16

Probe = Callable[[str, str], bool]
"""Whether the replica at an endpoint, opened by a token, is well."""


def is_well(endpoint: str, token: str) -> bool:
    """Whether `/health` at `endpoint` says ok within three seconds."""
    parts = urlsplit(endpoint)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_SECONDS)
    try:
        connection.request("GET", "/health", headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        told = json.loads(answer.read(_MOST_BYTES))
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()
    return answer.status == 200 and isinstance(told, dict) and told.get("status") == "ok"
