"""Models: the cards under the provider `pai`, and those that clients register in the workspace."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from quickalign.api.pai import places, specs
from quickalign.api.pai.call import REGION, WORKSPACE, Call, invalid, missing, unsupported
from quickalign.core.errors import NotFoundError
from quickalign.core.wire.system import ModelSummary
from quickalign.platform.registry import Registered, RegisteredVersion

PROVIDERS = ("pai", "quickstart")
_CARD = "card-"
_VERSION = "1.0.0"
_TASK = "large-language-model"
_MODEL_FIELDS = ("Accessibility", "Domain", "Labels", "ModelDescription", "ModelDoc", "Origin", "Task")
_VERSION_FIELDS = (
    "ApprovalStatus", "CompressionSpec", "EvaluationSpec", "FormatType", "FrameworkType", "InferenceSpec", "Labels",
    "Metrics", "Options", "SourceId", "SourceType", "TrainingSpec", "VersionDescription",
)  # fmt: skip


def list_all(call: Call) -> dict[str, Any]:
    """ListModels: cards with the provider `pai`, registered models without one. A name in quotes is meant exactly."""
    number, size = call.page()
    asked = call.query.get("ModelName") or ""
    exact = asked[1:-1] if len(asked) > 1 and asked[0] == asked[-1] == '"' else None
    provider = call.query.get("Provider")
    if not provider:
        found, total = call.platform.registry.list(
            name=exact, text=None if exact else asked, offset=(number - 1) * size, limit=size
        )
        return {"Models": [_registered(one) for one in found], "TotalCount": total}
    if provider not in PROVIDERS:
        raise unsupported("Provider", provider, f"models are those of {' and '.join(PROVIDERS)}, or registered ones")
    cards = _cards(call, exact) if exact else [*call.platform.models.list(text=asked or None)]
    if (task := call.query.get("Task")) and task != _TASK:
        cards = []
    page = cards[(number - 1) * size : number * size]
    return {"Models": [_card(call, card, provider) for card in page], "TotalCount": len(cards)}


def get(call: Call) -> dict[str, Any]:
    """GetModel."""
    if (card := _named(call)) is not None:
        return _card(call, card, PROVIDERS[0])
    try:
        return _registered(call.platform.registry.get(call.path["id"]))
    except NotFoundError:
        raise missing("Model", call.path["id"]) from None


def create(call: Call) -> dict[str, Any]:
    """CreateModel."""
    name = call.text("ModelName")
    if name is None:
        raise invalid("ModelName", None, "it is missing")
    return {"ModelId": call.platform.registry.create(name, _kept(call, _MODEL_FIELDS, ("ModelName",))).id}


def delete(call: Call) -> dict[str, Any]:
    """DeleteModel."""
    call.platform.registry.delete(call.path["id"])
    return {}


def create_version(call: Call) -> dict[str, Any]:
    """CreateModelVersion."""
    uri = call.text("Uri")
    if uri is None:
        raise invalid("Uri", None, "it is missing")
    places.parse("Uri", uri)
    details = _kept(call, _VERSION_FIELDS, ("Uri", "VersionName"))
    made = call.platform.registry.add_version(call.path["id"], uri, details, call.text("VersionName"))
    return {"VersionName": made.name}


def list_versions(call: Call) -> dict[str, Any]:
    """ListModelVersions."""
    number, size = call.page()
    if (card := _named(call)) is not None:
        version = _card_version(call, card)
        fits = call.query.get("VersionName") in (None, "", _VERSION) and number == 1
        return {"Versions": [version] if fits else [], "TotalCount": int(fits)}
    found, total = call.platform.registry.versions(
        call.path["id"], name=call.query.get("VersionName") or None, offset=(number - 1) * size, limit=size
    )
    return {"Versions": [_version(one) for one in found], "TotalCount": total}


def get_version(call: Call) -> dict[str, Any]:
    """GetModelVersion."""
    if (card := _named(call)) is not None:
        if call.path["version"] != _VERSION:
            raise missing("ModelVersion", call.path["version"])
        return _card_version(call, card)
    return _version(call.platform.registry.version(call.path["id"], call.path["version"]))


def update_version(call: Call) -> dict[str, Any]:
    """UpdateModelVersion."""
    details = _kept(call, _VERSION_FIELDS, ())
    call.platform.registry.update_version(call.path["id"], call.path["version"], details)
    return {}


def delete_version(call: Call) -> dict[str, Any]:
    """DeleteModelVersion."""
    call.platform.registry.delete_version(call.path["id"], call.path["version"])
    return {}


def moment(seconds: float) -> str:
    """A time as the dialect writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _kept(call: Call, names: tuple[str, ...], others: tuple[str, ...]) -> dict[str, Any]:
    """What is said of a model and only kept, to be given back."""
    for name, value in call.body.items():
        if name not in names and name not in others and name != "WorkspaceId" and value is not None:
            raise unsupported(name, value, "models here have no such property")
    return {name: call.body[name] for name in names if call.body.get(name) is not None}


def _cards(call: Call, name: str) -> list[ModelSummary]:
    try:
        return [call.platform.models.get(name)]
    except NotFoundError:
        return []


def _named(call: Call) -> ModelSummary | None:
    """The card whose id the address names."""
    if not call.path["id"].startswith(_CARD):
        return None
    found = _cards(call, call.path["id"].removeprefix(_CARD))
    if not found:
        raise missing("Model", call.path["id"])
    return found[0]


def _card(call: Call, card: ModelSummary, provider: str) -> dict[str, Any]:
    return {
        "ModelId": _CARD + card.name,
        "ModelName": card.name,
        "ModelDescription": card.title,
        "Provider": provider,
        "Domain": "nlp",
        "Task": _TASK,
        "Accessibility": "PUBLIC",
        "Labels": [{"Key": "license", "Value": card.license}, {"Key": "family", "Value": card.family}],
        "LatestVersion": _card_version(call, card),
    }


def _card_version(call: Call, card: ModelSummary) -> dict[str, Any]:
    uri = places.of_model(card.name)
    return {
        "VersionName": _VERSION,
        "Uri": uri,
        "FrameworkType": "PyTorch",
        "Labels": [],
        "TrainingSpec": specs.training_spec(call.platform, uri, REGION),
        "InferenceSpec": specs.inference_spec(),
    }


def _registered(model: Registered) -> dict[str, Any]:
    found = {
        **model.details,
        "ModelId": model.id,
        "ModelName": model.name,
        "WorkspaceId": WORKSPACE,
        "Labels": model.details.get("Labels", []),
        "GmtCreateTime": moment(model.created_at),
        "GmtModifiedTime": moment(model.updated_at),
    }
    return found | ({"LatestVersion": _version(model.latest)} if model.latest else {})


def _version(version: RegisteredVersion) -> dict[str, Any]:
    details: Mapping[str, Any] = version.details
    return {
        **details,
        "VersionName": version.name,
        "Uri": version.uri,
        "Labels": details.get("Labels", []),
        "GmtCreateTime": moment(version.created_at),
        "GmtModifiedTime": moment(version.updated_at),
    }
