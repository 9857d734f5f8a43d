"""quickalign against TRL on the same rows, weights and machine, in alternation and in fresh processes.

    python -m benchmarks.dpo_vs_trl                                    # Qwen2-0.5B's shape on this machine
    python -m benchmarks.dpo_vs_trl --data rows.jsonl.gz --rounds 3 --steps 3
    python -m benchmarks.dpo_vs_trl --settings 128-live --sides best   # one line of the table

TRL runs three ways: as shipped (its own defaults: batch 8, fp32 weights, mixed precision, checkpointing), at the
mission's settings (batch 1 x 8, LoRA 32, bf16 weights), and at its best: bf16 weights, no checkpointing, and of the
candidates in `CANDIDATES` the one with the most pairs/s in a sweep, made once a data file and `seq_length`, with the
reference live. With a cached reference TRL precomputes its own outside the measured steps too; `--sides best-live`
compares with TRL's live reference, its default, instead. Our side runs as the planner
would run it here. Where the chip does not multiply bf16 itself (find out with `quickalign plan`), both sides train in
fp32, because emulated bf16 is many times slower. Prints medians over rounds of the ratios of one round, and their
range; writes JSON, a table and a plot to `benchmarks/results/`. `benchmarks/dpo_gpu.py` is the same for a GPU.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.dpo_job import DEVICE, Job
from benchmarks.dpo_report import RESULTS, Comparison, Tried, environment, write_results
from benchmarks.dpo_runs import Runner, run, run_or_none
from quickalign.train.device import find_device
from scripts.make_random_model import make_random_model

# name -> rows, seq_length, reference
SETTINGS: dict[str, tuple[str, int, str]] = {
    "128-live": ("", 128, "live"),
    "128-cached": ("", 128, "cached"),
    "512-live": ("", 512, "live"),
    "512-cached": ("", 512, "cached"),
    "long-prompt": ("long-prompt", 576, "live"),
}
Candidate = dict[str, Any]
Items = tuple[tuple[str, Any], ...]
CANDIDATES: tuple[Candidate, ...] = (
    {"batch": 1},
    {"batch": 2, "grouped": True},
    {"batch": 4, "grouped": True},
    {"batch": 8, "grouped": True},
    {"batch": 1, "autocast": True},
    {"batch": 4, "grouped": True, "autocast": True},
)
# Rows of one length: larger batches waste nothing and gain nothing, so two of them tell.
SAME_LENGTH: tuple[Candidate, ...] = ({"batch": 1}, {"batch": 2}, {"batch": 1, "autocast": True})
SIDES = ("best", "best-live", "mission", "shipped")
AS_SHIPPED: Candidate = {"batch": 8, "precision": "fp32", "autocast": True, "checkpointing": True}


def main() -> None:
    """Run the command line."""
    arguments = _parse()
    machine = environment()
    with tempfile.TemporaryDirectory() as scratch:
        model = arguments.model or Path(scratch) / "model"
        if not arguments.model:
            make_random_model(arguments.card, model)
        common = Job(
            side="ours",
            model=str(model),
            steps=arguments.steps,
            rows_per_step=arguments.rows_per_step,
            threads=arguments.threads,
            quantization=arguments.quantization,
            precision="bf16" if find_device().bf16 else "fp32",
            epochs=arguments.epochs,
            token_budget=arguments.token_budget,
        )
        comparisons = []
        for name in arguments.settings:
            rows, seq_length, reference = SETTINGS[name]
            job = replace(common, data=rows or arguments.data, seq_length=seq_length, reference=reference)
            candidates = candidates_for(job, arguments.largest_batch)
            comparisons += [compare(name, job, side, arguments.rounds, candidates) for side in arguments.sides]
    path = write_results(RESULTS, machine, comparisons)
    print(f"written to {path}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--card", default="qwen2-0.5b-instruct", help="whose shape the random model has")
    parser.add_argument("--model", type=Path, help="a model's folder instead")
    parser.add_argument("--data", default="hh-like", help="a data file, or hh-like for generated rows")
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=["best"])
    parser.add_argument("--quantization", choices=["none", "4bit"], default="none")
    parser.add_argument("--token-budget", type=int, default=0, help="0: what the planner chooses")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rows-per-step", type=int, default=8, help="pairs per optimiser step")
    parser.add_argument("--epochs", type=int, default=2, choices=[1, 2], help="1: no epoch to warm up on")
    parser.add_argument("--largest-batch", type=int, default=8, choices=[1, 2, 4, 8], help="TRL's, in its sweep")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as torch takes")
    return parser.parse_args()


def candidates_for(job: Job, largest_batch: int) -> tuple[Candidate, ...]:
    """What TRL's best is searched among, for rows and precision of `job`."""
    candidates = SAME_LENGTH if job.data == "long-prompt" else CANDIDATES
    possible = [one for one in candidates if job.precision == "bf16" or not one.get("autocast")]
    return tuple(one for one in possible if one["batch"] <= largest_batch)


def compare(
    name: str, job: Job, side: str, rounds: int, candidates: Sequence[Candidate], runner: Runner = run
) -> Comparison:
    """`rounds` rounds of our `job` and of TRL's `side` (one of `SIDES`) in alternation."""
    ours = replace(job, side="ours")
    other, tried = _theirs(job, side, tuple(tuple(one.items()) for one in candidates), runner)
    pairs = []
    for number in range(rounds):
        pairs.append((runner(ours), runner(other)))
        mine, theirs = pairs[-1]
        speed, memory = mine.pairs_per_second / theirs.pairs_per_second, mine.peak / theirs.peak
        print(f"{name}, TRL {side}, round {number + 1}: {speed:.2f}x pairs/s, {memory:.2f}x memory", flush=True)
    # What the planner chose is a setting of ours.
    ours = replace(ours, token_budget=pairs[-1][0].token_budget)
    comparison = Comparison(name, side, asdict(ours), asdict(other), tuple(pairs), tried)
    print(comparison.line(), flush=True)
    return comparison


def _theirs(job: Job, side: str, candidates: tuple[Items, ...], runner: Runner) -> tuple[Job, tuple[Tried, ...]]:
    """TRL's job, and what was tried to find it."""
    reference = "live" if side == "best-live" else job.reference
    trl = replace(job, side="trl", token_budget=0, checkpointing=False, reference=reference)
    if side == "mission":
        return trl, ()
    if side == "shipped":
        return replace(trl, **AS_SHIPPED), ()
    # One short run each, which a GPU warms up for; with a cached reference all candidates gain alike.
    epochs = job.epochs if DEVICE.type == "cuda" else 1
    tried = _sweep(replace(trl, reference="live", steps=1, epochs=epochs), candidates, runner)
    best = max(tried, key=lambda one: one.pairs_per_second)
    return replace(trl, **best.settings), tried


@cache
def _sweep(job: Job, candidates: tuple[Items, ...], runner: Runner) -> tuple[Tried, ...]:
    """Speeds of TRL's candidates; what does not fit into memory drops out."""
    tried = []
    for settings in map(dict, candidates):
        found = run_or_none(replace(job, **settings), runner)
        if found is not None:
            tried.append(Tried(settings, found.pairs_per_second, found.peak))
            print(f"  sweep: {settings}: {found.pairs_per_second:.3f} pairs/s", flush=True)
    return tuple(tried)


if __name__ == "__main__":
    main()
