"""Who may ask, and from where: Host, Origin, bearer token, and the headers that browsers obey.

Plain ASGI, so that streams pass through it untouched and nothing behind it can be reached around it.
"""

import ipaddress
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quickalign.api.problems import of_error, problem, respond
from quickalign.core.errors import QuickalignError
from quickalign.core.wire.base import Problem
from quickalign.platform import Config, Platform

OPEN = frozenset({"/healthz", "/readyz", "/api/v1/openapi.json"})
"""Paths that need no token."""

_GATEWAY = frozenset({"/v1/chat/completions", "/v1/completions"})
"""Paths that services' tokens open too, besides those below `/services/`: the gateway looks at them itself."""

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="quickalign"'}


class Security:
    """Lets through what names this server, comes from no foreign page and brings a token."""

    def __init__(self, app: ASGIApp, platform: Platform) -> None:
        self._app, self._platform = app, platform
        self._hosts = allowed_hosts(platform.config)
        self._public = platform.config.public_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})  # none is spoken here
            return
        send = _with_headers(send)
        headers = Headers(scope=scope)
        found = self._check_place(scope, headers)
        if found is not None:
            await respond(scope["path"], found)(scope, receive, send)
            return
        if not _is_open(scope["path"]) and (refusal := await self._check_token(headers)) is not None:
            challenge = _CHALLENGE if refusal.status == 401 else None
            await respond(scope["path"], refusal, challenge)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check_place(self, scope: Scope, headers: Headers) -> Problem | None:
        host = headers.get("host", "")
        if not is_allowed(host, self._hosts):
            return problem(
                403,
                "access",
                f"This server is not reached by the name {host[:100]!r}.",
                "Use its address, or let the operator add the name to allowed_hosts.",
                field="Host",
                value=host,
            )
        origin = headers.get("origin")
        if origin is not None and not self._is_own(origin, scope["scheme"], host):
            return problem(
                403,
                "access",
                f"Pages of {origin[:100]!r} may not call this server.",
                "Call it from its own pages, or from a program.",
                field="Origin",
                value=origin,
            )
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            return problem(400, "bad-request", "The address holds the character NUL.", "Leave it out.")
        return None

    def _is_own(self, origin: str, scheme: str, host: str) -> bool:
        own = {f"{scheme}://{host}".lower()}
        if self._public:
            parts = urlsplit(self._public)
            own.add(f"{parts.scheme}://{parts.netloc}".lower())
        return origin.lower() in own

    async def _check_token(self, headers: Headers) -> Problem | None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return problem(
                401,
                "access",
                "The request brings no token.",
                "Send `Authorization: Bearer <token>`; the file `token` in the server's home holds one.",
                field="Authorization",
            )
        try:
            known = await anyio.to_thread.run_sync(self._platform.tokens.verify, token.strip())
        except QuickalignError as error:
            return of_error(error)
        if known:
            return None
        return problem(
            401,
            "access",
            "The token is not one of this server, or was revoked.",
            "The file `token` in the server's home holds the one of its first start.",
            field="Authorization",
        )


def _is_open(path: str) -> bool:
    return path in OPEN or path in _GATEWAY or path.startswith("/services/")


def allowed_hosts(config: Config) -> frozenset[str]:
    """Names by which the server may be asked for, besides addresses."""
    names = {"localhost", config.host.lower(), *(name.lower() for name in config.allowed_hosts)}
    if config.public_url:
        names.add((urlsplit(config.public_url).hostname or "").lower())
    return frozenset(names - {""})


def is_allowed(host: str, names: frozenset[str]) -> bool:
    """Whether a Host header names this server.

    A page that lures a browser here by changing what its own name means (DNS rebinding) sends that name. It cannot
    send an address, so every address is as good as the one that was connected to.
    """
    name = _without_port(host).lower()
    if name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _with_headers(send: Send) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sender
