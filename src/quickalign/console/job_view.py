"""What the pages say about a job, beside what it is."""

import shlex
import time
from dataclasses import dataclass
from typing import Any

import orjson

from quickalign.console.visit import Visit
from quickalign.core.errors import QuickalignError
from quickalign.core.wire.exports import GGUF, ExportRequest
from quickalign.core.wire.jobs import Job, JobState
from quickalign.platform.jobs.kinds import EXPORTED

S = JobState
_ACTIONS: dict[str, frozenset[JobState]] = {
    "pause": frozenset({S.QUEUED, S.STARTING, S.RUNNING, S.RESUMING}),
    "resume": frozenset({S.PAUSED, S.FAILED}),
    "cancel": frozenset({S.QUEUED, S.STARTING, S.RUNNING, S.PAUSING, S.PAUSED, S.RESUMING}),
    "delete": frozenset({S.SUCCEEDED, S.FAILED, S.CANCELLED}),
    **dict.fromkeys(("deploy", "evaluate", "export", "train"), frozenset({S.SUCCEEDED})),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One prompt with its answers before and after training."""

    prompt: str
    before: str
    after: str
    repeats: bool


def actions(job: Job) -> frozenset[str]:
    """What can be done with a job as it stands."""
    allowed = {name for name, states in _ACTIONS.items() if job.state in states}
    if job.kind == "train":
        allowed |= {"clone", "compare"}
    if job.kind == "evaluate" or is_gguf(job):
        allowed -= {"deploy", "evaluate", "train"}
    if job.kind != "train":
        allowed -= {"export"}
    return frozenset(allowed)


def is_gguf(job: Job) -> bool:
    """Whether what it exports is a file for llama.cpp, which nothing here runs."""
    return isinstance(job.spec, ExportRequest) and job.spec.compression.startswith(GGUF)


def figures(job: Job) -> list[tuple[str, Any, Any]]:
    """What a job found: name, figure, and the figure of the base or of before."""
    found = job.results or {}
    if job.kind != "export":
        base = found.get("base", {})
        return [(name, value, base.get(name)) for name, value in found.get("figures", {}).items()]
    parity = found.get("parity", {})
    before, after = parity.get("before", {}), parity.get("after", {})
    names = ("bytes", "tokens_per_second", "perplexity", "likelihood_accuracy")
    return [(name, after[name], before.get(name)) for name in names if after.get(name) is not None]


def result_files(visit: Visit, job: Job) -> list[str]:
    """Files of the results that a page links to."""
    folder = visit.platform.home.output(job.id)
    names = [name for name in ("report.html", "report.json", "result.json") if (folder / name).is_file()]
    made = (file for file in (folder / EXPORTED).glob("*") if file.is_file())
    return [*(f"{EXPORTED}/{file.name}" for file in sorted(made)), *names]


def head(visit: Visit, job: Job) -> dict[str, Any]:
    """What the head of a job's page shows, and shows again whenever something changed."""
    progress = job.progress
    share = None
    if progress and progress.total_steps:
        share = min(progress.step / progress.total_steps, 1.0)
    return {
        "job": job,
        "actions": actions(job),
        "share": share,
        "seconds": ran_seconds(job),
        "alarm": _alarm(visit, job),
        "frees": what_delete_frees(visit, job),
        "figures": figures(job),
        "files": result_files(visit, job) if job.kind != "train" else [],
        "llama_server": _llama_server(job) if is_gguf(job) and job.model_path else None,
    }


def _llama_server(job: Job) -> str:
    return shlex.join(["llama-server", "--jinja", "--model", f"{job.model_path}/model.gguf"])


def ran_seconds(job: Job) -> float | None:
    """How long it has run, or did; None before its first start."""
    return None if job.started_at is None else job.ran_until(time.time())


def samples(visit: Visit, job: Job) -> list[Sample]:
    """Answers before and after; those before are there as soon as the run has given them."""
    result = _json(visit, job, "result.json")
    if result is not None:
        found = result.get("samples", [])
        return [Sample(one["prompt"], one["before"], one["after"], one["repeats"]) for one in found]
    before = _json(visit, job, "samples-before.json")
    if before is None:
        return []
    return [
        Sample(prompt, answer, "", False) for prompt, answer in zip(before["prompts"], before["answers"], strict=True)
    ]


def what_delete_frees(visit: Visit, job: Job) -> int:
    """The bytes of a job's folder."""
    if not job.state.is_final:
        return 0
    folder = visit.platform.home.job(job.id)
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


def _alarm(visit: Visit, job: Job) -> str | None:
    """The last warning that the chosen answers become less likely, if there was one."""
    try:
        lines = visit.platform.jobs.artifact(job.id, "warnings.jsonl").read_bytes().splitlines()
        found = [str(orjson.loads(line)["message"]) for line in lines]
    except (QuickalignError, OSError, ValueError, KeyError):
        return None
    return next((message for message in reversed(found) if "displacement" in message), None)


def _json(visit: Visit, job: Job, name: str) -> dict[str, Any] | None:
    try:
        value = orjson.loads(visit.platform.jobs.artifact(job.id, name).read_bytes())
    except (QuickalignError, OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
