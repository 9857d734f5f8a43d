"""quickalign against TRL on the same rows, weights and machine, in alternation and in fresh processes.

    python -m benchmarks.dpo_vs_trl                                    # Qwen2-0.5B's shape on this machine
    python -m benchmarks.dpo_vs_trl --data rows.jsonl.gz --rounds 3 --steps 3
    python -m benchmarks.dpo_vs_trl --settings 128-live --sides best   # one line of the table

TRL runs three ways: as shipped (its own defaults: batch 8, fp32 weights, mixed precision, checkpointing), at the
mission's settings (batch 1 x 8, LoRA 32, bf16 weights), and at its best: bf16 weights, no checkpointing, and of the
candidates in `CANDIDATES` the one with the most pairs/s in a sweep. With a cached reference TRL precomputes its own
outside the measured steps. Where the chip does not multiply bf16 itself (find out with `quickalign plan`), both sides
train in fp32, because emulated bf16 is many times slower. Prints medians over rounds of the ratios of one round, and
their range; writes JSON to `benchmarks/results/`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.dpo_report import Comparison, Run, environment, write_results
from benchmarks.dpo_worker import Job
from quickalign.core import paths
from quickalign.hub.cards import find_card
from quickalign.train.device import find_device
from scripts.make_random_model import TINY_MODEL, TOKENIZER_FILES, config_of, write_model

ROOT = Path(__file__).resolve().parent.parent
# name -> rows, seq_length, reference
SETTINGS: dict[str, tuple[str, int, str]] = {
    "128-live": ("", 128, "live"),
    "128-cached": ("", 128, "cached"),
    "512-live": ("", 512, "live"),
    "512-cached": ("", 512, "cached"),
    "long-prompt": ("long-prompt", 576, "live"),
}
CANDIDATES: tuple[dict[str, Any], ...] = (
    {"batch": 1},
    {"batch": 2, "grouped": True},
    {"batch": 4, "grouped": True},
    {"batch": 8, "grouped": True},
    {"batch": 1, "autocast": True},
    {"batch": 4, "grouped": True, "autocast": True},
)
# Rows of one length: larger batches waste nothing and gain nothing, so two candidates tell.
SAME_LENGTH: tuple[dict[str, Any], ...] = ({"batch": 1}, {"batch": 2})
AS_SHIPPED: dict[str, Any] = {"batch": 8, "precision": "fp32", "autocast": True, "checkpointing": True}


def main() -> None:
    """Run the command line."""
    arguments = _parse()
    with tempfile.TemporaryDirectory() as scratch:
        model = arguments.model or _random_model(arguments.card, Path(scratch) / "model")
        common = {
            "model": str(model),
            "steps": arguments.steps,
            "rows_per_step": arguments.rows_per_step,
            "threads": arguments.threads,
            "quantization": arguments.quantization,
            "precision": "bf16" if find_device().bf16 else "fp32",
            "epochs": arguments.epochs,
        }
        comparisons = [comparison for name in arguments.settings for comparison in _compare(name, common, arguments)]
    path = write_results(ROOT / "benchmarks" / "results", environment(), comparisons)
    print(f"written to {path}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--card", default="qwen2-0.5b-instruct", help="whose shape the random model has")
    parser.add_argument("--model", type=Path, help="a model's folder instead")
    parser.add_argument("--data", default="hh-like", help="a data file, or hh-like for generated rows")
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--sides", nargs="+", choices=["best", "mission", "shipped"], default=["best"])
    parser.add_argument("--quantization", choices=["none", "4bit"], default="none")
    parser.add_argument("--token-budget", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rows-per-step", type=int, default=8, help="pairs per optimiser step")
    parser.add_argument("--epochs", type=int, default=2, choices=[1, 2], help="1: no epoch to warm up on")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as torch takes")
    return parser.parse_args()


def _random_model(card: str, folder: Path) -> Path:
    write_model(config_of(find_card(card)), folder)
    for name in TOKENIZER_FILES:
        shutil.copy(paths.assets() / TINY_MODEL / name, folder / name)
    return folder


def _compare(name: str, common: dict[str, Any], arguments: argparse.Namespace) -> list[Comparison]:
    rows, seq_length, reference = SETTINGS[name]
    common = common | {"data": rows or arguments.data, "seq_length": seq_length, "reference": reference}
    ours = Job(side="ours", token_budget=arguments.token_budget, **common)
    theirs = {
        "best": lambda: _best(common),
        "mission": lambda: Job(side="trl", **common),
        "shipped": lambda: Job(side="trl", **common | AS_SHIPPED),
    }
    comparisons = []
    for side in arguments.sides:
        other = theirs[side]()
        rounds = []
        for number in range(arguments.rounds):
            pair = (_run(ours), _run(other))
            rounds.append(pair)
            speed, memory = pair[0].pairs_per_second / pair[1].pairs_per_second, pair[0].peak / pair[1].peak
            print(f"{name}, TRL {side}, round {number + 1}: {speed:.2f}x pairs/s, {memory:.2f}x memory", flush=True)
        comparisons.append(Comparison(name, side, asdict(ours), asdict(other), tuple(rounds)))
        print(comparisons[-1].line(), flush=True)
    return comparisons


def _best(common: dict[str, Any]) -> Job:
    """The fastest of TRL's candidates, by one short run each; what does not fit in memory drops out."""
    candidates = SAME_LENGTH if common["data"] == "long-prompt" else CANDIDATES
    if common["precision"] == "fp32":
        candidates = tuple(candidate for candidate in candidates if not candidate.get("autocast"))
    jobs = [Job(side="trl", **common | candidate | {"steps": 1, "epochs": 1}) for candidate in candidates]
    measured = [(run.pairs_per_second, job) for job in jobs if (run := _try(job)) is not None]
    for speed, job in measured:
        tried = f"batch {job.batch}, grouped {job.grouped}, autocast {job.autocast}"
        print(f"  sweep: {tried}: {speed:.3f} pairs/s", flush=True)
    best = max(measured, key=lambda pair: pair[0])[1]
    return Job(**asdict(best) | {"steps": common["steps"], "epochs": common["epochs"]})


def _try(job: Job) -> Run | None:
    try:
        return _run(job)
    except subprocess.CalledProcessError:
        return None


def _run(job: Job) -> Run:
    """Run `job` in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.dpo_worker", json.dumps(asdict(job))]
    environment_ = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        "TOKENIZERS_PARALLELISM": "false",
    }
    done = subprocess.run(command, cwd=ROOT, env=environment_, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        done.check_returncode()
    measured = json.loads(done.stdout.splitlines()[-1])
    return Run(
        pairs_per_second=job.rows_per_step * job.steps / sum(measured["seconds"]),
        pairs_per_cpu_second=job.rows_per_step * job.steps / sum(measured["cpu_seconds"]),
        peak=measured["peak_bytes"],
        losses=tuple(measured["losses"]),
    )


if __name__ == "__main__":
    main()
