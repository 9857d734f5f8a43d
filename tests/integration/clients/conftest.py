"""One service of the embedded model for all clients, and the environment that the clients are installed in."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from quickalign.sdk.predictor import Predictor
from tests.support.services import deployed

CLIENTS = Path(__file__).resolve().parents[3] / ".venv-clients"


@pytest.fixture(scope="package")
def predictor(tmp_path_factory) -> Iterator[Predictor]:
    with deployed(tmp_path_factory.mktemp("clients")) as made:
        yield made


@pytest.fixture(scope="package")
def clients() -> Path:
    """The folder of the clients' programs; `make test` installs them, and so do its machines."""
    folder = Path(os.environ.get("QUICKALIGN_TEST_CLIENTS", CLIENTS)) / "bin"
    if not (folder / "python").exists() and not os.environ.get("CI"):
        pytest.skip(f"the clients are not installed in {folder.parent}: `make .venv-clients/.done` installs them")
    return folder
