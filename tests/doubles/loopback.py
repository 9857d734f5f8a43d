"""What the small HTTP servers on loopback share: a quiet handler, and a thread that serves for the time of a block."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Keeps connections open and logs nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def body(self) -> bytes:
        """The request's body."""
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def send(self, status: int, content: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """A whole answer, without its content where only the head was asked for."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_json(self, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """A value as JSON."""
        self.send(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})


@contextmanager
def listening(handler: type[Handler], **state: Any) -> Iterator[int]:
    """Run a server of `handler`, which finds `state` on itself, until the block ends; gives its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type(handler.__name__, (handler,), state))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
