"""What engines make of models, on disk and by content: the same weights, precision and versions are converted once.

Each engine has a folder of its own under `cache/` in the home; how it is kept small is told in `kept`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from quickalign.core import atomic, paths
from quickalign.hub.fingerprint import file_sha256, model_fingerprint
from quickalign.serve.engine import Load, ReferenceAnswer
from quickalign.serve.engines import kept

if TYPE_CHECKING:
    from quickalign.serve.engines.trained import Trained

_FACTS = "facts.json"
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True, slots=True)
class Converted:
    """A converted model.

    Attributes:
        folder: where what the engine needs of it lies.
        windows: how many tokens each layer looks back; 0 for all.
        context: the most tokens that it was made for.
        vocabulary: how many token ids it scores.
        end_tokens: the ids that end an answer by its own configuration.
        references: what transformers' own `generate` answers to the probes.
    """

    folder: Path
    windows: tuple[int, ...]
    context: int
    vocabulary: int
    end_tokens: tuple[int, ...]
    references: tuple[ReferenceAnswer, ...]


def converted(
    load: Load,
    kind: str,
    versions: dict[str, str],
    read: Callable[[Load], Trained],
    write: Callable[[Trained, Path], list[int]],
) -> Converted:
    """The model that `load` names, converted now or before. Processes that ask for the same wait for one another.

    It is kept as long as this process lives; others go where the folder has become too large.

    Args:
        load: what to convert.
        kind: what it is converted for, which names the folder.
        versions: of all that has a part in the conversion.
        read: loads the model for conversion and for the probes' answers; called only where one of them is missing.
        write: writes what the engine needs into a folder and returns the layers' windows.
    """
    folder = _folder(kind) / _key(load, versions)
    paths.make_folder(folder.parent)
    answers = folder / f"answers-{_digest([load.probes, load.probe_tokens])[:16]}.json"
    with FileLock(folder.with_suffix(".lock")):
        kept.hold(folder)
        for leftover in folder.parent.glob(f"{atomic.TEMPORARY_PREFIX}{folder.name}-*"):
            shutil.rmtree(leftover, ignore_errors=True)  # of a conversion that was killed: the lock is ours
        whole = (folder / _FACTS).is_file()
        trained = None if whole and (answers.is_file() or not load.probes) else read(load)
        references = trained.references() if trained is not None else []
        if not whole and trained is not None:
            with atomic.folder(folder) as making:
                facts = asdict(trained.facts)
                atomic.write_text(making / _FACTS, json.dumps(facts | {"windows": write(trained, making)}))
        if trained is not None and load.probes:
            atomic.write_text(answers, json.dumps([asdict(one) for one in references]))
        found = _read(folder, answers if load.probes else None)
    kept.shrink(folder.parent, load.cache_bytes)
    return found


def is_empty(kind: str) -> bool:
    """Whether nothing was converted for `kind` yet, so that the first model will be."""
    return not any(_folder(kind).glob(f"*/{_FACTS}"))


def _folder(kind: str) -> Path:
    return paths.home() / "cache" / kind


def _read(folder: Path, answers: Path | None) -> Converted:
    facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    told = json.loads(answers.read_text(encoding="utf-8")) if answers else []
    return Converted(
        folder,
        tuple(facts["windows"]),
        facts["context"],
        facts["vocabulary"],
        tuple(facts["end_tokens"]),
        tuple(ReferenceAnswer(tuple(one["prompt"]), tuple(one["ids"]), tuple(one["leads"])) for one in told),
    )


def _key(load: Load, versions: dict[str, str]) -> str:
    adapter = None
    if load.adapter is not None:
        adapter = [file_sha256(Path(load.adapter) / name) for name in _ADAPTER_FILES]
    base = model_fingerprint(Path(load.weights))
    return _digest([base, adapter, load.quantization, load.compression, sorted(versions.items())])[:32]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
