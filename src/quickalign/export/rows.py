"""The rows that parity is proven on: those that the run keeps, held-out ones first, or a file's."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from quickalign.core.errors import ModelError, OptionError
from quickalign.data.encode import EncodedRow
from quickalign.data.prepare import DataRequest, prepare
from quickalign.data.store import TokenStore
from quickalign.export.spec import ExportSpec
from quickalign.train import manifest as manifests
from quickalign.train.data import TRAIN, VALIDATION
from quickalign.train.manifest import Manifest


def parity_rows(
    spec: ExportSpec, folder: Path, manifest: Manifest, tokenizer: PreTrainedTokenizerBase
) -> list[EncodedRow]:
    """Real rows as training saw them; `folder` holds the trained weights.

    Raises:
        OptionError: the run keeps none, and no data was given.
        DataError, StorageError: the data that was given cannot be read.
    """
    if spec.data is not None:
        return _from_file(spec, spec.data, manifest, tokenizer)
    beside = (folder.parent, folder.parent.parent.parent)  # of a run's result, of a checkpoint
    for run in (*beside, *_origin(folder, manifest)):
        for name in (VALIDATION, TRAIN):
            if (run / "data" / name / "store.json").is_file():
                return list(TokenStore(run / "data" / name)[: spec.proven_rows])
    raise OptionError(
        f"There are no rows beside {folder} to prove on that the export gives the same answers.",
        "Name some with --data; the file that was trained on will do.",
    )


def _origin(copy: Path, manifest: Manifest) -> tuple[Path, ...]:
    """The folder in which a run was made whose trained weights were copied to `copy`, without rows, where it still is.

    It is known by its manifest, weights included, because another run may have taken its place.
    """
    try:
        run = Path(json.loads((copy.parent / "spec.json").read_text(encoding="utf-8"))["output"])
        return (run,) if manifests.read(run / copy.name) == manifest else ()
    except (OSError, ValueError, KeyError, TypeError, ModelError):
        return ()


def _from_file(spec: ExportSpec, uri: str, manifest: Manifest, tokenizer: PreTrainedTokenizerBase) -> list[EncodedRow]:
    request = DataRequest(
        uri=uri,
        data_format=spec.data_format,
        bad_rows="drop",
        seq_length=manifest.seq_length,
        apply_chat_template=manifest.apply_chat_template,
        system_prompt=manifest.system_prompt,
    )
    with tempfile.TemporaryDirectory(prefix="quickalign-export-") as folder:
        return list(prepare(request, tokenizer, Path(folder) / "rows").store[: spec.proven_rows])
