"""Signed requests of the two dialects, written from the protocols' descriptions and not from the server's code."""

import base64
import hashlib
import hmac
import uuid
from email.utils import formatdate


def _signature(secret: str, text: str) -> str:
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()).decode()


class PaiSigner:
    """Signs as the ROA style does."""

    def __init__(self, key: str, secret: str, *, date: str | None = None, nonce: str | None = None) -> None:
        self.key, self.secret, self.date, self.nonce = key, secret, date, nonce

    def __call__(self, request):
        headers = request.headers
        headers["date"] = self.date or formatdate(usegmt=True)
        headers["x-acs-signature-nonce"] = self.nonce or uuid.uuid4().hex
        headers["x-acs-signature-method"] = "HMAC-SHA1"
        headers["x-acs-signature-version"] = "1.0"
        head = [request.method, headers.get("accept", ""), "", headers.get("content-type", ""), headers["date"]]
        own = [f"{name}:{headers[name]}" for name in sorted(headers) if name.startswith("x-acs-")]
        path = request.url.raw_path.decode().partition("?")[0]
        given = sorted(request.url.params.multi_items())
        query = "&".join(f"{name}={value}" if value else name for name, value in given)
        text = "\n".join([*head, *own, f"{path}?{query}" if query else path])
        headers["authorization"] = f"acs {self.key}:{_signature(self.secret, text)}"
        return request


class OssSigner:
    """Signs as version 1 of OSS does."""

    def __init__(self, key: str, secret: str, *, date: str | None = None) -> None:
        self.key, self.secret, self.date = key, secret, date

    def __call__(self, request):
        headers = request.headers
        headers["date"] = self.date or formatdate(usegmt=True)
        own = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers) if name.startswith("x-oss-"))
        signed = {"uploads", "uploadId", "partNumber", "acl", "delete", "objectMeta"}
        given = sorted((name, value) for name, value in request.url.params.multi_items() if name in signed)
        query = "&".join(f"{name}={value}" if value else name for name, value in given)
        resource = request.url.path + (f"?{query}" if query else "")
        text = "\n".join(
            [
                request.method,
                headers.get("content-md5", ""),
                headers.get("content-type", ""),
                headers["date"],
                own + resource,
            ]
        )
        headers["authorization"] = f"OSS {self.key}:{_signature(self.secret, text)}"
        return request
