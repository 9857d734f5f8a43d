"""Runs jobs of the training benchmark, each in a fresh process, or in this one."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import torch

from benchmarks import dpo_worker
from benchmarks.dpo_job import Job
from benchmarks.dpo_report import Run

ROOT = Path(__file__).resolve().parent.parent
Runner: TypeAlias = Callable[[Job], Run]


def run(job: Job) -> Run:
    """Do `job` and measure it.

    Raises:
        CalledProcessError: it failed; the end of what it wrote is printed.
    """
    command = [sys.executable, "-m", "benchmarks.dpo_worker", json.dumps(asdict(job))]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        "TOKENIZERS_PARALLELISM": "false",
    }
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        done.check_returncode()
    return _as_run(job, json.loads(done.stdout.splitlines()[-1]))


def run_here(job: Job) -> Run:
    """Do `job` in this process, for devices on which a process's start takes longer than the job."""
    return _as_run(job, asdict(dpo_worker.run(job)))


def run_or_none(job: Job, runner: Runner = run) -> Run | None:
    """As `runner`; None where it failed, such as for want of memory."""
    try:
        return runner(job)
    except (subprocess.CalledProcessError, torch.OutOfMemoryError):
        return None


def _as_run(job: Job, measured: dict[str, Any]) -> Run:
    """`measured` are the fields of `dpo_worker.Measured`."""
    pairs, seconds = job.rows_per_step * job.steps, sum(measured["seconds"])
    return Run(
        pairs_per_second=pairs / seconds,
        pairs_per_cpu_second=pairs / sum(measured["cpu_seconds"]),
        peak=measured["peak_bytes"],
        losses=tuple(measured["losses"]),
        token_budget=measured["token_budget"],
        flops_per_second=measured["flops"] / seconds,
    )
