"""From a finished run's parts to its `Report`."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import quickalign
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.spec import RunSpec
from quickalign.data.report import DataReport
from quickalign.train.device import Device
from quickalign.train.manifest import Manifest
from quickalign.train.observer import Evaluation, RunResult, StepMetrics
from quickalign.train.plan import Plan
from quickalign.train.report.model import Machine, Memory, MetricsSummary, Report, Result, Timing
from quickalign.train.report.verdict import judge

PACKAGES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "safetensors", "tokenizers", "numpy")


@dataclass(frozen=True, slots=True)
class RunParts:
    """What a finished run knows of itself.

    Attributes:
        validation_data: the report on the validation file, where one was given.
        steps: all lines of `metrics.jsonl`.
        evaluations: all evaluations, the first one before training.
        warnings: what the run warned of, in order.
    """

    spec: RunSpec
    manifest: Manifest
    plan: Plan
    device: Device
    data: DataReport
    validation_data: DataReport | None
    steps: Sequence[StepMetrics]
    evaluations: Sequence[Evaluation]
    warnings: Sequence[str]
    result: RunResult


def build_report(parts: RunParts) -> Report:
    """Gather everything into the report; reads the size of the trained weights from disk."""
    spec, result = parts.spec, parts.result
    return Report(
        name=spec.output.resolve().name,
        quickalign=quickalign.__version__,
        spec=spec,
        base=parts.manifest.base,
        method=parts.manifest.method,
        precision=parts.manifest.precision,
        options_changed=changed_options(spec.hyperparameters),
        verdict=judge(result.first_evaluation, result.last_evaluation),
        metrics=summarise(parts.steps),
        evaluations=tuple(parts.evaluations),
        samples=result.samples,
        data=parts.data,
        validation_data=parts.validation_data,
        plan=parts.plan,
        memory=Memory(predicted_peak_bytes=result.predicted_peak_bytes, measured_peak_bytes=result.peak_memory_bytes),
        result=Result(
            folder=result.adapter.name,
            sha256=result.adapter_sha256,
            bytes=sum(file.stat().st_size for file in result.adapter.glob("*.safetensors")),
        ),
        timing=Timing(finished_at=datetime.now(UTC), seconds=result.seconds, resumed_from=result.resumed_from),
        machine=_machine(parts.device, parts.plan.world_size),
        versions={name: found for name in PACKAGES if (found := version_of(name))},
        warnings=tuple(parts.warnings),
    )


def changed_options(parameters: Hyperparameters) -> tuple[str, ...]:
    """Names of the options that differ from their default, in the order of the reference page."""
    fields = Hyperparameters.model_fields
    return tuple(name for name, field in fields.items() if getattr(parameters, name) != field.default)


def summarise(steps: Sequence[StepMetrics]) -> MetricsSummary:
    """The metrics in short."""
    return MetricsSummary(
        steps=len(steps),
        first=steps[0] if steps else None,
        last=steps[-1] if steps else None,
        lowest_loss=min((step.loss for step in steps), default=None),
        mean_tokens_per_second=_mean([step.tokens_per_second for step in steps]),
        mean_pairs_per_second=_mean([step.pairs_per_second for step in steps]),
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _machine(device: Device, processes: int) -> Machine:
    return Machine(
        device=device.name,
        kind=device.kind,
        cores=device.cores,
        memory_bytes=device.total_bytes,
        processes=processes,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
    )


def version_of(package: str) -> str | None:
    """The installed version of `package`; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
