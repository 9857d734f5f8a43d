"""A machine on which packages are not installed."""

from importlib.util import find_spec

import pytest

from quickalign.core import extras


def take_away(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """For the extras of quickalign, `modules` are not there from now on."""
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name in modules else find_spec(name))
