"""Services: the list, a new one, one's page, and what can be done with it."""

from collections.abc import Callable
from functools import partial
from typing import Any, get_args

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from quickalign.console import logs, service_form
from quickalign.console.form_values import checked, filled
from quickalign.console.guard import page
from quickalign.console.service_form import spec_of
from quickalign.console.visit import Visit
from quickalign.core.wire.jobs import JobState, Kind
from quickalign.core.wire.pages import log_chunks
from quickalign.core.wire.services import (
    Autoscaling,
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
    values["answering"] = service_form.answering
    values["moving"] = any(one.state in _MOVING for one in found.items)
    return visit.page("parts/service_table.html" if visit.is_partial else "services.html", **values)


def _new(visit: Visit) -> Response:
    job, model, step = visit.query("job"), visit.query("model"), visit.count("checkpoint")
    source = Source(job=job, checkpoint=step or None) if job else Source(model=model) if model else None
    return _form(visit, source, name=visit.query("name"))


def _edit(visit: Visit) -> Response:
    service = visit.platform.services.get(visit.path("service"))
    spec = service_form.wanted(service).spec
    return _form(visit, spec.source, name=service.name, service=service, spec=spec)


def _form(
    visit: Visit, source: Source | None, *, name: str, service: Service | None = None, spec: RevisionSpec | None = None
) -> Response:
    jobs = visit.platform.jobs.list(states=[JobState.SUCCEEDED], kinds=_MAKERS, limit=_JOBS).items
    models = visit.platform.models.list()
    begin = service_form.begin(source, {one.name for one in models}) if source else service_form.Begin()
    listed = {f"job:{job.id}" for job in jobs}
    return visit.page(
        "service_new.html",
        jobs=jobs,
        # one that has not succeeded has checkpoints, and one may be too old for the list
        further=source.job if source and source.job and begin.source not in listed else None,
        models=models,
        engines=get_args(EngineChoice),
        weights=get_args(Weights),
        begin=begin,
        name=name,
        service=service,
        spec=spec,
        on_cluster=visit.platform.config.executor == "ray",
        scaling=Autoscaling.model_fields,
    )


def _create(visit: Visit) -> Response:
    values: dict[str, Any] = {"name": visit.given("name").strip(), "spec": spec_of(visit.form)}
    if (replicas := filled(visit.form, "replicas")) is not None:
        values["replicas"] = replicas
    request = checked(ServiceCreate, values | {"idle_stop_seconds": filled(visit.form, "idle_stop_seconds")}, "spec")
    made = visit.platform.services.create(request, idempotency_key=visit.given("key") or None)
    return visit.go(f"/console/services/{made.name}")


def _update(visit: Visit) -> Response:
    service = visit.platform.services.get(visit.path("service"))
    values: dict[str, Any] = {"spec": spec_of(visit.form, service_form.wanted(service).spec)}
    if (replicas := filled(visit.form, "replicas")) is not None:
        values["replicas"] = replicas
    if "idle_stop_seconds" in visit.form:
        values["idle_stop_seconds"] = filled(visit.form, "idle_stop_seconds")
    made = visit.platform.services.update(service.name, checked(ServiceUpdate, values, "spec"))
    return visit.go(f"/console/services/{made.name}")


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
        "endpoint": visit.endpoint.rstrip("/") + service.path,
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
    changes = checked(ServiceUpdate, {"replicas": filled(visit.form, "replicas")}, "replicas")
    visit.platform.services.update(visit.path("service"), changes)
    return visit.go(f"/console/services/{visit.path('service')}")


def _log(visit: Visit) -> Response:
    """The end of a replica's log."""
    name, replica = visit.path("service"), visit.query("replica") or None
    text = ""
    for chunk in log_chunks(lambda at: visit.platform.services.logs(name, replica=replica, offset=at, limit=4 << 20)):
        text = (text + chunk.text)[-logs.WINDOW :]
    return visit.page("parts/service_log.html", text=text)


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
