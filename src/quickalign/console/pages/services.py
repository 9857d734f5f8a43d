"""Services: the list, a new one, one's page, and what can be done with it."""

from collections.abc import Callable
from functools import partial
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from quickalign.console import logs
from quickalign.console.guard import page
from quickalign.console.visit import Visit
from quickalign.core.errors import OptionError
from quickalign.core.wire.jobs import JobState, Kind
from quickalign.core.wire.services import (
    EngineChoice,
    RevisionSpec,
    Service,
    ServiceCreate,
    ServiceState,
    ServiceUpdate,
    Source,
    Weights,
)

S = ServiceState
_EVENTS, _JOBS = 200, 100
_MAKERS: tuple[Kind, ...] = ("train", "export")
_UP = (S.PENDING, S.STARTING, S.RUNNING, S.UPDATING)
_MOVING = (S.PENDING, S.STARTING, S.UPDATING, S.STOPPING, S.DELETING)


def _list(visit: Visit) -> Response:
    found = visit.platform.services.list(text=visit.query("text") or None, after=visit.query("after") or None, limit=50)
    values: dict[str, Any] = {"services": found.items, "following": found.next, "text": visit.query("text")}
    values["moving"] = any(one.state in _MOVING for one in found.items)
    return visit.page("parts/service_table.html" if visit.is_partial else "services.html", **values)


def _new(visit: Visit) -> Response:
    jobs = visit.platform.jobs.list(states=[JobState.SUCCEEDED], kinds=_MAKERS, limit=_JOBS).items
    return visit.page(
        "service_new.html",
        jobs=jobs,
        models=visit.platform.models.list(),
        engines=get_args(EngineChoice),
        weights=get_args(Weights),
        asked={name: visit.query(name) for name in ("job", "checkpoint", "model", "name")},
        service=None,
    )


def _edit(visit: Visit) -> Response:
    service = visit.platform.services.get(visit.path("service"))
    source = service.revisions[0].spec.source
    return visit.page(
        "service_new.html",
        jobs=visit.platform.jobs.list(states=[JobState.SUCCEEDED], kinds=_MAKERS, limit=_JOBS).items,
        models=visit.platform.models.list(),
        engines=get_args(EngineChoice),
        weights=get_args(Weights),
        asked={"job": source.job, "checkpoint": source.checkpoint or "", "model": source.model, "name": service.name},
        service=service,
    )


def _create(visit: Visit) -> Response:
    values: dict[str, Any] = {
        "name": visit.given("name").strip(),
        "spec": _spec(visit),
        "replicas": _number(visit, "replicas") or 1,
    }
    request = _checked(ServiceCreate, values | {"idle_stop_seconds": _number(visit, "idle_stop_seconds")})
    made = visit.platform.services.create(request, idempotency_key=visit.given("key") or None)
    return visit.go(f"/console/services/{made.name}")


def _update(visit: Visit) -> Response:
    values: dict[str, Any] = {"spec": _spec(visit), "replicas": _number(visit, "replicas") or 1}
    values["idle_stop_seconds"] = _number(visit, "idle_stop_seconds")
    made = visit.platform.services.update(visit.path("service"), _checked(ServiceUpdate, values))
    return visit.go(f"/console/services/{made.name}")


def _spec(visit: Visit) -> dict[str, Any]:
    chosen = visit.given("source")
    kind, _, name = chosen.partition(":")
    source: dict[str, Any] = {"job": name} if kind == "job" else {"model": name}
    if kind == "job" and (step := _number(visit, "checkpoint")):
        source["checkpoint"] = step
    if kind == "other":
        source = {"model": visit.given("model").strip() or None, "adapter": visit.given("adapter").strip() or None}
    spec = {"source": Source.model_validate(source) if kind != "other" else _checked(Source, source)}
    for name in ("engine", "weights"):
        spec[name] = visit.given(name) or "auto"
    for name in ("context", "max_concurrency"):
        if (number := _number(visit, name)) is not None:
            spec[name] = number
    if shares := visit.given("share_base"):
        spec["share_base"] = shares
    if prompt := visit.given("system_prompt").strip():
        spec["system_prompt"] = prompt
    checked: RevisionSpec = _checked(RevisionSpec, spec)
    return checked.model_dump()


def _number(visit: Visit, name: str) -> Any:
    plain = visit.given(name).strip()
    return int(plain) if plain.isascii() and plain.isdigit() else plain or None


def _checked(kind: type[BaseModel], values: dict[str, Any]) -> Any:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "source"
        raise OptionError(f"{where}: {first['msg']}.", "Correct the field.", field=where) from None


def _show(visit: Visit) -> Response:
    service = visit.platform.services.get(visit.path("service"))
    values = _facts(visit, service)
    if visit.is_partial:
        return visit.page("parts/service_body.html", **values)
    token = None
    if service.state not in (S.DELETED, S.DELETING):
        named = visit.platform.services.tokens.list(service.name).items
        token = {"named": [one for one in named if one.revoked_at is None]}
    return visit.page("service.html", token=token, fresh=None, **values)


def _facts(visit: Visit, service: Service) -> dict[str, Any]:
    key = service.id
    return {
        "service": service,
        "endpoint": str(visit.request.base_url).split("/console")[0].rstrip("/") + service.path,
        "events": visit.platform.services.events(key, limit=_EVENTS).items[::-1],
        "metrics": visit.platform.services.metrics(key),
        "is_up": service.state in _UP,
        "moving": service.state in _MOVING,
    }


def _token(visit: Visit) -> Response:
    """The service's own token, for whoever asks for it by a button; it is in no page that is only looked at."""
    found = visit.platform.services.tokens.own(visit.path("service"))
    if visit.is_partial:
        return visit.page("parts/service_token.html", token=found.token)
    return JSONResponse({"token": found.token})


def _rotate(visit: Visit) -> Response:
    found = visit.platform.services.tokens.rotate(visit.path("service"))
    return visit.page("parts/service_token.html", token=found.token)


def _act(visit: Visit, action: str) -> Response:
    name = visit.path("service")
    services = visit.platform.services
    calls: dict[str, Callable[[str], Any]] = {
        "start": services.start,
        "stop": services.stop,
        "rollback": services.rollback,
        "delete": services.delete,
    }
    found: Service = calls[action](name)
    return visit.go(f"/console/services/{found.id if action == 'delete' else found.name}")


def _scale(visit: Visit) -> Response:
    changes = _checked(ServiceUpdate, {"replicas": _number(visit, "replicas")})
    visit.platform.services.update(visit.path("service"), changes)
    return visit.go(f"/console/services/{visit.path('service')}")


def _log(visit: Visit) -> Response:
    """The end of a replica's log."""
    name, replica = visit.path("service"), visit.query("replica") or None
    offset, text = 0, ""
    while True:
        chunk = visit.platform.services.logs(name, replica=replica, offset=offset, limit=4 << 20)
        text = (text + chunk.text)[-logs.WINDOW :]
        if chunk.next_offset <= offset or not chunk.text:
            return visit.page("parts/service_log.html", text=text)
        offset = chunk.next_offset


ROUTES = (
    Route("/services", page(_list), methods=["GET"]),
    Route("/services", page(_create), methods=["POST"]),
    Route("/services/new", page(_new), methods=["GET"]),
    Route("/services/{service}", page(_show), methods=["GET"]),
    Route("/services/{service}/edit", page(_edit), methods=["GET"]),
    Route("/services/{service}/update", page(_update), methods=["POST"]),
    Route("/services/{service}/scale", page(_scale), methods=["POST"]),
    Route("/services/{service}/token", page(_token), methods=["POST"]),
    Route("/services/{service}/token/rotate", page(_rotate), methods=["POST"]),
    Route("/services/{service}/log", page(_log), methods=["GET"]),
    *(
        Route(f"/services/{{service}}/{action}", page(partial(_act, action=action)), methods=["POST"])
        for action in ("start", "stop", "rollback", "delete")
    ),
)
