"""Speed of the data path, speed and memory of training, and how well the planner predicts the memory.

    python -m benchmarks.data_and_training          # 100,000 pairs; the embedded model and Qwen2-0.5B's true shape
    python -m benchmarks.data_and_training --pairs 1000000 --only data
    python -m benchmarks.data_and_training --only training --shapes tiny --seq-lengths 128 512

Every measurement runs in a process of its own. Training runs are whole runs, sample answers and report included, and
their peak is that of the process; the pairs/s are those of the last of a few steps. Results are printed, and written as
JSON to `benchmarks/results/`.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.dpo_report import RESULTS, environment
from benchmarks.generated_pairs import write_pairs
from quickalign.core import paths
from quickalign.core.hyperparameters import DEFAULT_SYSTEM_PROMPT
from quickalign.hub.cards import find_card
from scripts.make_random_model import TINY_MODEL, TOKENIZER_FILES, config_of, write_model

METHODS: dict[str, dict[str, Any]] = {
    "lora": {"load_in_4bit": False},
    "qlora-4bit": {},
    "qlora-8bit": {"load_in_8bit": True},
    "full": {"lora_dim": 0},
}


@dataclass(frozen=True)
class DataResult:
    """Checking and encoding a file: rows per second and the peak resident memory of the process."""

    pairs: int
    file_bytes: int
    seconds: float
    pairs_per_second: float
    peak_bytes: int


@dataclass(frozen=True)
class TrainingResult:
    """One training run; `error` is its last line where it failed."""

    shape: str
    method: str
    seq_length: int
    packing: str
    pairs_per_second: float
    measured_peak_bytes: int
    predicted_peak_bytes: int
    error: str = ""

    @property
    def deviation(self) -> float:
        """Predicted over measured peak, minus 1."""
        return self.predicted_peak_bytes / self.measured_peak_bytes - 1


def measure_data(pairs: int, folder: Path) -> DataResult:
    """Check and encode `pairs` generated pairs of about 100 tokens."""
    file = write_pairs(folder / "pairs.jsonl", pairs, prompt_words=40, answer_words=40)
    output = _in_process("--worker-data", str(file), str(folder / "store"))
    values = json.loads(output.splitlines()[-1])
    return DataResult(pairs, file.stat().st_size, values["seconds"], pairs / values["seconds"], values["peak_bytes"])


def work_on_data(file: Path, store: Path) -> None:
    """The worker of `measure_data`: prints seconds and peak as JSON."""
    from quickalign.data.prepare import DataRequest, prepare  # noqa: PLC0415 - workers only
    from quickalign.data.tokenizer import load_tokenizer  # noqa: PLC0415

    tokenizer = load_tokenizer(paths.assets() / TINY_MODEL)
    began = time.perf_counter()
    prepare(DataRequest(str(file), strategy="dpo", system_prompt=DEFAULT_SYSTEM_PROMPT), tokenizer, store)
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


def measure_training(
    shape: str, model: str, method: str, seq_length: int, packing: str, folder: Path
) -> TrainingResult:
    """Train for a few steps on rows that fill `seq_length`."""
    words = seq_length // 4
    data = write_pairs(folder / f"train-{seq_length}.jsonl", 64, prompt_words=2 * words, answer_words=words)
    output = folder / f"{shape}-{method}-{seq_length}-{packing}"
    options = {"training_strategy": "dpo", "seq_length": seq_length, "max_steps": 3, "packing": packing}
    spec = {"model": model, "train": str(data), "output": str(output), "sample_prompts": ["Hello."]}
    file = folder / f"{output.name}.json"
    file.write_text(json.dumps(spec | {"hyperparameters": options | METHODS[method]}))
    done = subprocess.run(
        [sys.executable, "-m", "quickalign.train", str(file)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1]
        return TrainingResult(shape, method, seq_length, packing, 0.0, 1, 0, reason)
    result = json.loads((output / "result.json").read_text())
    speed = result["final"]["pairs_per_second"]
    measured, predicted = result["peak_memory_bytes"], result["predicted_peak_bytes"]
    return TrainingResult(shape, method, seq_length, packing, speed, measured, predicted)


def _in_process(*arguments: str) -> str:
    """Standard output of this module run anew."""
    command = [sys.executable, "-m", "benchmarks.data_and_training", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _models(shapes: list[str], folder: Path) -> dict[str, str]:
    """Name or folder of each shape's model; the large one is made here, with random weights."""
    models = {"tiny": TINY_MODEL}
    if "0.5b" in shapes:
        target = folder / "random-0.5b"
        write_model(config_of(find_card("qwen2-0.5b-instruct")), target)
        for name in TOKENIZER_FILES:
            (target / name).write_bytes((paths.assets() / TINY_MODEL / name).read_bytes())
        models["0.5b"] = str(target)
    return {shape: models[shape] for shape in shapes}


def _data_table(result: DataResult) -> Table:
    table = Table(title="Data: check and encode")
    for title in ("pairs", "file MB", "seconds", "pairs/s", "peak MB"):
        table.add_column(title, justify="right")
    numbers = (result.file_bytes / 1e6, result.seconds, result.pairs_per_second, result.peak_bytes / 1e6)
    table.add_row(f"{result.pairs:,}", *(f"{number:,.0f}" for number in numbers))
    return table


def _training_table(results: list[TrainingResult]) -> Table:
    table = Table(title="Training: speed, peak memory, and the planner's prediction of it")
    for title in ("shape", "method", "seq_length", "packing", "pairs/s", "measured MB", "predicted MB", "deviation"):
        table.add_column(title, justify="left" if title in ("shape", "method", "packing") else "right")
    for r in results:
        row = [r.shape, r.method, str(r.seq_length), r.packing]
        if r.error:
            table.add_row(*row, r.error)
            continue
        peaks = (f"{r.measured_peak_bytes / 1e6:,.0f}", f"{r.predicted_peak_bytes / 1e6:,.0f}")
        table.add_row(*row, f"{r.pairs_per_second:.2f}", *peaks, f"{r.deviation:+.1%}")
    return table


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--only", choices=["data", "training"])
    parser.add_argument("--shapes", nargs="+", choices=["tiny", "0.5b"], default=["tiny", "0.5b"])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seq-lengths", nargs="+", type=int, default=[128])
    parser.add_argument("--packing", nargs="+", choices=["auto", "off"], default=["auto"])
    parser.add_argument("--worker-data", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker_data:
        work_on_data(*arguments.worker_data)
        return
    console = Console(width=max(Console().width, 110))
    report: dict[str, Any] = {"machine": environment()}
    with tempfile.TemporaryDirectory(prefix="quickalign-bench-") as temporary:
        folder = Path(temporary)
        if arguments.only != "training":
            data = measure_data(arguments.pairs, folder)
            report["data"] = asdict(data)
            console.print(_data_table(data))
        if arguments.only != "data":
            results = _train_all(arguments, folder, console)
            report["training"] = [asdict(result) for result in results]
            console.print(_training_table(results))
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"data-and-training-{report['machine']['date'].replace(':', '')[:15]}.json"
    file.write_text(json.dumps(report, indent=1) + "\n")
    console.print(f"Written to {os.path.relpath(file)}")


def _train_all(arguments: argparse.Namespace, folder: Path, console: Console) -> list[TrainingResult]:
    results = []
    for shape, model in _models(arguments.shapes, folder).items():
        for method in arguments.methods:
            for seq_length in arguments.seq_lengths:
                for packing in arguments.packing:
                    console.print(f"[dim]{shape} {method} {seq_length} packing {packing}[/dim]")
                    results.append(measure_training(shape, model, method, seq_length, packing, folder))
    return results


if __name__ == "__main__":
    main()
