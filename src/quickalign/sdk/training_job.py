"""A training job as a program sees it: its state, its live log, its results, and how to stop, pause and delete it."""

from __future__ import annotations

import json
import sys
import time
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from quickalign.core.errors import ConflictError, OptionError
from quickalign.core.wire.jobs import Checkpoint, Event, Job, JobState, LogChunk, Reason
from quickalign.core.wire.pages import all_events, log_chunks
from quickalign.sdk.calls import job_page
from quickalign.sdk.deploy import AutoscalingConfig, deploy
from quickalign.sdk.follow import Stream, follow
from quickalign.sdk.problems import error_of_job
from quickalign.sdk.session import Session, get_default_session
from quickalign.sdk.words import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from quickalign.sdk.predictor import Predictor
    from quickalign.sdk.serializers import SerializerBase

_SHOWN_EVENTS = frozenset({"state", "notice", "retry"})
"""Events that are shown between the lines of the log, which tells the others itself but for the server's warnings."""


class TrainingJobStatus:
    """The states of PAI's training jobs, which `TrainingJob.status` speaks; `TrainingJob.state` is more exact."""

    CreateFailed = "CreateFailed"
    InitializeFailed = "InitializeFailed"
    Succeed = "Succeed"
    Failed = "Failed"
    Terminated = "Terminated"
    Creating = "Creating"
    Created = "Created"
    Initializing = "Initializing"
    Submitted = "Submitted"
    Running = "Running"
    Paused = "Paused"

    @classmethod
    def completed_status(cls) -> list[str]:
        """The states that nothing follows by itself; a failed job can be resumed."""
        return [cls.InitializeFailed, cls.Succeed, cls.Failed, cls.Terminated]

    @classmethod
    def failed_status(cls) -> list[str]:
        """The states of failure."""
        return [cls.InitializeFailed, cls.Failed, cls.CreateFailed]


_STATUS = {
    JobState.QUEUED: TrainingJobStatus.Submitted,
    JobState.STARTING: TrainingJobStatus.Initializing,
    JobState.RESUMING: TrainingJobStatus.Initializing,
    JobState.RUNNING: TrainingJobStatus.Running,
    JobState.PAUSING: TrainingJobStatus.Running,
    JobState.CANCELLING: TrainingJobStatus.Running,
    JobState.PAUSED: TrainingJobStatus.Paused,
    JobState.SUCCEEDED: TrainingJobStatus.Succeed,
    JobState.FAILED: TrainingJobStatus.Failed,
    JobState.CANCELLED: TrainingJobStatus.Terminated,
}

_ENDINGS = {JobState.SUCCEEDED: "succeeded", JobState.CANCELLED: "was cancelled"}

# Inside the class, `list` is a method of that name.
_Lines = list[dict[str, Any]]
_JobList = list["TrainingJob"]


class TrainingJob:
    """A job on a server; what it says of itself is asked anew by `refresh` and by every method that needs to know."""

    def __init__(self, job: Job, session: Session | None = None) -> None:
        self.session = session or get_default_session()
        self._job = job

    @classmethod
    def get(cls, training_job_id: str, session: Session | None = None) -> TrainingJob:
        """The job of that id.

        Raises:
            NotFoundError: there is none.
        """
        session = session or get_default_session()
        return cls(session.jobs.get(training_job_id), session)

    @classmethod
    def list(
        cls,
        status: str | None = None,
        session: Session | None = None,
        page_size: int = 50,
        page_number: int = 1,
    ) -> _JobList:
        """A page of jobs, newest first, with the `status` of `TrainingJobStatus` where one is given."""
        session = session or get_default_session()
        states = [state for state, name in _STATUS.items() if name == status]
        if status is not None and not states:
            known = ", ".join(dict.fromkeys(_STATUS.values()))
            raise OptionError(f"No job is ever in the state {status!r}.", f"Take one of {known}.")
        if page_size < 1 or page_number < 1:
            raise OptionError(f"page_size={page_size} and page_number={page_number} name no page.", "Both begin at 1.")
        first = (page_number - 1) * page_size
        found = session.jobs.all(states=states, page_size=min(page_size, 100))
        return [cls(job, session) for job in islice(found, first, first + page_size)]

    @property
    def id(self) -> str:
        """The job's id."""
        return self._job.id

    @property
    def training_job_id(self) -> str:
        """The job's id, by PAI's name for it."""
        return self._job.id

    @property
    def training_job_name(self) -> str:
        """The job's name for people."""
        return self._job.name

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The options that were set; all others have their defaults."""
        return dict(self._job.training.hyperparameters)

    @property
    def labels(self) -> dict[str, str]:
        """The labels that were put on it."""
        return dict(self._job.metadata)

    @property
    def record(self) -> Job:
        """Everything the server said of the job when it was last asked."""
        return self._job

    @property
    def state(self) -> JobState:
        """Where the job stands, as last seen."""
        return self._job.state

    @property
    def status(self) -> str:
        """Where the job stands, as last seen, in the words of `TrainingJobStatus`."""
        return _STATUS[self._job.state]

    @property
    def reason(self) -> Reason | None:
        """Why it is there; for a failed job with its whole error message."""
        return self._job.reason

    @property
    def reason_code(self) -> str | None:
        """A word for programs."""
        return self._job.reason.code if self._job.reason else None

    @property
    def reason_message(self) -> str | None:
        """A sentence for people."""
        return self._job.reason.message if self._job.reason else None

    @property
    def console_uri(self) -> str:
        """The job's page in the console of its server."""
        return job_page(self.session.endpoint, self.id)

    def refresh(self) -> TrainingJob:
        """Ask the server how the job stands; returns itself."""
        self._job = self.session.jobs.get(self.id)
        return self

    def is_completed(self) -> bool:
        """Whether it is over, however it ended."""
        return self.refresh().state.is_final  # asked anew: a failed job may have been resumed

    def is_succeeded(self) -> bool:
        """Whether it has succeeded."""
        return self.refresh().state is JobState.SUCCEEDED

    def wait(self, interval: float = 5, show_logs: bool = True) -> None:
        """Wait until the job is over, with its log on standard output where `show_logs`.

        A connection or a server that is lost meanwhile is found again. Interrupting this leaves the job alone.

        Args:
            interval: seconds between two looks where no log is shown.
            show_logs: whether to show events and log as they come.

        Raises:
            QuickalignError: it failed; the kind says of what, and the message is whole.
        """
        told: dict[Stream, int] = {"events": 0, "logs": 0}
        try:
            if show_logs:
                self._show(told)
            while not self.is_completed():
                time.sleep(interval)
                if show_logs:  # it had failed and was resumed
                    self._show(told)
        except KeyboardInterrupt:
            say(f"\nStopped watching; the job goes on. TrainingJob.get({self.id!r}).wait() watches it again.")
            raise
        if self.state is JobState.FAILED:
            raise error_of_job(self._job)
        if show_logs:
            say(f"Training job {self.id} {_ENDINGS[self.state]}.")

    def stop(self) -> None:
        """Stop it for good; what it learnt up to its last step is kept as a checkpoint."""
        self._job = self.session.jobs.cancel(self.id)

    def pause(self) -> None:
        """Stop it until `resume`, which goes on from the same step."""
        self._job = self.session.jobs.pause(self.id)

    def resume(self) -> None:
        """Go on with a paused or failed job, from its last checkpoint."""
        self._job = self.session.jobs.resume(self.id)

    def delete(self) -> None:
        """Delete the job with its folder on the server.

        Raises:
            ConflictError: it is not over; `stop` it first.
        """
        self.session.jobs.delete(self.id)

    def logs(self) -> str:
        """The whole log up to now, over all attempts."""
        jobs = self.session.jobs
        return "".join(chunk.text for chunk in log_chunks(lambda offset: jobs.logs(self.id, offset=offset)))

    def events(self) -> Iterator[Event]:
        """What happened to it up to now, oldest first."""
        return all_events(lambda after: self.session.jobs.events(self.id, after=after))

    def metrics(self, kind: Literal["steps", "evaluations"] = "steps") -> _Lines:
        """All optimiser steps up to now, or all evaluations, oldest first; a data frame takes them as they are."""
        lines: _Lines = []
        offset = 0
        while True:
            page = self.session.jobs.metrics(self.id, kind=kind, offset=offset)
            lines += page.items
            if page.next_offset <= offset or not page.items:
                return lines
            offset = page.next_offset

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """The checkpoints that are kept."""
        return self.session.jobs.checkpoints(self.id)

    def report(self) -> dict[str, Any]:
        """The report of a finished job: the data, figures before and after, sample answers, plan and settings.

        Raises:
            NotFoundError: it has not written one yet.
        """
        found = json.loads(self.artifact("report.json"))
        assert isinstance(found, dict)
        return found

    def artifact(self, name: str) -> bytes:
        """One file of its results, such as `report.html` or `adapter/adapter_model.safetensors`."""
        return self.session.jobs.artifact(self.id, name)

    def output_path(self, channel_name: str = "model") -> str:
        """Where the trained weights are: the place that was asked for, else the folder on the server.

        Raises:
            OptionError: another channel than `model`.
            ConflictError: the job has not succeeded.
        """
        if channel_name != "model":
            raise OptionError(f"A job has no output {channel_name!r}.", "Its one output is 'model'.")
        succeeded = self.is_succeeded()
        found = self._job.output or self._job.model_path
        if not succeeded or found is None:
            raise ConflictError(
                f"Job {self.id} is {self.state.value} and has no trained model.",
                "`checkpoints()` lists what it has saved; options={'checkpoint': STEP} of deploy takes one of them."
                if self.state.is_final
                else "Wait for it; `checkpoints()` lists what it has saved so far.",
            )
        return found

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
        """Make a service of what it has trained; arguments as of `ModelTrainingRecipe.deploy`.

        Raises:
            OptionError: an argument that cannot be honoured. ConflictError: it has not succeeded, and no checkpoint was
                asked for. QuickalignError: the service failed while it was waited for.
        """
        if "checkpoint" not in (options or {}):
            self.output_path()
        return deploy(
            self.session,
            {"job": self.id},
            service_name,
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
        return isinstance(other, TrainingJob) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"TrainingJob(id={self.id!r}, name={self.training_job_name!r}, status={self.status!r})"

    def _show(self, told: dict[Stream, int]) -> None:
        logged, warnings = set[str](), list[str]()
        for item in follow(self.session.client, self.id, told):
            match item:
                case LogChunk():
                    sys.stdout.write(item.text)
                    sys.stdout.flush()
                    logged.update(item.text.splitlines())
                case Event(kind="warning"):
                    warnings.append(item.message)
                case Event() if item.kind in _SHOWN_EVENTS:
                    say(f"● {item.message}")
                case None:
                    _warn(warnings, logged)
        _warn(warnings, logged)


def _warn(warnings: list[str], logged: set[str]) -> None:
    """Show the warnings that the log did not tell by itself; called when it is quiet, as the two come in any order."""
    for message in warnings:
        if f"warning: {message}" not in logged:
            say(f"! {message}")
    warnings.clear()
