"""One small run that all tests of evaluation and export look at, and a home of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.specs import make_spec, run_spec


@pytest.fixture(scope="package", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUICKALIGN_HOME", str(folder))
        yield folder


@pytest.fixture(scope="package")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a few steps whose adapter moved the model visibly."""
    folder = tmp_path_factory.mktemp("runs")
    result, _ = run_spec(make_spec(folder, "run", max_steps=4, learning_rate=3e-3, sample_tokens=0))
    return result.output
