"""The gateway's paths: `/services/{name}/...`, and OpenAI's own over all services."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from quickalign.api import logs
from quickalign.api.access import TheGateway
from quickalign.api.gateway import pages
from quickalign.api.gateway.gateway import Gateway
from quickalign.api.gateway.keys import Caller, refused
from quickalign.api.gateway.upstream import Asked
from quickalign.platform.services.routes import Route
from quickalign.serve.http.errors import ApiError, bad_value
from quickalign.serve.http.shapes import DEFAULT, respond_json

router = APIRouter(include_in_schema=False)


Name = Annotated[str, Path(max_length=1000)]


@router.post("/v1/chat/completions")
@router.post("/v1/completions")
async def complete(request: Request, gateway: TheGateway) -> Response:
    """An answer of the service that the body names as its model."""
    caller = await gateway.keys.any(request.headers)
    raw = await request.body()
    body = _object(raw)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise bad_value("model is missing; it names a service.", "model", "missing_required_parameter")
    route = gateway.endpoints.find(model)
    if caller is None:
        if route is None:
            raise refused("The token does not open this model.")
        caller = await gateway.keys.caller(request.headers, route)
    if route is None:
        raise _unanswered(model)
    return _complete(request, gateway, route, caller, (raw, body))


@router.post("/services/{name}/v1/chat/completions")
@router.post("/services/{name}/v1/completions")
async def complete_here(request: Request, gateway: TheGateway, name: Name) -> Response:
    """An answer of this service; `default` stands for its model."""
    route, caller = await _opened(request, gateway, name)
    raw = await request.body()
    return _complete(request, gateway, route, caller, (raw, _lenient(raw)))


@router.get("/services/{name}/v1/models")
async def models(request: Request, gateway: TheGateway, name: Name) -> Response:
    """The service's model, as its replica describes it."""
    route, caller = await _opened(request, gateway, name)
    return gateway.relay(request, route, caller, _asked(request, "/v1/models", b""))


@router.get("/services/{name}/v1/models/{model:path}")
async def model(request: Request, gateway: TheGateway, name: Name, model: Name) -> Response:
    """The service's model by one of its names."""
    route, caller = await _opened(request, gateway, name)
    if model != DEFAULT and model not in route.model_names:
        raise _unknown(model, f"This service is {route.name!r}.")
    return gateway.relay(request, route, caller, _asked(request, f"/v1/models/{DEFAULT}", b""))


@router.get("/services/{name}/health")
async def health(request: Request, gateway: TheGateway, name: Name) -> Response:
    """Whether the service answers."""
    route, _ = await _opened(request, gateway, name)
    reason = route.reason.message if route.reason else None
    body = {"status": "ok" if route.replicas else "not_ready", "state": route.state, "replicas": len(route.replicas)}
    return respond_json(body if route.replicas else body | {"reason": reason}, 200 if route.replicas else 503)


@router.get("/services/{name}")
async def to_page(name: Name) -> Response:
    """The way to the page, whose own addresses are relative to it."""
    return pages.redirect(name)


@router.get("/services/{name}/")
async def page(name: Name) -> Response:
    """A page to chat with the service. It is the same for every name: who has no token learns nothing."""
    return pages.file("index.html")


@router.get("/services/{name}/page/{file}")
async def part(name: Name, file: Name) -> Response:
    """A part of the page."""
    return pages.file(file)


def _complete(
    request: Request, gateway: Gateway, route: Route, caller: Caller, sent: tuple[bytes, dict[str, Any]]
) -> Response:
    raw, body = sent
    model = body.get("model")
    if isinstance(model, str) and model not in (DEFAULT, route.name):
        if model not in route.model_names:
            raise _unknown(model, f"This service is {route.name!r}; `default` always names its model.")
        raw = orjson.dumps(body | {"model": DEFAULT})
    path = request.url.path[request.url.path.rindex("/v1/") :]
    return gateway.relay(request, route, caller, _asked(request, path, raw))


async def _opened(request: Request, gateway: Gateway, name: str) -> tuple[Route, Caller]:
    route = gateway.endpoints.find(name)
    caller = await gateway.keys.caller(request.headers, route)
    if route is None:
        raise _unknown(name, "`quickalign services list` shows them all.")
    return route, caller


def _asked(request: Request, path: str, body: bytes) -> Asked:
    headers = {"X-Request-ID": logs.request_id()}
    if (kind := request.headers.get("content-type")) is not None:
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
