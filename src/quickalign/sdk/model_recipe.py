"""A recipe of any type, as PAI's `ModelRecipe`: training, evaluation of a model, compression of what was trained."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from quickalign.core.errors import OptionError
from quickalign.core.wire.jobs import NewJob
from quickalign.sdk import cloud, tasks
from quickalign.sdk.inputs import submit
from quickalign.sdk.recipe import ModelTrainingRecipe, Place
from quickalign.sdk.session import Session, get_default_session
from quickalign.sdk.training_job import TrainingJob
from quickalign.sdk.words import random_str, say

_ALIASES = {"fine_tuning": "training"}


class ModelRecipeType(StrEnum):
    """What a recipe does; `fine_tuning` is another word for `training`."""

    TRAINING = "training"
    EVALUATION = "evaluation"
    COMPRESSION = "compression"


class ModelRecipe:
    """Trains, evaluates or compresses a model, as `recipe_type` says.

    Args:
        model_name: a model card's name or a repository's id; to evaluate or compress, also a job's id.
        model_uri: a folder, used instead of `model_name`.
        recipe_type: `training`, `evaluation` or `compression`.
        hyperparameters: options by the names of the reference pages: of training, of an evaluation, of an export.
        instance_type, instance_spec, instance_count, labels, base_job_name, priority, max_retries, session: as of
            `ModelTrainingRecipe`.
        others: further arguments of `ModelTrainingRecipe`, for `training`; others of PAI's are refused with the reason.

    Raises:
        OptionError: an option, a name or a combination that cannot be honoured.
    """

    def __init__(
        self,
        model_name: str | None = None,
        *,
        model_uri: Place | None = None,
        recipe_type: ModelRecipeType | str = ModelRecipeType.TRAINING,
        hyperparameters: Mapping[str, Any] | None = None,
        instance_type: str | None = None,
        instance_spec: Any = None,
        instance_count: int | None = None,
        labels: Mapping[str, str] | None = None,
        base_job_name: str | None = None,
        priority: int = 0,
        max_retries: int = 3,
        session: Session | None = None,
        **others: Any,
    ) -> None:
        self.recipe_type = _type_of(recipe_type)
        self.session = session or get_default_session()
        self._jobs: list[TrainingJob] = []
        self._training: ModelTrainingRecipe | None = None
        if self.recipe_type is ModelRecipeType.TRAINING:
            self._training = ModelTrainingRecipe(
                model_name,
                model_uri=model_uri,
                hyperparameters=hyperparameters,
                instance_type=instance_type,
                instance_spec=instance_spec,
                instance_count=instance_count,
                labels=labels,
                base_job_name=base_job_name,
                priority=priority,
                max_retries=max_retries,
                session=self.session,
                **others,
            )
            return
        cloud.refuse(others, what=f"A recipe of type {self.recipe_type}")
        model = model_uri or model_name
        if model is None:
            raise OptionError("A recipe needs a model.", "Give model_name, or model_uri for a folder.")
        gpus = cloud.gpus_of(instance_type, instance_spec, instance_count)
        self._options = {**(hyperparameters or {}), "model": os.fspath(model)}
        self._job = {"gpus": gpus, "metadata": dict(labels or {}), "priority": priority, "max_retries": max_retries}
        self._name = base_job_name or self.recipe_type.value

    @property
    def latest_job(self) -> TrainingJob | None:
        """The job made last by this recipe."""
        if self._training is not None:
            return self._training.latest_job
        return self._jobs[-1] if self._jobs else None

    def run(
        self,
        inputs: Mapping[str, Place] | None = None,
        outputs: Mapping[str, Place] | None = None,
        wait: bool = True,
        job_name: str | None = None,
        show_logs: bool = True,
    ) -> TrainingJob:
        """Make a job; what it found is in `job.record.results`, and its report in `job.report()`.

        Args:
            inputs: as of `ModelTrainingRecipe.train`; for an evaluation `data`, and `base` or `against` where wanted;
                for a compression `data`, where parity is to be shown on other rows than those the run keeps.
            outputs: `model`: where results are copied at the end, a path or a URI.
            wait: whether to return only when the job is over.
            job_name: a name for people; made up when None.
            show_logs: whether to show events and log while waiting.

        Raises:
            QuickalignError: the job cannot be made, or it failed while it was waited for; with the whole message.
        """
        if self._training is not None:
            return self._training.train(inputs, outputs, wait, job_name, show_logs)
        job = TrainingJob(submit(self.session, self._request(inputs, outputs, job_name)), self.session)
        self._jobs.append(job)
        if show_logs:
            say(f"Job {job.id} ({job.training_job_name}): {job.console_uri}")
        if wait:
            job.wait(show_logs=show_logs)
        return job

    def _request(
        self, inputs: Mapping[str, Place] | None, outputs: Mapping[str, Place] | None, job_name: str | None
    ) -> NewJob:
        evaluates = self.recipe_type is ModelRecipeType.EVALUATION
        known = {"data", "model", "base", "against"} if evaluates else {"data", "model"}
        if unknown := sorted({*(inputs or {})} - known) + sorted({*(outputs or {})} - {"model"}):
            raise OptionError(
                f"A recipe of type {self.recipe_type} has no input or output {unknown[0]!r}.",
                f"It takes {', '.join(sorted(known))}, and the output model.",
            )
        name = job_name or f"{self._name}-{time.strftime('%Y%m%d-%H%M%S')}-{random_str(6)}"
        options = self._options | {key: os.fspath(value) for key, value in (inputs or {}).items()}
        job = {**self._job, "name": name, "output": (outputs or {}).get("model")}
        return tasks.evaluation(self.session, options, job) if evaluates else tasks.export(self.session, options, job)


def _type_of(given: ModelRecipeType | str) -> ModelRecipeType:
    text = str(given)
    try:
        return ModelRecipeType(_ALIASES.get(text, text))
    except ValueError:
        known = ", ".join(ModelRecipeType)
        raise OptionError(f"recipe_type={text!r} is none.", f"Take one of {known}.") from None
