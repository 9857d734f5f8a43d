"""Lists in the envelope of the published API."""

from collections.abc import Sequence
from typing import Any

import orjson
from starlette.responses import Response

Json = dict[str, Any]


def page(items: Sequence[Json], *, more: bool) -> Response:
    """A list, or a part of one."""
    first, last = (items[0]["id"], items[-1]["id"]) if items else (None, None)
    return answer({"object": "list", "data": list(items), "has_more": more, "first_id": first, "last_id": last})


def answer(value: Json) -> Response:
    """One object."""
    return Response(orjson.dumps(value), media_type="application/json")
