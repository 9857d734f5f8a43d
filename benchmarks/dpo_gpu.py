"""The training benchmark on a GPU: against TRL at 0.5B and 7B, use of the chip, and growth with the batch.

    python -m benchmarks.dpo_gpu                                       # one H100 or the like; about an hour
    python -m benchmarks.dpo_gpu --data rows.jsonl.gz --cards qwen2-0.5b-instruct --rounds 1
    python -m benchmarks.dpo_gpu --try-out                             # every path, with the embedded model, anywhere

For each card, with random weights of its shape:

- the mission's settings (batch 1 x 8, LoRA 32, `seq_length` 128, 4 bits off and on) on both sides;
- TRL's best batch size of a sweep, at 64 pairs a step on both sides;
- 1, 2 and 4 times the pairs of a step on our side: pairs/s should not fall;
- model FLOPs per second of our side over the chip's own best rate for a square matrix product (`benchmarks/flops.py`).

Nothing here is specific to CUDA but the time it takes; `--try-out` says nothing about speed.
"""

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.dpo_job import DEVICE, Job
from benchmarks.dpo_report import RESULTS, Comparison, environment, write_results
from benchmarks.dpo_runs import run
from benchmarks.dpo_vs_trl import Candidate, compare
from benchmarks.flops import matmul_ceiling
from quickalign.core import paths
from quickalign.train.device import find_device
from scripts.make_random_model import TINY_MODEL, make_random_model

CARDS = ("qwen2-0.5b-instruct", "qwen2-7b-instruct")
MISSION_ROWS = 8
LARGE_ROWS = 64
BATCHES: tuple[Candidate, ...] = tuple({"batch": batch, "grouped": batch > 1} for batch in (1, 4, 8, 16, 32, 64))
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
    comparisons: list[Comparison] = []
    growth: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for card in [TINY_MODEL] if arguments.try_out else arguments.cards:
            folder = _model(card, Path(scratch))
            steps = 1 if arguments.try_out else arguments.steps
            job = Job("ours", str(folder), arguments.data, precision=precision, steps=steps)
            comparisons += _compare(card, job, arguments)
            growth[card] = _growth(job)
            print(f"{card}: pairs/s by pairs a step: {growth[card]}", flush=True)
    use = {one.setting: _use(one, ceiling) for one in comparisons}
    for setting, share in use.items():
        print(f"{setting}: {share:.1%} of the matrix product's ceiling", flush=True)
    path = write_results(
        arguments.results, machine, comparisons, ceiling_flops=ceiling, model_flop_utilisation=use, growth=growth
    )
    print(f"written to {path}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cards", nargs="+", default=list(CARDS))
    parser.add_argument("--data", default="hh-like", help="a data file, or hh-like for generated rows")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--try-out", action="store_true", help="the embedded model, one step")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


def _model(card: str, scratch: Path) -> Path:
    if card == TINY_MODEL:
        return paths.assets() / TINY_MODEL
    folder = scratch / card
    make_random_model(card, folder)
    return folder


def _compare(card: str, job: Job, arguments: argparse.Namespace) -> list[Comparison]:
    mission = replace(job, rows_per_step=MISSION_ROWS)
    comparisons = [
        compare(f"{card}, {bits}", replace(mission, quantization=bits), "mission", arguments.rounds, ())
        for bits in ("none", "4bit")
    ]
    large = replace(job, rows_per_step=LARGE_ROWS)
    batches = BATCHES[:2] if arguments.try_out else BATCHES
    return [*comparisons, compare(f"{card}, large batch", large, "best", arguments.rounds, batches)]


def _growth(job: Job) -> dict[str, float]:
    """Our pairs/s at 1, 2 and 4 times the mission's pairs a step."""
    counts = [MISSION_ROWS * times for times in (1, 2, 4)]
    return {str(count): run(replace(job, rows_per_step=count)).pairs_per_second for count in counts}


def _use(comparison: Comparison, ceiling: float) -> float:
    """Model FLOP utilisation of our side."""
    return statistics.median(ours.flops_per_second for ours, _ in comparison.rounds) / ceiling


if __name__ == "__main__":
    main()
