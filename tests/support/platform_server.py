"""Servers without HTTP, for tests that kill them: `python -m tests.support.platform_server DESCRIPTOR`.

The program loads everything once and then forks a server for each order that comes over the socket of that descriptor,
together with the server's own socket. A server opens the platform with the stub trainer, reconciles, and answers one JSON
request a line: {"call": "create", ...}.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from quickalign.core.errors import QuickalignError
from quickalign.core.wire.jobs import JobCreate
from quickalign.core.wire.services import ServiceCreate
from quickalign.platform import crashpoints
from quickalign.platform.config import Config
from tests.support.platforms import cpu, open_stub

SLOTS = 3


def upstreams(services: Any, request: dict[str, Any]) -> Any:
    route = services.endpoints.find(request["name"])
    return [asdict(one) for one in route.replicas] if route else []


SERVICES: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "serve": lambda services, asked: services.create(ServiceCreate.model_validate(asked["request"])).id,
    "services": lambda services, _: [service.model_dump(mode="json") for service in services.list().items],
    "upstreams": upstreams,
    "unserve": lambda services, asked: services.delete(asked["name"]).id,
}


def answer(platform: Any, request: dict[str, Any]) -> Any:
    call, job = request["call"], request.get("job")
    if call == "create":
        made = platform.jobs.create(JobCreate.model_validate(request["request"]), idempotency_key=request["key"])
        return made.model_dump(mode="json")
    if call == "list":
        return [job.model_dump(mode="json") for job in platform.jobs.list(limit=1000).items]
    if call == "events":
        return [event.model_dump() for event in platform.jobs.events(job, limit=1000).items]
    if call in SERVICES:
        return SERVICES[call](platform.services, request)
    if call == "crash_at":
        os.environ[crashpoints.ONCE] = request["mark"]
        os.environ[crashpoints.VARIABLE] = request["point"]
        return None
    changed = getattr(platform.jobs, call)(job)
    return changed.model_dump(mode="json") if changed else None


def serve(order: dict[str, Any], connection: socket.socket) -> None:
    os.environ |= order["environment"]
    options: dict[str, Any] = {"devices": cpu(SLOTS)}
    if order["config"] is not None:
        options = {"devices": None, "config": Config.model_validate(order["config"])}
    platform = open_stub(Path(order["home"]), database_url=order["url"], **options)
    platform.reconciler.start()
    if platform.config.executor == "ray":
        platform.service_reconciler.start()
    with connection.makefile("rwb", buffering=0) as stream:
        stream.write(b'"ready"\n')
        for line in iter(stream.readline, b""):
            try:
                found = {"answer": answer(platform, json.loads(line))}
            except QuickalignError as error:
                found = {"error": type(error).__name__, "message": str(error)}
            stream.write(json.dumps(found).encode() + b"\n")
    platform.close()


def fork(order: dict[str, Any], orders: socket.socket, descriptor: int) -> int:
    """A server in a session of its own; gives its process id."""
    child = os.fork()
    if child:
        os.close(descriptor)
        return child
    orders.close()
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    try:
        serve(order, socket.socket(fileno=descriptor))
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # dead servers are collected by the kernel
    orders = socket.socket(fileno=int(sys.argv[1]))
    while True:
        text, descriptors, _, _ = socket.recv_fds(orders, 1 << 16, 1)
        if not text:
            return
        orders.sendall(str(fork(json.loads(text), orders, descriptors[0])).encode())


if __name__ == "__main__":
    main()
