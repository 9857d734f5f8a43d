"""A service over real HTTP that says what it was told, in pieces, and fails on cue: for clients' own behaviour."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.doubles.loopback import Handler, listening

REFUSED = {"error": {"message": "There is no room.", "type": "rate_limit_error", "param": None, "code": "busy"}}
BROKEN = {"error": {"message": "The engine stopped.", "type": "server_error", "param": None, "code": "engine"}}


@dataclass
class Echo:
    """What answers; `requests` are (method, path, headers by lower-case name, body) in order."""

    endpoint: str = ""
    requests: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)


@contextmanager
def echo_service() -> Iterator[Echo]:
    echo = Echo()
    with listening(_Handler, echo=echo) as port:
        echo.endpoint = f"http://127.0.0.1:{port}"
        yield echo


class _Handler(Handler):
    protocol_version = "HTTP/1.0"  # streams end with their connection
    echo: Echo

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        body = self.body()
        asked = json.loads(body) if body[:1] == b"{" else body.decode()
        self.echo.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, asked))
        if not isinstance(asked, dict):
            return self.send_json({"path": self.path, "body": asked})
        text = asked["messages"][-1]["content"] if "messages" in asked else asked.get("prompt", "")
        if text == "refuse":
            return self.send_json(REFUSED, 400)
        if asked.get("stream"):
            return self._stream(text)
        choice = {"index": 0, "message": {"role": "assistant", "content": f"You said: {text}"}, "finish_reason": "stop"}
        return self.send_json({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]})

    def _stream(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for piece in ("You", " said:", f" {text}"):
            choice = {"index": 0, "delta": {"content": piece}, "finish_reason": None}
            chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
            self._event(json.dumps(chunk))
            if text == "break":
                return self._event(json.dumps(BROKEN))
        return self._event("[DONE]")

    def _event(self, data: str) -> None:
        self.wfile.write(f"data: {data}\n\n".encode())
        self.wfile.flush()
