"""The gateway's paths: `/services/{name}/...`, and OpenAI's own over all services.

They are Starlette's plain routes. No schema lists them and a body goes on as it came, and what FastAPI does to find a
route and solve its parameters took half of the time that a request spent here.
"""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.routing import Route as PlainPath
from starlette.types import Scope

from quickalign.api import logs
from quickalign.api.gateway import pages
from quickalign.api.gateway.gateway import Gateway
from quickalign.api.gateway.keys import Caller, refused
from quickalign.api.gateway.upstream import Asked
from quickalign.platform.services.routes import Route
from quickalign.serve.http.errors import ApiError, bad_value
from quickalign.serve.http.shapes import DEFAULT, respond_json

_CHAT, _TEXT = "/v1/chat/completions", "/v1/completions"
_ANSWERS = (_CHAT, _TEXT)


class Path(PlainPath):
    """A path that the figures find where they find FastAPI's."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """See `Route`."""
        match, found = super().matches(scope)
        return match, found if match is Match.NONE else {**found, "route": self}


def routes(gateway: Gateway) -> list[BaseRoute]:
    """All paths that lead through `gateway`."""
    answers = _Answers(gateway)
    here = "/services/{name}"
    return [
        *(Path(f"{here}{path}", answers.complete_here, methods=["POST"]) for path in _ANSWERS),
        *(Path(path, answers.complete, methods=["POST"]) for path in _ANSWERS),
        *(Path(path, answers.predict, methods=["POST"]) for path in (here, f"{here}/")),
        Path(f"{here}/v1/models", answers.models),
        Path(f"{here}/v1/models/{{model:path}}", answers.model),
        Path(f"{here}/health", answers.health),
        Path(here, _to_page),
        Path(f"{here}/", _page),
        Path(f"{here}/page/{{file}}", _part),
    ]


class _Answers:
    """What services are asked."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def complete(self, request: Request) -> Response:
        """An answer of the service that the body names as its model."""
        caller = await self._gateway.keys.any(request.headers)
        raw = await request.body()
        body = _object(raw)
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise bad_value("model is missing; it names a service.", "model", "missing_required_parameter")
        route = self._gateway.endpoints.find(model)
        if caller is None:
            if route is None:
                raise refused("The token does not open this model.")
            caller = await self._gateway.keys.caller(request.headers, route)
        if route is None:
            raise _unanswered(model)
        return self._complete(request, route, caller, (raw, body), _path_of(request))

    async def complete_here(self, request: Request) -> Response:
        """An answer of this service; `default` stands for its model."""
        route, caller = await self._opened(request)
        raw = await request.body()
        return self._complete(request, route, caller, (raw, _lenient(raw)), _path_of(request))

    async def predict(self, request: Request) -> Response:
        """An answer of this service to what `Predictor.predict` of PAI's package sends: it knows the address alone."""
        route, caller = await self._opened(request)
        body = {"model": DEFAULT} | _object(await request.body())
        if not {"messages", "prompt"} & set(body):
            raise bad_value("The body needs messages (a chat) or prompt (a completion).", "messages")
        path = _CHAT if "messages" in body else _TEXT
        # the package sends a text without saying of what kind
        return self._complete(request, route, caller, (orjson.dumps(body), body), path, kind="application/json")

    async def models(self, request: Request) -> Response:
        """The service's model, as its replica describes it."""
        route, caller = await self._opened(request)
        return self._gateway.relay(request, route, caller, _asked(request, "/v1/models", b""))

    async def model(self, request: Request) -> Response:
        """The service's model by one of its names."""
        route, caller = await self._opened(request)
        model = request.path_params["model"]
        if model != DEFAULT and model not in route.model_names:
            raise _unknown(model, f"This service is {route.name!r}.")
        return self._gateway.relay(request, route, caller, _asked(request, f"/v1/models/{DEFAULT}", b""))

    async def health(self, request: Request) -> Response:
        """Whether the service answers."""
        route, _ = await self._opened(request)
        if route.replicas:
            return respond_json({"status": "ok", "state": route.state, "replicas": len(route.replicas)})
        reason = route.reason.message if route.reason else None
        return respond_json({"status": "not_ready", "state": route.state, "replicas": 0, "reason": reason}, 503)

    def _complete(
        self,
        request: Request,
        route: Route,
        caller: Caller,
        sent: tuple[bytes, dict[str, Any]],
        path: str,
        *,
        kind: str | None = None,
    ) -> Response:
        raw, body = sent
        model = body.get("model")
        if isinstance(model, str) and model not in (DEFAULT, route.name):
            if model not in route.model_names:
                raise _unknown(model, f"This service is {route.name!r}; `default` always names its model.")
            raw = orjson.dumps(body | {"model": DEFAULT})
        return self._gateway.relay(request, route, caller, _asked(request, path, raw, kind))

    async def _opened(self, request: Request) -> tuple[Route, Caller]:
        name = request.path_params["name"]
        route = self._gateway.endpoints.find(name)
        caller = await self._gateway.keys.caller(request.headers, route)
        if route is None:
            raise _unknown(name, "`quickalign services list` shows them all.")
        return route, caller


async def _to_page(request: Request) -> Response:
    """The way to the page, whose own addresses are relative to it."""
    return pages.redirect(request.path_params["name"])


async def _page(request: Request) -> Response:
    """A page to chat with the service. It is the same for every name: who has no token learns nothing."""
    return pages.file("index.html")


async def _part(request: Request) -> Response:
    """A part of the page."""
    return pages.file(request.path_params["file"])


def _path_of(request: Request) -> str:
    """A request's path as the replica has it."""
    path: str = request.scope["path"]
    return path[path.rindex("/v1/") :]


def _asked(request: Request, path: str, body: bytes, kind: str | None = None) -> Asked:
    headers = {"X-Request-ID": logs.request_id()}
    if (kind := kind or request.headers.get("content-type")) is not None:
        headers["Content-Type"] = kind
    return Asked(request.method, path, body, headers)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise bad_value(f"The body is not valid JSON: {error}.", code="bad_json") from None
    if not isinstance(body, dict):
        raise bad_value("The body must be a JSON object.", code="invalid_type")
    return body


def _lenient(raw: bytes) -> dict[str, Any]:
    """The body as far as it can be read; what is wrong with it, the replica says."""
    try:
        return _object(raw)
    except ApiError:
        return {}


def _unanswered(model: str) -> ApiError:
    message = f"No service answers for {model[:100]!r}. `quickalign deploy` makes one; `GET /v1/models` lists them."
    return ApiError(404, message, code="model_not_found", param="model")


def _unknown(name: str, remedy: str) -> ApiError:
    return ApiError(404, f"There is no service {name[:100]!r}. {remedy}", code="model_not_found", param="model")
