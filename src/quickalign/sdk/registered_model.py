"""A model that is known by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from quickalign.core.errors import ModelError, NotFoundError, OptionError
from quickalign.core.wire.system import ModelDetail
from quickalign.sdk.deploy import AutoscalingConfig, deploy
from quickalign.sdk.service_request import name_from
from quickalign.sdk.session import Session, get_default_session
from quickalign.sdk.words import random_str

if TYPE_CHECKING:
    from quickalign.sdk.predictor import Predictor
    from quickalign.sdk.recipe import ModelTrainingRecipe
    from quickalign.sdk.serializers import SerializerBase

_CARDS = ("pai", "quickstart")
_PROVIDERS = (*_CARDS, "huggingface")


class RegisteredModel:
    """A model card of the server.

    Args:
        model_name: the card's name, or the repository's id.
        model_version: a revision that replaces the card's.
        model_provider: `pai`, `quickstart` or `huggingface`; all stand for the same cards.
        session: the server to ask; the default session's when None.

    Raises:
        ModelError: there is no such card; with the nearest name where there is one.
    """

    def __init__(
        self,
        model_name: str,
        model_version: str | None = None,
        model_provider: str | None = None,
        session: Session | None = None,
    ) -> None:
        check_provider(model_provider, model_name)
        self.session = session or get_default_session()
        try:
            self.card: ModelDetail = self.session.models.get(model_name)
        except NotFoundError as error:
            raise ModelError(error.message, error.remedy, field="model_name", value=model_name) from None
        self.model_name = self.card.name
        self.model_provider = model_provider
        self.model_version = model_version or self.card.revision
        self._version = model_version

    @classmethod
    def list(
        cls,
        model_name: str | None = None,
        model_provider: str | None = None,
        task: str | None = None,
        session: Session | None = None,
    ) -> Iterator[RegisteredModel]:
        """All cards, or those with these words in their name or title.

        Raises:
            OptionError: a provider that there is not, or a `task`: all cards are language models.
        """
        check_provider(model_provider, model_name)
        if task is not None:
            raise OptionError(f"task={task!r} cannot be honoured: all models are language models.", "Leave it out.")
        session = session or get_default_session()
        for card in session.models.list(text=model_name):
            yield cls(card.name, model_provider=model_provider, session=session)

    @property
    def uri(self) -> str:
        """Where its weights are published."""
        return self.card.huggingface or self.card.modelscope or self.card.name

    def training_recipe(
        self, method: str | None = None, hyperparameters: Mapping[str, Any] | None = None
    ) -> ModelTrainingRecipe:
        """A recipe that trains it."""
        from quickalign.sdk.recipe import ModelTrainingRecipe  # noqa: PLC0415 - a recipe looks models up

        return ModelTrainingRecipe(
            self.model_name,
            self._version,
            self.model_provider,
            method=method,
            hyperparameters=hyperparameters,
            session=self.session,
        )

    def deploy(
        self,
        service_name: str | None = None,
        instance_count: int | None = None,
        instance_type: str | None = None,
        resource_config: Any = None,
        options: Mapping[str, Any] | None = None,
        wait: bool = True,
        serializer: SerializerBase | None = None,
        *,
        autoscaling: AutoscalingConfig | None = None,
        labels: Mapping[str, str] | None = None,
        **unsupported: Any,
    ) -> Predictor:
        """Make a service of the model as it is published; arguments as of `ModelTrainingRecipe.deploy`.

        Args:
            service_name: made of the model's name when None.
            instance_count, instance_type, resource_config, options, wait, serializer, autoscaling, labels: as there.
            unsupported: arguments of PAI's `deploy` that cannot be honoured; each is refused with the reason.

        Raises:
            OptionError: an argument that cannot be honoured. QuickalignError: the service failed.
        """
        source = {"model": self.model_name, **({"model_revision": self._version} if self._version else {})}
        return deploy(
            self.session,
            source,
            service_name or f"{name_from(self.model_name)}-{random_str(6)}",
            instance_type=instance_type,
            instance_count=instance_count,
            resource_config=resource_config,
            options=options,
            autoscaling=autoscaling,
            wait=wait,
            labels=labels,
            serializer=serializer,
            unsupported=unsupported,
        )

    def __eq__(self, other: object) -> bool:
        mine = (self.model_name, self.model_version)
        return isinstance(other, RegisteredModel) and (other.model_name, other.model_version) == mine

    def __hash__(self) -> int:
        return hash((self.model_name, self.model_version))

    def __repr__(self) -> str:
        return f"RegisteredModel(model_name={self.model_name!r}, model_version={self.model_version!r})"


def check_provider(provider: str | None, model: str | None) -> None:
    """Refuse a provider of models that there is not.

    Raises:
        OptionError: `provider` is none of those known.
    """
    if provider is None or provider in _PROVIDERS:
        return
    raise OptionError(
        f"model_provider={provider!r} of {model or 'the model'} is not known.",
        f"Take one of {', '.join(_PROVIDERS)}, or leave it out.",
    )
