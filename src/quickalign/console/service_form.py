"""The form of a service: what it begins with, and what it asks for.

A change begins with the revision that is wanted now. What the form has no field for, and what a request leaves out of
it, stays as it was.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quickalign.console.form_values import checked, filled, text
from quickalign.core.errors import OptionError
from quickalign.core.wire.services import Revision, RevisionSpec, Service, Source

_OPTIONS = ("engine", "weights", "context", "max_concurrency", "share_base")
SCALING = {
    "min_replicas": "min",
    "max_replicas": "max",
    "ongoing_requests": "ongoing_requests",
    "quiet_seconds": "quiet_seconds",
}
"""The fields of autoscaling, as the command line calls them, and what each is called on the wire."""

_JOB, _MODEL, _OTHER = "job", "model", "other"
_BESIDE: Mapping[str, tuple[str, ...]] = {_JOB: ("checkpoint",), _MODEL: (), _OTHER: ("model", "adapter")}
"""The fields that each kind of source has besides its own name."""


@dataclass(frozen=True, slots=True)
class Begin:
    """What the fields that name a source hold at first; `source` is the value of the one that chooses."""

    source: str = ""
    checkpoint: int | None = None
    model: str = ""
    adapter: str = ""


def wanted(service: Service) -> Revision:
    """The revision that a service is to serve: after a rollback, not the newest."""
    return next(one for one in service.revisions if one.number == service.target)


def answering(service: Service) -> Revision:
    """The revision that answers, or that will where none does yet."""
    return next((one for one in service.revisions if one.number == service.revision), wanted(service))


def begin(source: Source, cards: set[str]) -> Begin:
    """The fields that name `source`; a model that is none of `cards` is named as text."""
    if source.job is not None:
        return Begin(f"{_JOB}:{source.job}", source.checkpoint)
    if source.adapter is None and source.model in cards:
        return Begin(f"{_MODEL}:{source.model}")
    return Begin(f"{_OTHER}:", model=source.model or "", adapter=source.adapter or "")


def spec_of(form: Mapping[str, Any], before: RevisionSpec | None = None) -> RevisionSpec:
    """What a form asks to be served, and how.

    Raises:
        OptionError: a value that cannot be, or one that would have no effect.
    """
    values: dict[str, Any] = before.model_dump() if before else {}
    values["source"] = _source(form, before.source if before else None)
    for name in _OPTIONS:
        if name in form:
            found = filled(form, name)
            values[name] = RevisionSpec.model_fields[name].default if found is None else found
    if "system_prompt" in form:
        prompt = str(form["system_prompt"]).replace("\r\n", "\n")
        adds_none = before is not None and before.system_prompt == ""
        values["system_prompt"] = prompt if prompt.strip() else "" if adds_none else None
    if any(name in form for name in SCALING):
        values["autoscaling"] = _scaling(form)
    return checked(RevisionSpec, values, "source")


def _source(form: Mapping[str, Any], before: Source | None) -> Source:
    kind, _, name = text(form, "source").partition(":")
    beside = _BESIDE.get(kind)
    if beside is None:
        raise OptionError("The form does not say what is served.", "Reload the page.", field="source")
    if kind != _JOB and text(form, "checkpoint"):
        raise OptionError(
            f"checkpoint={text(form, 'checkpoint')} has no effect: what is served is no job.",
            "Choose the job, or empty the field.",
            field="checkpoint",
        )
    if kind != _OTHER and (stray := text(form, "model") or text(form, "adapter")):
        raise OptionError(
            f"{stray!r} has no effect: what is served is chosen above.",
            "Choose “a folder or a repository” there, or empty the field.",
            field="model" if text(form, "model") else "adapter",
        )
    values: dict[str, Any] = {} if kind == _OTHER else {kind: name}
    values |= {field: filled(form, field) for field in beside}
    if before is not None and before.model_revision and values.get("model") == before.model:
        values["model_revision"] = before.model_revision
    return checked(Source, values, "source")


def _scaling(form: Mapping[str, Any]) -> dict[str, Any] | None:
    found = {wire: value for name, wire in SCALING.items() if (value := filled(form, name)) is not None}
    if found and "max" not in found:
        raise OptionError("Autoscaling needs its upper bound.", "Fill in the most replicas, or empty its other fields.")
    return found or None
