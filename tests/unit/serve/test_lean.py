"""Packages that a program goes without."""

import importlib.util
import json
import sys

import pytest

from quickalign.serve.lean import is_quantised, leave_out


def test_what_is_left_out_is_absent_and_what_is_there_stays(monkeypatch):
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    sys.modules.pop("sndhdr", None)
    leave_out("sndhdr", "json")
    assert importlib.util.find_spec("sndhdr") is None
    with pytest.raises(ImportError):
        importlib.import_module("sndhdr")
    assert sys.modules["json"] is json


def test_bitsandbytes_is_needed_for_what_is_stored_or_trained_quantised(tmp_path):
    assert is_quantised(tmp_path, "none"), "a folder that cannot be read is not judged here"
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
    assert not is_quantised(tmp_path, "none")
    assert is_quantised(tmp_path, "4bit")
    (tmp_path / "config.json").write_text('{"quantization_config": {"quant_method": "bitsandbytes"}}')
    assert is_quantised(tmp_path, "none")
