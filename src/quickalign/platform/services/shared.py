"""Which base a revision shares with others, known when it is made: by its spec, its source, and where it will run.

vLLM keeps one base for all who serve it with the same precision and context on one device; each brings its adapter.
"""

import hashlib
import json
from pathlib import Path

from quickalign.core.errors import OptionError, QuickalignError
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.wire.services import RevisionSpec
from quickalign.hub.cards import card_or_none
from quickalign.hub.folder import read_json
from quickalign.hub.source import resolve
from quickalign.platform.queue.admission import Shared
from quickalign.platform.services import needs
from quickalign.platform.services.sources import Frozen, base_of
from quickalign.serve.engines.registry import resolve_engine
from quickalign.serve.engines.sharing import check_sharing, is_shared
from quickalign.serve.engines.vllm.ranks import shared_bucket

_FIELD = "spec.share_base"


def shared_of(spec: RevisionSpec, source: Frozen, gpus: int, *, on_cluster: bool) -> Shared | None:
    """The base that a revision shares; None where it has one of its own.

    Raises:
        OptionError: `share_base` was asked for and cannot be.
    """
    engine = resolve_engine(spec.engine)
    try:
        _check(spec, engine, on_cluster=on_cluster)
        shares = is_shared(spec.share_base, quantization_of(source), "cuda" if gpus else "cpu")
    except OptionError as error:
        error.field, error.value = _FIELD, spec.share_base
        raise
    if engine != "vllm" or on_cluster or spec.weights != "auto" or not shares:
        return None
    name, identity = _base(source)
    size = needs.size_of(source)
    context = spec.context or (size.shape.context_length if size.shape else 0)
    precision = needs.precision_of(spec, source, gpus)
    values = [identity, precision, context, "cuda" if gpus else "cpu", _rank(source)]
    key = hashlib.sha256(json.dumps(values).encode()).hexdigest()
    return Shared(key, name, int(size.parameters * needs.BYTES[precision]))


def adapter_bytes(source: Frozen) -> int:
    """What the adapter's weights take beside a base; 0 where they are not on this machine."""
    if source.adapter_path is None:
        return 0
    return sum(file.size for file in source.files if _is_weights(Path(file.path), Path(source.adapter_path)))


def quantization_of(source: Frozen) -> str:
    """How the base was quantised in training: none, 4bit or 8bit."""
    file = Path(source.adapter_path) / "quickalign.json" if source.adapter_path else None
    if file is None or not file.is_file():
        return "none"
    try:
        return Hyperparameters.model_validate(read_json(file).get("hyperparameters") or {}).quantization
    except ValueError:  # the replica says what is wrong with it
        return "none"


def _check(spec: RevisionSpec, engine: str, *, on_cluster: bool) -> None:
    if spec.share_base and on_cluster:
        raise OptionError(
            "share_base=true is not possible with executor=ray: the cluster gives each replica a place of its own.",
            "Leave share_base out, or set it to false; or let the operator set executor = 'local' in config.toml.",
        )
    check_sharing(spec.share_base, engine)
    if spec.share_base and spec.weights != "auto":
        raise OptionError(
            f"share_base=true is not possible with weights={spec.weights}: vllm keeps a base as it is.",
            "Leave weights out, or set share_base to false and engine=openvino.",
        )


def _base(source: Frozen) -> tuple[str, list[str | None]]:
    """The base's name for people, and what tells it from others."""
    name, revision = source.model_path or source.model, source.model_revision
    if source.adapter_path is not None and source.adapter is None:
        name = base_of(Path(source.adapter_path)) or source.model
        file = Path(source.adapter_path) / "quickalign.json"
        revision = (read_json(file).get("base") or {}).get("revision") if file.is_file() else None
    card = card_or_none(name)
    try:
        if card is not None and card.embedded:
            return card.name, [str(resolve(card.name).path.resolve())]
    except QuickalignError:  # the replica says what is wrong with it
        return name, [name, revision]
    if Path(name).is_absolute():
        return _known_as(Path(name)), [str(Path(name).resolve())]
    return name, [name, revision]


def _known_as(folder: Path) -> str:
    """The name of an embedded model's folder is its card's."""
    card = card_or_none(folder.name)
    is_it = card is not None and card.embedded and resolve(folder.name).path.resolve() == folder.resolve()
    return folder.name if is_it else str(folder)


def _rank(source: Frozen) -> int:
    try:
        return shared_bucket(source.adapter_path)
    except (QuickalignError, OSError, ValueError, KeyError):  # the replica says what is wrong with it
        return 0


def _is_weights(file: Path, folder: Path) -> bool:
    return file.parent == folder and file.suffix == ".safetensors"
