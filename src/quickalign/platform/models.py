"""Model cards as they travel."""

import re
from functools import cache
from typing import Any

from quickalign.core.errors import ModelError, NotFoundError
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.wire.system import ModelDetail, ModelSummary
from quickalign.hub.cards import ModelCard, cards, find_card

_SUMMARY = ("name", "title", "family", "provider", "parameters", "context_length", "instruct", "embedded")

_OWNER = "quickalign"


def trained_name(model: str, job_name: str, job_id: str) -> str:
    """OpenAI's name of what a job trained: `ft:<base>:quickalign:<suffix>:<id>`."""
    suffix = re.sub(r"[^a-z0-9._-]+", "-", job_name.lower()).strip("-")
    return f"ft:{model}:{_OWNER}:{suffix}:{job_id.removeprefix('job-')}"


def trained_job(name: str) -> str | None:
    """The id of the job that trained the model `name`; None where it is no fine-tuned one."""
    return "job-" + name.rpartition(":")[2] if name.startswith("ft:") else None


class Models:
    """The cards."""

    def list(self, *, text: str | None = None, method: str | None = None) -> tuple[ModelSummary, ...]:
        """Cards whose names contain `text`, and that can be trained by `method` (a strategy or a way of training)."""
        return tuple(said for card, said in _summaries() if _contains(card, text) and _offers(card, method))

    def get(self, name: str) -> ModelDetail:
        """One card by its name or by a repository's.

        Raises:
            NotFoundError: there is none; the sentence names the nearest.
        """
        try:
            card = find_card(name)
        except ModelError as error:
            raise NotFoundError(error.message, error.remedy, field="model", value=name) from None
        return ModelDetail(
            **_summary(card),
            huggingface=card.huggingface,
            modelscope=card.modelscope,
            revision=card.revision,
            mission_gpu=card.mission_gpu,
            hyperparameters=_schema(),
        )


@cache
def _summaries() -> tuple[tuple[ModelCard, ModelSummary], ...]:
    """All cards as they travel; made once, because cards do not change while a program runs."""
    return tuple((card, ModelSummary(**_summary(card))) for card in cards())


@cache
def _schema() -> dict[str, Any]:
    """The options' schema; made once, because making it takes longer than all else that a card says."""
    return Hyperparameters.model_json_schema()


def _summary(card: ModelCard) -> dict[str, Any]:
    values, needs = {name: getattr(card, name) for name in _SUMMARY}, card.needs
    return values | {
        "license": card.license.name,
        "languages": card.languages,
        "methods": card.methods,
        "strategies": card.strategies,
        "gpu_memory_gb": {method: needs[method] for method in card.methods},
    }


def _contains(card: ModelCard, text: str | None) -> bool:
    return text is None or any(text.lower() in name.lower() for name in (*card.names, card.title, card.family))


def _offers(card: ModelCard, method: str | None) -> bool:
    return method is None or method in card.methods or method in card.strategies
