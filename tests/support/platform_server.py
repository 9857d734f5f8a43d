# ruff: noqa: T201 - what it prints is its answers
"""A server without HTTP: `python -m tests.support.platform_server HOME [DATABASE_URL]`.

Opens the platform with the stub trainer, reconciles, and answers one JSON request a line: {"call": "create", ...}. It is
what the chaos test kills.
"""

import json
import sys
from pathlib import Path
from typing import Any

from quickalign.core.errors import QuickalignError
from quickalign.core.wire.jobs import JobCreate
from tests.support.platforms import cpu, open_stub

SLOTS = 3


def answer(platform: Any, request: dict[str, Any]) -> Any:
    call, job = request["call"], request.get("job")
    if call == "create":
        made = platform.jobs.create(JobCreate.model_validate(request["request"]), idempotency_key=request["key"])
        return made.model_dump(mode="json")
    if call == "list":
        return [job.model_dump(mode="json") for job in platform.jobs.list(limit=1000).items]
    if call == "events":
        return [event.model_dump() for event in platform.jobs.events(job, limit=1000).items]
    return getattr(platform.jobs, call)(job).model_dump(mode="json")


def main() -> None:
    url = sys.argv[2] if len(sys.argv) > 2 else None
    platform = open_stub(Path(sys.argv[1]), devices=cpu(SLOTS), database_url=url)
    platform.reconciler.start()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        try:
            found = {"answer": answer(platform, json.loads(line))}
        except QuickalignError as error:
            found = {"error": type(error).__name__, "message": str(error)}
        print(json.dumps(found), flush=True)
    platform.close()


if __name__ == "__main__":
    main()
