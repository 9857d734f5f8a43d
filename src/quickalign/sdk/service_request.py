"""What a program or a command line asks for, as the request for a service or for a change of one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from quickalign.core.errors import OptionError
from quickalign.core.options import nearest
from quickalign.core.wire.services import (
    Limits,
    RevisionSpec,
    Service,
    ServiceCreate,
    ServiceName,
    ServiceUpdate,
    Source,
)
from quickalign.sdk.checks import checked
from quickalign.sdk.inputs import holds_run, resolve_model
from quickalign.sdk.session import Session

_OF_SPEC = tuple(name for name in RevisionSpec.model_fields if name != "source")
_OF_LIMITS = tuple(Limits.model_fields)
_OF_SERVICE = ("idle_stop_seconds",)
_OF_SOURCE = ("checkpoint",)
_ELSEWHERE = {"replicas": "scale()", "checkpoint": "source", "metadata": "labels"}
"""What changes that which an update does not."""

OPTIONS = (*_OF_SPEC, *_OF_SOURCE, *_OF_LIMITS, *_OF_SERVICE)
"""What `options` of a deployment may say."""

_JOBS = ("job-", "ft:")
_NAME = "Take lower-case letters, digits, '-', '_' and '.', at most 63; the first and last a letter or a digit."


def service_request(
    name: str,
    source: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    replicas: int | None = None,
    gpus: int | None = None,
    labels: Mapping[str, str] | None = None,
) -> ServiceCreate:
    """The request for a service; what is None keeps its default.

    Raises:
        OptionError: a name, a value or an option that cannot be.
    """
    check_name(name)
    refuse_unknown(options)
    found = _given({**source, **_part(options, _OF_SOURCE)})
    spec = checked(RevisionSpec, {"source": checked(Source, found), **_part(options, _OF_SPEC)})
    limits = checked(Limits, _part(options, _OF_LIMITS))
    values = {"name": name, "spec": spec, "limits": limits, "replicas": replicas, "gpus": gpus}
    values |= {"metadata": dict(labels or {}), **_part(options, _OF_SERVICE)}
    return checked(ServiceCreate, _given(values), {"metadata": "labels"})


def service_change(service: Service, changes: Mapping[str, Any]) -> ServiceUpdate:
    """The request for a change of `service`: fields of the revision's specification, limits, and its own.

    Parts of `autoscaling` that are left out stay as they are.

    Raises:
        OptionError: there is no such field, nothing changes, or a value that cannot be.
    """
    known = [*RevisionSpec.model_fields, *_OF_LIMITS, *_OF_SERVICE, "labels"]
    if unknown := sorted(set(changes) - set(known)):
        guess = _ELSEWHERE.get(unknown[0]) or nearest(unknown[0], known)
        remedy = f"Did you mean {guess!r}?" if guess else f"There are {', '.join(known)}."
        raise OptionError(f"A service has no field {unknown[0]!r} that can be changed.", remedy)
    if not changes:
        raise OptionError("The update changes nothing.", "Name a source, or an option to change.")
    spec = {name: value for name, value in changes.items() if name in RevisionSpec.model_fields}
    limits = {name: value for name, value in changes.items() if name in _OF_LIMITS}
    values = {
        "metadata" if name == "labels" else name: value
        for name, value in changes.items()
        if name not in spec and name not in limits
    }
    if spec:
        before = next(each.spec for each in service.revisions if each.number == service.target).model_dump()
        if isinstance(spec.get("source"), Mapping):
            spec["source"] = checked(Source, spec["source"])
        if isinstance(spec.get("autoscaling"), Mapping):
            spec["autoscaling"] = {**(before["autoscaling"] or {}), **spec["autoscaling"]}
        values["spec"] = checked(RevisionSpec, {**before, **spec})
    if limits:
        values["limits"] = checked(Limits, {**service.limits.model_dump(), **limits})
    return checked(ServiceUpdate, values, {"metadata": "labels"})


def resolve_source(session: Session, text: str, adapter: str | None = None) -> dict[str, Any]:
    """What `text` names: a job (by its id or that of its model), a folder of this machine, a card, or a repository.

    Raises:
        OptionError: it, or the adapter, is a folder of this machine, and the server may be another one.
    """
    if text.startswith(_JOBS):
        found = {"job": text}
    else:
        folder = Path(text).expanduser()
        found = {"model": resolve_model(session, str(folder.absolute()) if holds_run(folder) else text)}
    if adapter is not None:
        found["adapter"] = resolve_model(session, str(Path(adapter).expanduser().absolute()))
    return found


def check_name(name: str) -> None:
    """Refuse what cannot be a service's name.

    Raises:
        OptionError: it cannot.
    """
    try:
        TypeAdapter(ServiceName).validate_python(name)
    except ValidationError:
        raise OptionError(f"{name!r} cannot be a service's name.", _NAME) from None


def name_from(text: str) -> str:
    """A service's name made of a model's or a folder's."""
    plain = re.sub(r"[^a-z0-9_.-]+", "-", text.lower())[:50].strip("-_.")
    return plain or "service"


def refuse_unknown(options: Mapping[str, Any]) -> None:
    """Refuse options that a deployment does not have, with the nearest one that it has.

    Raises:
        OptionError: there is no such option.
    """
    for name in options:
        if name not in OPTIONS:
            guess = nearest(name, list(OPTIONS))
            remedy = f"Did you mean {guess!r}?" if guess else f"There are {', '.join(OPTIONS)}."
            raise OptionError(f"A deployment has no option {name!r}.", remedy)


def _part(options: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return _given({name: options[name] for name in names if name in options})


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
