"""How much faster two workers are than one, on two cores with one thread each, and what the rest is lost to.

    python -m benchmarks.workers_scaling                       # the embedded model, LoRA, 24 steps of 16 pairs
    python -m benchmarks.workers_scaling --steps 6 --model /folder/of/a/model --seq-length 256

Four things take the same optimiser batches: one process alone on one core; two such processes at once, each on its own
core and with nothing to do with the other; two workers of a local Ray cluster with whole weights (ddp); and two with
weights in pieces (fsdp2). The second says what two cores of this machine are worth together; what lies between it and
the workers is the exchange and the uneven halves of a batch. Times are those of a run's steps after the first three, by
its own metrics. Results are printed, and written as JSON to `benchmarks/results/`.
"""

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.dpo_report import RESULTS, environment
from benchmarks.generated_pairs import write_pairs

ROWS_PER_STEP = 16
WARM_UP = 3
CORES = (0, 1)


@dataclass(frozen=True)
class Timing:
    """Seconds of a step: the median, and the lower and upper quartile."""

    seconds: float
    low: float
    high: float


@dataclass(frozen=True)
class Scaling:
    """What two workers are against one. `efficiency` = `machine` x `together`."""

    strategy: str
    step: Timing
    efficiency: float
    machine: float
    together: float


def timing_of(outputs: list[Path]) -> Timing:
    """The time of a step in the runs' folders."""
    lines = [json.loads(line) for folder in outputs for line in (folder / "metrics.jsonl").read_text().splitlines()]
    spent = sorted(ROWS_PER_STEP / line["pairs_per_second"] for line in lines if line["step"] > WARM_UP)
    low, middle, high = statistics.quantiles(spent, n=4)
    return Timing(middle, low, high)


def scaling_of(strategy: str, alone: Timing, apart: Timing, workers: Timing) -> Scaling:
    """Where the time of two workers goes: to the machine, whose cores share their memory, and to working together."""
    machine = alone.seconds / apart.seconds
    together = apart.seconds / (2 * workers.seconds)
    return Scaling(strategy, workers, machine * together, machine, together)


def main() -> None:
    """Measure what the command line names."""
    asked = _arguments()
    machine = environment() | {"threads": 1}
    with tempfile.TemporaryDirectory(prefix="qa-") as name:
        folder = Path(name)
        write_pairs(folder / "pairs.json", 400, 60, 40)
        alone = timing_of([_finished(_plain(asked, folder, "alone", CORES[0]))])
        both = [_plain(asked, folder, f"apart-{core}", core) for core in CORES]
        apart = timing_of([_finished(one) for one in both])
        found = [
            scaling_of(strategy, alone, apart, timing_of([_finished(_workers(asked, folder, strategy))]))
            for strategy in ("ddp", "fsdp2")
        ]
    content = {
        "machine": machine,
        "settings": {"model": Path(asked.model).name, "steps": asked.steps, "rows_per_step": ROWS_PER_STEP}
        | {"seq_length": asked.seq_length, "lora_dim": asked.lora_dim},
        "one_process": asdict(alone),
        "two_processes_apart": asdict(apart),
        "two_workers": [asdict(one) for one in found],
    }
    _show(content, found, alone, apart)
    file = RESULTS / f"workers-{machine['date'].replace(':', '')[:15]}.json"
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(file)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="qwen2-tiny-instruct")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--seq-length", type=int, default=256)
    parser.add_argument("--lora-dim", type=int, default=32, help="0 trains all weights")
    return parser.parse_args()


@dataclass(frozen=True)
class _Run:
    output: Path
    process: subprocess.Popen[bytes]


def _plain(asked: argparse.Namespace, folder: Path, name: str, core: int) -> _Run:
    spec = _spec(asked, folder, name, workers=1)
    return _start(["taskset", "-c", str(core), sys.executable, "-m", "quickalign.train", str(spec)], folder, name)


def _workers(asked: argparse.Namespace, folder: Path, strategy: str) -> _Run:
    spec = _spec(asked, folder, strategy, workers=len(CORES), strategy=strategy)
    command = [sys.executable, "-m", "quickalign.cluster.train", str(spec), "--workers", str(len(CORES))]
    cores = ",".join(map(str, CORES))
    return _start(["taskset", "-c", cores, *command, "--address", "local", "--cpus", "0.5"], folder, strategy)


def _spec(asked: argparse.Namespace, folder: Path, name: str, *, workers: int, strategy: str = "ddp") -> Path:
    parameters: dict[str, Any] = {
        "training_strategy": "dpo",
        "load_in_4bit": False,
        "lora_dim": asked.lora_dim,
        "seq_length": asked.seq_length,
        "max_steps": asked.steps,
        "num_train_epochs": 1000,
        "save_steps": 0,
        "gradient_accumulation_steps": ROWS_PER_STEP // workers,
        # the same work in every step: a cached reference would be read from the second epoch on
        "reference": "live" if asked.lora_dim else "auto",
    }
    spec = {
        "model": asked.model,
        "train": str(folder / "pairs.json"),
        "output": str(folder / name / "output"),
        "sample_tokens": 0,
        "closing_rows": 0,
        "strategy": strategy,
        "hyperparameters": parameters,
    }
    (folder / name).mkdir()
    file = folder / name / "spec.json"
    file.write_text(json.dumps(spec), encoding="utf-8")
    return file


def _start(command: list[str], folder: Path, name: str) -> _Run:
    own = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "QUICKALIGN_HOME": str(folder / "home")}
    own |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_TMPDIR": str(folder)}
    with (folder / name / "log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | own, stdout=log, stderr=subprocess.STDOUT)
    return _Run(folder / name / "output", process)


def _finished(run: _Run) -> Path:
    if run.process.wait() != 0:
        sys.exit((run.output.parent / "log").read_text(encoding="utf-8", errors="replace"))
    return run.output


def _show(content: dict[str, Any], found: list[Scaling], alone: Timing, apart: Timing) -> None:
    print(json.dumps(content["machine"] | content["settings"], default=str))
    print(f"one process         {alone.seconds:.3f} s a step ({alone.low:.3f} to {alone.high:.3f})")
    print(f"two apart, at once  {apart.seconds:.3f} s a step ({apart.low:.3f} to {apart.high:.3f})")
    for one in found:
        time = f"{one.step.seconds:.3f} s a step ({one.step.low:.3f} to {one.step.high:.3f})"
        parts = f"{one.machine:.0%} (two cores of this machine) x {one.together:.0%} (exchange and uneven halves)"
        print(f"two workers, {one.strategy:6} {time}: efficiency {one.efficiency:.0%} = {parts}")


if __name__ == "__main__":
    main()
