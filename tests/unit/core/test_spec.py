"""A run's specification on disk: what is written is read back as the same run."""

from pathlib import Path

import pytest

from quickalign.core import options
from quickalign.core.spec import RunSpec, dump, parse


@pytest.mark.parametrize(
    ("given", "method"),
    [
        ({}, "qlora-4bit"),
        ({"lora_dim": 0}, "full"),
        ({"load_in_8bit": True}, "qlora-8bit"),
        ({"load_in_4bit": False}, "lora"),
    ],
)
def test_what_is_written_is_read_back_as_the_same_run(given: dict[str, object], method: str) -> None:
    spec = RunSpec(model="m", train="t", output=Path("o"), hyperparameters=options.parse(given))
    again = parse(dump(spec))
    assert again.hyperparameters.method == spec.hyperparameters.method == method
    assert dump(again) == dump(spec)
