"""A server process whose one service is a stub replica elsewhere: `python -m tests.support.gateway_server HOME URL`.

It writes its address to standard output. The service is called `one`, its token is `qs-one`.
"""

import socket
import sys
from pathlib import Path

import uvicorn

from quickalign.api import logs
from quickalign.api.app import make_app
from quickalign.platform.services.routes import Upstream
from quickalign.serve.http.protocol import BoundedHttp
from tests.support.gateways import FakeEndpoints
from tests.support.platforms import open_stub


def main(home: str, url: str) -> None:
    platform = open_stub(Path(home))
    endpoints = FakeEndpoints()
    endpoints.add("one", Upstream("replica-0", 1, url, "token", 5000))
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    logs.configure()
    config = uvicorn.Config(
        make_app(platform, endpoints=endpoints),
        http=BoundedHttp,
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=2,
    )
    sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        platform.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
