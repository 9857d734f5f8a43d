import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from quickalign.core import extras
from quickalign.core.errors import OptionError
from tests.support.absent import take_away

PROJECT = Path(__file__).resolve().parents[3] / "pyproject.toml"


def test_the_extras_are_those_of_the_project():
    declared = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert {*extras.PACKAGES} == {*declared} - {"dev"}
    for name, packages in extras.PACKAGES.items():
        assert len(packages) == len(declared[name])
        assert {*declared[name]} <= {*declared["dev"]}, "whoever develops has all of them"
        assert all(find_spec(module) for module in packages), "and they are called so"


def test_what_is_missing_is_named_with_the_command_that_installs_it(monkeypatch):
    extras.demand_gguf()
    take_away(monkeypatch, "gguf", "xllamacpp")
    with pytest.raises(OptionError) as caught:
        extras.demand_gguf("spec.compression")
    assert caught.value.message == "GGUF files need gguf and xllamacpp."
    assert caught.value.remedy == "Install it: pip install 'quickalign[gguf]'."
    assert caught.value.field == "spec.compression"
    assert extras.missing("ray") == []
