"""The training benchmark on a GPU: against TRL at 0.5B and 7B, use of the chip, and growth with the batch.

    python -m benchmarks.dpo_gpu                                       # one H100 or the like; some minutes
    python -m benchmarks.dpo_gpu --data rows.jsonl.gz --cards qwen2-0.5b-instruct --rounds 1
    python -m benchmarks.dpo_gpu --try-out                             # every path, with the embedded model, anywhere

For each card, with random weights of its shape:

- the mission's settings (batch 1 x 8, LoRA 32, `seq_length` 128, 4 bits off and on) on both sides; once more with our
  activations recomputed, and once with micro-batches of 512 tokens as well, for what that saves and costs;
- TRL's best batch size of a sweep, at 64 pairs a step on both sides;
- 1, 2 and 4 times the pairs of a step on our side: pairs/s should not fall;
- model FLOPs per second of our side over the chip's own best rate for a square matrix product (`benchmarks/flops.py`).

All runs are in this one process, ours and theirs in turn, each with the device's memory emptied before it: a process
takes longer to start than most of them take. Results are written after every comparison. Nothing here is specific to
CUDA but the time it takes; `--try-out` says nothing about speed.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import torch

from benchmarks.dpo_job import DEVICE, Job
from benchmarks.dpo_report import RESULTS, Comparison, environment, write_results
from benchmarks.dpo_runs import run_here
from benchmarks.dpo_vs_trl import Candidate, compare
from benchmarks.flops import matmul_ceiling
from quickalign.core import paths
from quickalign.train.device import find_device
from scripts.make_random_model import TINY_MODEL, make_random_model

CARDS = ("qwen2-0.5b-instruct", "qwen2-7b-instruct")
MISSION_ROWS = 8
LARGE_ROWS = 64
GROWTH = (8, 16, 32)
"""Pairs a step: the mission's, twice and four times as many."""
BATCHES = (8, 16, 32, 64)
SMALL_BUDGET = 512
CEILING_SIZE = {"cuda": 8192, "cpu": 1024}


def main() -> None:
    """Run the command line."""
    arguments = _parse()
    machine = environment()
    precision = "bf16" if find_device().bf16 else "fp32"
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    ceiling = matmul_ceiling(DEVICE, dtype, CEILING_SIZE[DEVICE.type])
    print(
        f"{machine.get('gpu', machine['processor'])}: {ceiling / 1e12:.2f} TFLOP/s in {precision} products", flush=True
    )
    found: list[Comparison] = []
    growth: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for card in [TINY_MODEL] if arguments.try_out else arguments.cards:
            folder = _model(card, Path(scratch))
            steps = 1 if arguments.try_out else arguments.steps
            job = Job("ours", str(folder), arguments.data, precision=precision, steps=steps)
            for comparison in _compare(card, job, arguments):
                found.append(comparison)
                print(
                    f"{comparison.setting}: {_use(comparison, ceiling):.1%} of the chip's matrix products", flush=True
                )
                path = _write(arguments.results, machine, found, ceiling, growth)
            growth[card] = {str(count): _speed(replace(job, rows_per_step=count)) for count in GROWTH}
            print(f"{card}: pairs/s by pairs a step: {growth[card]}", flush=True)
            path = _write(arguments.results, machine, found, ceiling, growth)
    print(f"written to {path}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cards", nargs="+", default=list(CARDS))
    parser.add_argument("--data", default="hh-like", help="a data file, or hh-like for generated rows")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batches", type=int, nargs="+", default=list(BATCHES), help="what TRL's best is one of")
    parser.add_argument("--try-out", action="store_true", help="the embedded model, one step")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


def _model(card: str, scratch: Path) -> Path:
    if card == TINY_MODEL:
        return paths.assets() / TINY_MODEL
    folder = scratch / card
    make_random_model(card, folder, device=DEVICE.type)
    return folder


def _compare(card: str, job: Job, arguments: argparse.Namespace) -> Iterator[Comparison]:
    mission = replace(job, rows_per_step=MISSION_ROWS)
    for bits in ("none", "4bit"):
        asked = replace(mission, quantization=bits)
        whole = compare(f"{card}, {bits}", asked, "mission", arguments.rounds, (), run_here)
        yield whole
        less = replace(asked, checkpointing=True)
        yield _beside(whole, "recomputing", less)
        if bits == "none":
            yield _beside(whole, f"recomputing, {SMALL_BUDGET} tokens", replace(less, token_budget=SMALL_BUDGET))
    large = replace(job, rows_per_step=LARGE_ROWS)
    batches: list[Candidate] = [{"batch": batch, "grouped": True} for batch in arguments.batches]
    yield compare(f"{card}, large batch", large, "best", arguments.rounds, batches, run_here)


def _beside(whole: Comparison, name: str, job: Job) -> Comparison:
    """Our `job`, which takes less memory, beside TRL's runs of `whole`."""
    rounds = tuple((run_here(job), theirs) for _, theirs in whole.rounds)
    job = replace(job, token_budget=rounds[-1][0].token_budget)
    found = Comparison(f"{whole.setting}, {name}", whole.against, asdict(job), whole.theirs, rounds)
    print(found.line(), flush=True)
    return found


def _speed(job: Job) -> float:
    return run_here(job).pairs_per_second


def _use(comparison: Comparison, ceiling: float) -> float:
    """Model FLOP utilisation of our side."""
    return statistics.median(ours.flops_per_second for ours, _ in comparison.rounds) / ceiling


def _write(
    folder: Path,
    machine: dict[str, object],
    found: list[Comparison],
    ceiling: float,
    growth: dict[str, dict[str, float]],
) -> Path:
    use = {one.setting: _use(one, ceiling) for one in found}
    return write_results(folder, machine, found, ceiling_flops=ceiling, model_flop_utilisation=use, growth=growth)


if __name__ == "__main__":
    main()
