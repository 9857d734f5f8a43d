"""A strict stand-in for OSS's S3-compatible interface, reached as an HTTP proxy so that no name must resolve.

It is as fussy as Alibaba Cloud's notes on that interface say OSS is: the bucket must be in the host name, uploads must
not be `aws-chunked`, and a request must be unsigned or carry a right version 2 signature (HMAC-SHA1 over method, MD5,
type, date, `x-amz-` headers and `/bucket/key`), which is computed here from the S3 reference, not by the client's library.
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from urllib.parse import unquote, urlsplit

from tests.doubles.loopback import Handler, listening

KEY, SECRET, TOKEN = "test-key", "test-secret", "test-token"


@dataclass
class Oss:
    """Buckets of objects, and what was asked: (method, host, path)."""

    endpoint: str
    objects: dict[tuple[str, str], bytes] = field(default_factory=dict)
    public: set[str] = field(default_factory=set)
    token: str | None = None
    port: int = 0
    requests: list[tuple[str, str, str]] = field(default_factory=list)


@contextmanager
def serve(oss: Oss) -> Iterator[Oss]:
    """Run the server until the block ends."""
    with listening(_Handler, oss=oss) as port:
        oss.port = port
        yield oss


class _Handler(Handler):
    oss: Oss

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        self.bucket = (parts.hostname or "").removesuffix(f".{self.oss.endpoint}")
        self.key = unquote(parts.path).removeprefix("/")
        body = self.body()
        self.oss.requests.append((self.command, parts.hostname or "", parts.path))
        if self.bucket == parts.hostname:
            self._error(403, "SecondLevelDomainForbidden")
        elif not self._allowed():
            self._error(403, "SignatureDoesNotMatch" if "Authorization" in self.headers else "AccessDenied")
        elif "aws-chunked" in self.headers.get("Content-Encoding", ""):
            self._error(400, "InvalidArgument")
        elif self.command == "PUT":
            self.oss.objects[self.bucket, self.key] = body
            self.send(200, b"", {"ETag": '"x"'})
        elif "list-type" in parts.query:
            self.send(200, b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>")
        elif (self.bucket, self.key) in self.oss.objects:
            self._object(self.oss.objects[self.bucket, self.key])
        else:
            self._error(404, "NoSuchKey")

    def _allowed(self) -> bool:
        if "Authorization" not in self.headers:
            return self.bucket in self.oss.public
        return self.headers["Authorization"] == f"AWS {KEY}:{self._signature()}" and (
            self.headers.get("x-amz-security-token") == self.oss.token
        )

    def _signature(self) -> str:
        amz = sorted((k.lower(), v) for k, v in self.headers.items() if k.lower().startswith("x-amz-"))
        date = "" if any(name == "x-amz-date" for name, _ in amz) else self.headers.get("Date", "")
        lines = [self.command, self.headers.get("Content-MD5", ""), self.headers.get("Content-Type", ""), date]
        lines += [f"{name}:{value}" for name, value in amz]
        text = "\n".join([*lines, f"/{self.bucket}{urlsplit(self.path).path}"])
        return base64.b64encode(hmac.new(SECRET.encode(), text.encode(), hashlib.sha1).digest()).decode()

    def _object(self, content: bytes) -> None:
        span = self.headers.get("Range")
        headers = {
            "ETag": f'"{hashlib.md5(content).hexdigest()}"',
            "Last-Modified": formatdate(time.time(), usegmt=True),
        }
        if span is None:
            self.send(200, content, headers)
            return
        first, last = span.removeprefix("bytes=").split("-")
        part = content[int(first) : int(last or len(content)) + 1]
        headers["Content-Range"] = f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}"
        self.send(206, part, headers)

    def _error(self, status: int, code: str) -> None:
        self.send(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())
