"""Model cards: what is known about a model before it is fetched. One YAML file a family, in the folder `cards`."""

import difflib
from collections.abc import Mapping
from functools import cache, cached_property
from importlib import resources
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from quickalign.core import paths
from quickalign.core.errors import ModelError
from quickalign.core.hyperparameters import Method, Strategy
from quickalign.hub.needs import METHODS, gpu_memory
from quickalign.hub.shape import ModelShape, read_shape, shape_of


class License(BaseModel):
    """A model's licence, and whether its publisher must be asked before the download."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    needs_acceptance: bool


class ModelCard(BaseModel):
    """One model.

    `context_length` is in tokens, as trained, without scaling positions by hand. `chat_template` is the kind of its
    template, None for a base model, which was not trained on one. `parameters` is the number of weights; a tied head
    counts once. `revision` names a commit, tag or branch on Hugging Face and `modelscope_revision` on ModelScope; a
    branch means the newest. `config` holds those fields of the model's config.json that fix its shape.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.\-]*$")
    title: str
    family: str
    provider: str
    parameters: int = Field(gt=0)
    license: License
    context_length: int = Field(gt=0)
    languages: tuple[str, ...]
    instruct: bool
    chat_template: str | None
    strategies: tuple[Strategy, ...] = ("sft", "dpo")
    methods: tuple[Method, ...] = METHODS
    mission_gpu: str | None = None
    embedded: bool = False
    huggingface: str | None = None
    modelscope: str | None = None
    revision: str = "main"
    modelscope_revision: str = "master"
    config: Mapping[str, Any] | None = None

    @model_validator(mode="after")
    def _has_a_source(self) -> "ModelCard":
        if not self.embedded and (self.config is None or self.huggingface is None):
            raise ValueError("a card needs a repository and its config, or to be embedded")
        return self

    @cached_property
    def shape(self) -> ModelShape:
        """The model's shape, known without a download.

        Raises:
            ModelError: the embedded model is missing from this installation.
        """
        if self.config is None:
            return read_shape(paths.assets() / self.name)
        published = {"dtype": "bfloat16", **self.config, "max_position_embeddings": self.context_length}
        return shape_of(published, self.name)

    @property
    def needs(self) -> Mapping[Method, float]:
        """The GPU memory needed by method in GB; `hub/needs.py` states the formula."""
        return gpu_memory(self.shape)

    @property
    def names(self) -> tuple[str, ...]:
        """Everything the model can be called."""
        return tuple(name for name in (self.name, self.huggingface, self.modelscope) if name)


@cache
def cards() -> tuple[ModelCard, ...]:
    """All cards: the embedded model first, then by family and size."""
    folder = resources.files("quickalign.hub") / "cards"
    files = [file for file in folder.iterdir() if file.name.endswith(".yaml")]
    found = [card for file in files for card in _read(file.read_text(encoding="utf-8"))]
    return tuple(sorted(found, key=lambda card: (not card.embedded, card.family, card.parameters, card.name)))


def find_card(name: str) -> ModelCard:
    """The card with this name, Hugging Face id or ModelScope id, in any case.

    Raises:
        ModelError: there is none; the sentence names the nearest.
    """
    if card := card_or_none(name):
        return card
    known = [card.name for card in cards()]
    plain = name.lower().rpartition("/")[2]
    close = difflib.get_close_matches(plain, known, n=3, cutoff=0.5)
    remedy = f"Did you mean {', '.join(close)}?" if close else "`quickalign models list` shows them all."
    raise ModelError(f"There is no model card {name!r}.", remedy)


def card_or_none(name: str) -> ModelCard | None:
    """`find_card` for a name that may well have no card."""
    return _by_name().get(name.lower())


@cache
def _by_name() -> dict[str, ModelCard]:
    return {name.lower(): card for card in cards() for name in card.names}


def _read(text: str) -> list[ModelCard]:
    # libyaml reads the cards six times as fast as PyYAML's own code, where it is there.
    content = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    return [ModelCard.model_validate({**content["defaults"], **model}) for model in content["models"]]
