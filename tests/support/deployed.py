"""A real service on a real server of a fresh home, for tests that only ask it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quickalign.sdk.predictor import Predictor
from quickalign.sdk.registered_model import RegisteredModel
from quickalign.sdk.session import Session
from tests.support.homes import fresh_home

MODEL = "qwen2-tiny-instruct"


@contextmanager
def deployed(folder: Path, name: str = "tiny", engine: str = "transformers") -> Iterator[Predictor]:
    """The embedded model, deployed; nothing of it is left behind the block.

    In fp32 on every machine: a CPU that multiplies bf16 itself would take that, and round what tests compare.
    """
    with fresh_home(folder) as home:
        session = Session(home=home)
        options = {"engine": engine, "precision": "fp32"}
        predictor = RegisteredModel(MODEL, session=session).deploy(name, options=options)
        try:
            yield predictor
        finally:
            predictor.delete_service()
            session.close()
