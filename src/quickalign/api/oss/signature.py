"""The signature of OSS, version 1: HMAC-SHA1 over the head of a request.

Source: Alibaba Cloud OSS, "Include signatures in the Authorization header" (V1).
"""

from collections.abc import Callable
from urllib.parse import parse_qsl

from starlette.datastructures import Headers

from quickalign.api import signed
from quickalign.api.signed import Refusal

SCHEME = "OSS"
# fmt: off
SUBRESOURCES = frozenset((
    "acl", "append", "bucketInfo", "comp", "continuation-token", "cors", "delete", "encryption", "lifecycle",
    "location", "logging", "objectMeta", "partNumber", "position", "policy", "referer", "requestPayment",
    "response-cache-control", "response-content-disposition", "response-content-encoding",
    "response-content-language", "response-content-type", "response-expires", "restore", "security-token",
    "sequential", "stat", "symlink", "tagging", "uploadId", "uploads", "versionId", "versioning", "versions",
    "website", "x-oss-process", "x-oss-request-payer", "x-oss-traffic-limit",
))
# fmt: on
"""Parameters that are part of what is signed; all others are not."""


def string_to_sign(method: str, bucket: str, key: str, query: str, headers: Headers) -> str:
    """What is signed; `key` without escapes, `query` as it was sent."""
    date = headers.get("x-oss-date") or headers.get("date", "")
    own = sorted((name.lower(), value) for name, value in headers.items() if name.lower().startswith("x-oss-"))
    given = sorted((n, v) for n, v in parse_qsl(query, keep_blank_values=True) if n in SUBRESOURCES)
    resource = f"/{bucket}/{key}" if bucket else "/"
    if given:
        resource += "?" + "&".join(f"{name}={value}" if value else name for name, value in given)
    head = (method, headers.get("content-md5", ""), headers.get("content-type", ""), date)
    return "\n".join([*head, "".join(f"{name}:{value}\n" for name, value in own) + resource])


def check(
    method: str, bucket: str, key: str, query: str, headers: Headers, secret: Callable[[str], str | None]
) -> Refusal | None:
    """Whether the request may come in; `secret` gives the secret of a good key."""
    date = headers.get("x-oss-date") or headers.get("date", "")
    request = signed.claimed(headers.get("authorization", ""), SCHEME, date)
    if request is None:
        return Refusal.MALFORMED
    text = string_to_sign(method, bucket, key, query, headers).encode("utf-8", "surrogatepass")
    return signed.check(request, text, secret)
