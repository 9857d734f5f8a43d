"""Results of the training benchmark: what they were measured on, as JSON, as a table and as a plot."""

import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate")


@dataclass(frozen=True)
class Run:
    """One process: its speed by wall and by processor time, and its peak memory in bytes.

    `token_budget` is what the planner chose, `flops_per_second` model FLOPs by wall time; both of our side only.
    """

    pairs_per_second: float
    pairs_per_cpu_second: float
    peak: int
    losses: tuple[float, ...]
    token_budget: int = 0
    flops_per_second: float = 0.0


@dataclass(frozen=True)
class Tried:
    """One candidate for TRL's best settings."""

    settings: dict[str, Any]
    pairs_per_second: float
    peak: int


@dataclass(frozen=True)
class Comparison:
    """All rounds of one setting: ours and theirs."""

    setting: str
    against: str
    ours: dict[str, Any]
    theirs: dict[str, Any]
    rounds: tuple[tuple[Run, Run], ...]
    tried: tuple[Tried, ...] = ()

    def ratios(self, field: str) -> list[float]:
        """Ours over theirs in every round."""
        return [getattr(ours, field) / getattr(theirs, field) for ours, theirs in self.rounds]

    def line(self) -> str:
        """A row of the table."""
        cells = [self.setting, f"TRL {self.against}"]
        for field in ("pairs_per_second", "pairs_per_cpu_second", "peak"):
            found = self.ratios(field)
            cells.append(f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})")
        ours, theirs = ([run.pairs_per_second for run in side] for side in zip(*self.rounds, strict=True))
        cells.append(f"{statistics.median(ours):.3f} / {statistics.median(theirs):.3f}")
        return "| " + " | ".join(cells) + " |"

    def settings(self) -> str:
        """Each side's settings, as far as they differ from setting to setting."""
        named = ((self.ours, _SHARED), (self.ours, _OURS), (self.theirs, _THEIRS))
        shared, ours, theirs = (", ".join(f"{name}={side[name]}" for name in names) for side, names in named)
        return f"- {self.setting}, TRL {self.against}: {shared}; ours: {ours}; TRL: {theirs}"


_SHARED = ("precision", "quantization", "seq_length", "rows_per_step", "steps", "lora_dim", "reference", "threads")
_OURS = ("token_budget", "checkpointing")
_THEIRS = ("precision", "batch", "grouped", "autocast", "checkpointing")
HEADER = (
    "| setting | against | pairs/s, ours over theirs | by processor time | peak memory | pairs/s ours / theirs |\n"
    "|---|---|---|---|---|---|"
)


def environment() -> dict[str, Any]:
    """The machine and the versions."""
    found = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": psutil.cpu_count(logical=True),
        "memory_bytes": psutil.virtual_memory().total,
        "load_before": psutil.getloadavg()[0],
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in PACKAGES},
    }
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def write_results(folder: Path, machine: dict[str, Any], comparisons: Sequence[Comparison], **others: Any) -> Path:
    """Write `dpo-DATE.json` (with `others` in it), `.md` and `.png` into `folder`; returns the JSON file."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"dpo-{machine['date'].replace(':', '')[:15]}"
    sides = [_placeless(asdict(comparison)) for comparison in comparisons]
    content = {"machine": machine, "comparisons": sides} | others
    stem.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    table = "\n".join([HEADER, *(comparison.line() for comparison in comparisons)])
    settings = "\n".join(comparison.settings() for comparison in comparisons)
    stem.with_suffix(".md").write_text(f"{table}\n\n{settings}\n", encoding="utf-8")

    _plot(stem.with_suffix(".png"), comparisons)
    return stem.with_suffix(".json")


def _placeless(comparison: dict[str, Any]) -> dict[str, Any]:
    """Names instead of paths: where a file lies says nothing to who reads the results elsewhere."""
    for side in ("ours", "theirs"):
        for field in ("model", "data"):
            comparison[side][field] = Path(comparison[side][field]).name
    return comparison


def _plot(path: Path, comparisons: Sequence[Comparison]) -> None:
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and only needed here

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    names = [f"{one.setting}\nTRL {one.against}" for one in comparisons]
    figure, axes = plt.subplots(1, 2, figsize=(4 + 1.6 * len(names), 4))
    titles = (("pairs_per_second", "pairs/s, ours over TRL"), ("peak", "peak memory, ours over TRL"))
    for axis, (field, title) in zip(axes, titles, strict=True):
        ratios = [one.ratios(field) for one in comparisons]
        middles = [statistics.median(found) for found in ratios]
        spread = [[m - min(r) for m, r in zip(middles, ratios, strict=True)]]
        spread.append([max(r) - m for m, r in zip(middles, ratios, strict=True)])
        axis.bar(names, middles, yerr=spread, capsize=4, color="#2f6f8f")
        axis.axhline(1.0, color="black", linewidth=0.8)
        axis.set_title(title)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
