"""A model, a method and options, trained on data: PAI's `ModelTrainingRecipe` on machines of one's own."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from quickalign.core.errors import OptionError
from quickalign.core.wire.jobs import Estimate, EstimateRequest, JobCreate, TrainRequest
from quickalign.sdk import cloud
from quickalign.sdk.checks import checked
from quickalign.sdk.definitions import HyperParameterDefinition, hyperparameter_definitions
from quickalign.sdk.deploy import AutoscalingConfig
from quickalign.sdk.inputs import resolve_input, resolve_model, resolve_output, submit
from quickalign.sdk.methods import apply_method
from quickalign.sdk.predictor import Predictor
from quickalign.sdk.registered_model import RegisteredModel, check_provider
from quickalign.sdk.serializers import SerializerBase
from quickalign.sdk.session import Session, get_default_session
from quickalign.sdk.training_job import TrainingJob
from quickalign.sdk.words import random_str, say

Place = str | os.PathLike[str]

_SAMPLE = "oss://pai-quickstart-{region}/huggingface/datasets/safe_rlhf/sampled_train.json"


class ModelTrainingRecipe:
    """What to train and how. Options and names are checked here, before anything is sent or uploaded.

    Args:
        model_name: a model card's name, or a repository's id.
        model_version: a revision of it that replaces the card's.
        model_provider: `pai` or `quickstart` for a model card, `huggingface` for any repository; None takes either.
        model_uri: a folder with weights, used instead of those of `model_name`.
        method: `LoRA_LLM`, `QLoRA_LLM` or `Standard` (all weights); None leaves it to the options.
        model_channel_name: the name in `inputs` that replaces the model.
        hyperparameters: options by the names of the reference page; those left out have their defaults.
        instance_type: `cpu`, `gpu:N`, or an ECS type that names its GPUs; None takes what the server has.
        instance_count: workers that train together, each an instance; more than 1 needs a server with a cluster.
        strategy: how they share the weights: `ddp` (whole in each) or `fsdp2` (in pieces).
        instance_spec: `{"gpu": N}`.
        labels: up to 16 labels of your own.
        default_training_inputs: what `train()` without inputs trains on; by default the sample preference set.
        base_job_name: how names of jobs begin.
        priority: higher starts first.
        max_retries: restarts from the last checkpoint after a crash.
        data_format, safe_rlhf_preference, bad_rows, sample_prompts, sample_tokens, closing_rows: as of a run's
            specification.
        session: the server to train on; the default session's when None.
        unsupported: arguments of PAI's recipe that cannot be honoured; each is refused with the reason.

    Raises:
        OptionError: an option, a name or a combination that cannot be honoured. ModelError: no such model.
    """

    def __init__(
        self,
        model_name: str | None = None,
        model_version: str | None = None,
        model_provider: str | None = None,
        model_uri: Place | None = None,
        method: str | None = None,
        *,
        model_channel_name: str = "model",
        hyperparameters: Mapping[str, Any] | None = None,
        instance_count: int | None = None,
        instance_type: str | None = None,
        instance_spec: Any = None,
        labels: Mapping[str, str] | None = None,
        default_training_inputs: Mapping[str, Place] | None = None,
        base_job_name: str | None = None,
        priority: int = 0,
        max_retries: int = 3,
        data_format: str = "auto",
        safe_rlhf_preference: str = "better",
        bad_rows: str = "error",
        sample_prompts: Sequence[str] = (),
        sample_tokens: int = 128,
        closing_rows: int = 16,
        strategy: str = "ddp",
        session: Session | None = None,
        **unsupported: Any,
    ) -> None:
        cloud.refuse(unsupported)
        if model_name is None and model_uri is None:
            raise OptionError("A recipe needs a model.", "Give model_name, or model_uri for a folder of weights.")
        check_provider(model_provider, model_name)
        self.hyperparameters = dict(hyperparameters or {})
        apply_method(method, self.hyperparameters)
        self.session = session or get_default_session()
        self.model_name = model_name
        self.model_version = model_version
        self.model_provider = model_provider
        self.model_uri = os.fspath(model_uri) if model_uri is not None else None
        self.method = method
        self.model_channel_name = model_channel_name
        self.gpus = cloud.gpus_of_instance(instance_type, instance_spec)
        self.workers = cloud.workers_of(instance_count)
        self.labels = dict(labels or {})
        self.base_job_name = base_job_name or "modeltrainingrecipe"
        self.priority = priority
        self.max_retries = max_retries
        self.default_inputs: dict[str, Place] = dict(
            default_training_inputs or {"train": _SAMPLE.format(region=self.session.region_id)}
        )
        self._data = {
            "data_format": data_format,
            "safe_rlhf_preference": safe_rlhf_preference,
            "bad_rows": bad_rows,
            "sample_prompts": sample_prompts,
            "sample_tokens": sample_tokens,
            "closing_rows": closing_rows,
            "strategy": strategy,
        }
        self._jobs: list[TrainingJob] = []
        if model_provider in ("pai", "quickstart") and model_uri is None:
            self.model_name = RegisteredModel(model_name or "", model_version, model_provider, self.session).model_name

    @property
    def hyperparameter_definitions(self) -> list[HyperParameterDefinition]:
        """Every option with its type, default and meaning."""
        return hyperparameter_definitions()

    @property
    def latest_job(self) -> TrainingJob | None:
        """The job made last by this recipe."""
        return self._jobs[-1] if self._jobs else None

    @property
    def jobs(self) -> tuple[TrainingJob, ...]:
        """All jobs made by this recipe, oldest first."""
        return tuple(self._jobs)

    def train(
        self,
        inputs: Mapping[str, Place] | None = None,
        outputs: Mapping[str, Place] | None = None,
        wait: bool = True,
        job_name: str | None = None,
        show_logs: bool = True,
    ) -> TrainingJob:
        """Make a training job.

        Args:
            inputs: `train` and, if wanted, `validation`: each a local path, a URI, or the id of an uploaded file; and
                the model, by `model_channel_name`. `default_inputs` when None.
            outputs: `model`: where results are copied at the end, a path or a URI.
            wait: whether to return only when the job is over.
            job_name: a name for people; made up when None.
            show_logs: whether to show events and log while waiting.

        Raises:
            QuickalignError: the job cannot be made, or it failed while it was waited for; with the whole message.
        """
        job = TrainingJob(submit(self.session, self._request(inputs, outputs, job_name)), self.session)
        self._jobs.append(job)
        if show_logs:
            say(f"Training job {job.id} ({job.training_job_name}): {job.console_uri}")
        if wait:
            job.wait(show_logs=show_logs)
        return job

    def estimate(self, inputs: Mapping[str, Place] | None = None) -> Estimate:
        """What a job with these inputs would need, and the report on its data; nothing is trained.

        Raises:
            QuickalignError: for the same reasons as `train`.
        """
        return self.session.server.estimate(
            EstimateRequest(spec=self._spec(inputs), gpus=self.gpus, workers=self.workers)
        )

    def wait(self, interval: float = 5, show_logs: bool = True, all_jobs: bool = False) -> TrainingJob:
        """Wait for the latest job, or for all of them without their logs; returns the latest.

        Raises:
            OptionError: no job was made yet. QuickalignError: a job failed.
        """
        latest = self._made()
        for job in self._jobs if all_jobs else (latest,):
            job.wait(interval=interval, show_logs=show_logs and not all_jobs)
        return latest

    def model_data(self) -> str:
        """Where the weights trained by the latest job are.

        Raises:
            OptionError: no job was made yet. ConflictError: it has not succeeded.
        """
        return self._made().output_path()

    def deploy(
        self,
        service_name: str,
        instance_type: str | None = None,
        instance_count: int = 1,
        resource_config: Any = None,
        options: Mapping[str, Any] | None = None,
        wait: bool = True,
        *,
        autoscaling: AutoscalingConfig | None = None,
        labels: Mapping[str, str] | None = None,
        serializer: SerializerBase | None = None,
        **unsupported: Any,
    ) -> Predictor:
        """Make a service of what the latest job has trained.

        Args:
            service_name: lower-case letters, digits, `-`, `_` and `.`.
            instance_type: as of the recipe: what each replica takes.
            instance_count: replicas.
            resource_config: the same as `{"gpu": N}`.
            options: `engine`, `precision`, `weights`, `system_prompt`, `context`, `max_concurrency`, `max_waiting`,
                `share_base`, `checkpoint`, `requests_per_minute`, `concurrency`, `idle_stop_seconds`.
            wait: whether to return only when it answers.
            autoscaling: on a cluster: between how many replicas there are, as in `{"min": 0, "max": 4}`.
            labels: up to 16 labels of your own; those of the recipe when None.
            serializer: of the predictor.
            unsupported: arguments of PAI's `deploy` that cannot be honoured; each is refused with the reason.

        Raises:
            OptionError: no job was made yet, or an argument that cannot be honoured. ConflictError: the job has not
                succeeded. QuickalignError: the service failed while it was waited for.
        """
        return self._made().deploy(
            service_name,
            instance_type,
            instance_count,
            resource_config,
            options,
            wait,
            autoscaling=autoscaling,
            labels=self.labels if labels is None else labels,
            serializer=serializer,
            **unsupported,
        )

    def _made(self) -> TrainingJob:
        if not self._jobs:
            raise OptionError("This recipe has made no job yet.", "Call train() first.")
        return self._jobs[-1]

    def _request(
        self, inputs: Mapping[str, Place] | None, outputs: Mapping[str, Place] | None, job_name: str | None
    ) -> JobCreate:
        labels = dict(self.labels)
        if self.session.workspace_id is not None:
            labels.setdefault("workspace_id", self.session.workspace_id)
        name = job_name or f"{self.base_job_name}-{time.strftime('%Y%m%d-%H%M%S')}-{random_str(6)}"
        values = {
            "name": name,
            "output": self._output(outputs, name),
            "spec": self._spec(inputs),
            "metadata": labels,
            "priority": self.priority,
            "max_retries": self.max_retries,
            "gpus": self.gpus,
            "workers": self.workers,
        }
        given = {key: value for key, value in values.items() if value is not None}
        return checked(JobCreate, given, {"name": "job_name", "metadata": "labels"})

    def _spec(self, inputs: Mapping[str, Place] | None) -> TrainRequest:
        hyperparameters = apply_method(self.method, self.hyperparameters)
        if inputs is None:
            inputs = self.default_inputs
            say(f"No inputs were given; training on the recipe's default: {inputs['train']}")
        known = {"train", "validation", self.model_channel_name}
        if unknown := sorted(set(inputs) - known):
            raise OptionError(f"A training job has no input {unknown[0]!r}.", f"It takes {', '.join(sorted(known))}.")
        if "train" not in inputs:
            raise OptionError("inputs names no 'train' data.", "Give {'train': a path, a URI or a file's id}.")
        model = os.fspath(inputs.get(self.model_channel_name) or self.model_uri or self.model_name or "")
        values: dict[str, Any] = {"model": resolve_model(self.session, model), "model_revision": self.model_version}
        given = [name for name in ("train", "validation") if name in inputs]
        values |= {name: resolve_input(self.session, inputs[name]) for name in given}
        sent = {**values, **self._data, "hyperparameters": hyperparameters}
        return checked(TrainRequest, {name: value for name, value in sent.items() if value is not None})

    def _output(self, outputs: Mapping[str, Place] | None, name: str) -> str | None:
        if unknown := sorted(set(outputs or {}) - {"model"}):
            raise OptionError(
                f"A training job has no output {unknown[0]!r}.",
                "Its one output is 'model'; checkpoints and TensorBoard events lie in the job's folder.",
            )
        if outputs:
            return resolve_output(self.session, outputs["model"])
        bucket = self.session.oss_bucket_name
        return f"oss://{bucket}/quickalign/{name}/" if bucket else None
