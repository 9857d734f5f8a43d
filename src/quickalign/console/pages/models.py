"""The gallery of model cards, and each card."""

import json
from typing import Any
from urllib.parse import unquote

from starlette.responses import Response
from starlette.routing import Route

from quickalign.console import notebook
from quickalign.console.guard import page
from quickalign.console.sample import SAMPLE_TRAIN, first_settings
from quickalign.console.snippets import training
from quickalign.console.visit import Visit
from quickalign.core.wire.jobs import JobCreate, TrainRequest
from quickalign.core.wire.system import ModelDetail, ModelSummary

_SIZES = {"small": (0, 2e9), "medium": (2e9, 10e9), "large": (10e9, float("inf"))}


def _gallery(visit: Visit) -> Response:
    asked = {name: visit.query(name) for name in ("text", "method", "provider", "family", "size", "fits")}
    everything = visit.platform.models.list()
    narrowed = {name: asked[name] or None for name in ("text", "method")}
    cards = visit.platform.models.list(**narrowed) if any(narrowed.values()) else everything
    memory, kind = largest_device(visit)
    shown = [(card, best_fit(card, memory)) for card in cards if _matches(card, asked)]
    if asked["fits"]:
        shown = [(card, fit) for card, fit in shown if fit]
    values: dict[str, Any] = {
        "cards": shown,
        "asked": asked,
        "total": len(everything),
        "memory": memory,
        "device_kind": kind,
        "providers": sorted({card.provider for card in everything}),
        "families": sorted({card.family for card in everything}),
    }
    return visit.page("parts/cards.html" if visit.is_partial else "models.html", **values)


def _card(visit: Visit) -> Response:
    card = visit.platform.models.get(visit.path("name"))
    memory, kind = largest_device(visit)
    request = example_request(card.name, embedded=card.embedded)
    return visit.page(
        "model.html",
        card=card,
        memory=memory,
        device_kind=kind,
        fit=best_fit(card, memory),
        code=training.all_of(request, visit.endpoint),
        sample=SAMPLE_TRAIN,
        has_jupyter=visit.platform.notebooks.has_jupyter,
    )


def _notebook(visit: Visit) -> Response:
    card = visit.platform.models.get(visit.path("name"))
    text = json.dumps(_notebook_of(card), indent=1, ensure_ascii=False)
    headers = {"Content-Disposition": f'attachment; filename="{card.name}.ipynb"'}
    return Response(text, media_type="application/x-ipynb+json", headers=headers)


def _open_notebook(visit: Visit) -> Response:
    """Put the notebook into the operator's Jupyter, and say where it is."""
    card = visit.platform.models.get(visit.path("name"))
    address = visit.platform.notebooks.open(card.name, _notebook_of(card))
    return visit.page("parts/notebook_link.html", where=address, name=unquote(address.rpartition("/")[2]))


def _notebook_of(card: ModelDetail) -> dict[str, Any]:
    return notebook.make(example_request(card.name, embedded=card.embedded))


def example_request(model: str, *, embedded: bool) -> JobCreate:
    """What the examples of a card train: the sample preferences by DPO."""
    spec = TrainRequest(model=model, train=SAMPLE_TRAIN, hyperparameters=first_settings(embedded=embedded))
    return JobCreate(spec=spec)


def largest_device(visit: Visit) -> tuple[int, str]:
    """The memory of the largest device that jobs run on, in bytes, and its kind: a GPU where there is one."""
    devices = visit.platform.devices
    cards = [device for device in devices if device.kind == "cuda"]
    best = max(cards or devices, key=lambda device: device.total_bytes)
    return best.total_bytes, best.kind


def best_fit(card: ModelSummary, memory: int) -> str | None:
    """The least restrained way of training that fits in so many bytes; None where none does."""
    order = ("full", "lora", "qlora-8bit", "qlora-4bit")
    return next((way for way in order if card.gpu_memory_gb.get(way, float("inf")) * 1e9 <= memory), None)


def _matches(card: ModelSummary, asked: dict[str, Any]) -> bool:
    low, high = _SIZES.get(asked["size"], (0, float("inf")))
    return (
        (not asked["provider"] or card.provider == asked["provider"])
        and (not asked["family"] or card.family == asked["family"])
        and low <= card.parameters < high
    )


ROUTES = (
    Route("/models", page(_gallery)),
    Route("/models/{name}", page(_card)),
    Route("/models/{name}/notebook.ipynb", page(_notebook)),
    Route("/models/{name}/notebook", page(_open_notebook), methods=["POST"]),
)
