"""One side of the training benchmark in a process of its own: trains a few steps, prints one line of JSON.

    python -m benchmarks.dpo_worker '{"side": "ours", ...}'

`dpo_vs_trl.py` starts it; the fields are those of `Job`. Only what the asked-for side needs is imported.
"""

import gc
import json
import sys
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

import torch

from benchmarks.dpo_job import DEVICE, Clock, Job, Trained
from benchmarks.dpo_rows import make_rows
from quickalign.hub.shape import read_shape
from quickalign.train.device import peak_memory


@dataclass(frozen=True)
class Measured:
    """Seconds of wall and processor time of every step of the last epoch, losses, and the peak memory in bytes.

    `flops` are the model FLOPs of those steps, and `token_budget` what the planner chose; both for our side only. The
    peak is that of training: on the CPU the process's resident memory, counted from the first step on, because
    both sides load the base by the same code and the pages of its file count as resident until it is loaded.
    """

    seconds: list[float]
    cpu_seconds: list[float]
    losses: list[float]
    peak_bytes: int
    base_bytes: int
    token_budget: int = 0
    flops: int = 0


def run(job: Job) -> Measured:
    """Do one job in this process; on a GPU nothing of an earlier one is left in its memory."""
    if DEVICE.type == "cuda":
        gc.collect()
        torch._C._cuda_clearCublasWorkspaces()
        torch.cuda.empty_cache()
        if left := torch.cuda.memory_allocated():
            print(f"{left:,} bytes of an earlier job are still on the device.", file=sys.stderr)
    if job.threads:
        torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    vocabulary = read_shape(Path(job.model)).vocab
    rows = make_rows(job.data, job.rows_per_step * job.steps, job.seq_length, vocabulary)
    clock = Clock()
    trained: Trained = import_module(f"benchmarks.dpo_{job.side}").train(job, rows, clock)
    return Measured(
        seconds=clock.spans(clock.wall, job.epochs),
        cpu_seconds=clock.spans(clock.cpu, job.epochs),
        peak_bytes=int(torch.cuda.max_memory_reserved()) if DEVICE.type == "cuda" else peak_memory(DEVICE),
        **asdict(trained),
    )


if __name__ == "__main__":
    print(json.dumps(asdict(run(Job(**json.loads(sys.argv[1]))))))
