# ruff: noqa: T201 - what it prints is its answers
"""A server of services without HTTP: `python -m tests.support.service_server HOME`.

Replicas are stubs under a quick wrapper. It reconciles, and answers one JSON request a line: {"call": "create", ...}. It
is what the chaos test kills.
"""

import json
import sys
from pathlib import Path
from typing import Any

from quickalign.core.errors import QuickalignError
from quickalign.core.wire.services import ServiceCreate, ServiceUpdate
from tests.support.service_rounds import QuickExecutor, open_rounds


def answer(services: Any, request: dict[str, Any]) -> Any:
    call, name = request["call"], request.get("name")
    if call == "create":
        made = services.create(ServiceCreate.model_validate(request["request"]), idempotency_key=request["key"])
        return made.model_dump(mode="json")
    if call == "list":
        found = (*services.list(limit=1000).items, *services.list(states=["deleted"], limit=1000).items)
        return [service.model_dump(mode="json") for service in found]
    if call == "update":
        return services.update(name, ServiceUpdate.model_validate(request["request"])).model_dump(mode="json")
    return getattr(services, call)(name).model_dump(mode="json")


def main() -> None:
    home = Path(sys.argv[1])
    platform = open_rounds(home, replicas=QuickExecutor(home / "services"))
    platform.start()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        try:
            found = {"answer": answer(platform.services, json.loads(line))}
        except QuickalignError as error:
            found = {"error": type(error).__name__, "message": str(error)}
        print(json.dumps(found), flush=True)
    platform.close()


if __name__ == "__main__":
    main()
