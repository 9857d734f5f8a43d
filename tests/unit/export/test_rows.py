"""Where the rows come from on which an export proves that it gives the same answers."""

import json
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from quickalign.core.errors import OptionError
from quickalign.data.encode import EncodedPair
from quickalign.data.store import write_store
from quickalign.export.rows import parity_rows
from quickalign.export.spec import ExportSpec
from quickalign.train import manifest as manifests
from tests.support.reports import make_manifest

NO_TOKENIZER = cast("Any", None)  # rows that are encoded already need none


def made_run(folder: Path, weights: str) -> Path:
    """A run's folder with three tokens of training data; returns the folder."""
    pair = EncodedPair(0, *(np.array([1, 2, 3], dtype=np.int32) for _ in range(3)))
    with write_store(folder / "data" / "train", "preference") as writer:
        writer.add([pair])
    (folder / "adapter").mkdir()
    manifests.write(folder / "adapter", make_manifest(weights_sha256=weights))
    (folder / "spec.json").write_text(json.dumps({"output": str(folder)}))
    return folder


def copied_run(origin: Path, folder: Path) -> Path:
    """What `train --output FOLDER` copies, as far as exports look at it; returns the adapter's folder."""
    shutil.copytree(origin / "adapter", folder / "adapter")
    shutil.copy(origin / "spec.json", folder)
    return folder / "adapter"


def rows_of(adapter: Path) -> list[list[int]]:
    spec = ExportSpec.model_validate({"model": str(adapter), "output": adapter.parent / "export"})
    manifest = manifests.read(adapter)
    assert manifest is not None
    return [row.prompt.tolist() for row in parity_rows(spec, adapter, manifest, NO_TOKENIZER)]


def test_a_copy_of_a_job_s_results_takes_the_rows_of_the_job(tmp_path: Path) -> None:
    origin = made_run(tmp_path / "job", "weights")
    assert rows_of(origin / "adapter") == [[1, 2, 3]]
    assert rows_of(copied_run(origin, tmp_path / "copy")) == [[1, 2, 3]]


def test_rows_of_another_run_in_its_place_are_not_taken(tmp_path: Path) -> None:
    adapter = copied_run(made_run(tmp_path / "job", "weights"), tmp_path / "copy")
    shutil.rmtree(tmp_path / "job")
    made_run(tmp_path / "job", "other weights")
    with pytest.raises(OptionError, match="There are no rows"):
        rows_of(adapter)


@pytest.mark.parametrize("spec", ["{}", "[]", "no JSON", '{"output": null}', '{"output": "/nowhere"}'])
def test_a_copy_that_does_not_say_whose_it_is_asks_for_data(tmp_path: Path, spec: str) -> None:
    adapter = copied_run(made_run(tmp_path / "job", "weights"), tmp_path / "copy")
    (tmp_path / "copy" / "spec.json").write_text(spec)
    with pytest.raises(OptionError, match="There are no rows"):
        rows_of(adapter)
