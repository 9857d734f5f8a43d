"""Programs that start sooner, and what they leave as it was."""

import gc
import importlib.util
import json
import sys

import pytest

from quickalign.core.startup import leave_out, uncollected


def test_nothing_is_collected_inside_and_everything_again_behind():
    assert gc.isenabled()
    frozen = gc.get_freeze_count()
    try:
        with uncollected():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > frozen
    finally:
        gc.unfreeze()


def test_an_error_inside_turns_it_on_again():
    with pytest.raises(ValueError, match="inside"), uncollected():
        raise ValueError("inside")
    assert gc.isenabled()
    gc.unfreeze()


def test_who_has_turned_it_off_keeps_it_off():
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_is_left_out_is_absent_and_what_is_there_stays(monkeypatch):
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    sys.modules.pop("sndhdr", None)
    leave_out("sndhdr", "json")
    assert importlib.util.find_spec("sndhdr") is None
    with pytest.raises(ImportError):
        importlib.import_module("sndhdr")
    assert sys.modules["json"] is json
