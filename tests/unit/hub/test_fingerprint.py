import json
import os

import pytest

from quickalign.hub import fingerprint
from tests.doubles.models import CONFIG, write_model, write_sharded


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("QUICKALIGN_HOME", str(tmp_path / "home"))


def test_the_same_content_elsewhere_has_the_same_fingerprint(tmp_path):
    one, two = write_model(tmp_path / "a"), write_model(tmp_path / "b")
    assert fingerprint.model_fingerprint(one) == fingerprint.model_fingerprint(two)
    noted = CONFIG | {"transformers_version": "9", "_name_or_path": "elsewhere"}
    (two / "config.json").write_text(json.dumps(noted, indent=4))
    assert fingerprint.model_fingerprint(one) == fingerprint.model_fingerprint(two)


def test_weights_and_config_count(tmp_path):
    base = fingerprint.model_fingerprint(write_model(tmp_path / "a"))
    assert fingerprint.model_fingerprint(write_model(tmp_path / "b", fill=2)) != base
    other = write_model(tmp_path / "c")
    (other / "config.json").write_text(json.dumps(CONFIG | {"rope_theta": 1.0}))
    assert fingerprint.model_fingerprint(other) != base


def test_every_shard_counts(tmp_path):
    folder = write_sharded(tmp_path / "a")
    before = fingerprint.model_fingerprint(folder)
    shard = folder / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x01")
    assert fingerprint.model_fingerprint(folder) != before


def test_a_file_is_read_once_and_again_when_it_changes(tmp_path, monkeypatch):
    file = tmp_path / "a"
    file.write_bytes(b"one")
    first = fingerprint.file_sha256(file)
    monkeypatch.setattr("hashlib.file_digest", lambda *_: pytest.fail("read again"))
    assert fingerprint.file_sha256(file) == first
    monkeypatch.undo()
    monkeypatch.setenv("QUICKALIGN_HOME", str(tmp_path / "home"))
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))
    assert fingerprint.file_sha256(file) != first


@pytest.mark.parametrize("damage", ["", "[]", "{"])
def test_a_damaged_memory_only_costs_time(tmp_path, damage):
    file = tmp_path / "a"
    file.write_bytes(b"one")
    first = fingerprint.file_sha256(file)
    (tmp_path / "home" / "cache" / "fingerprints.json").write_text(damage)
    assert fingerprint.file_sha256(file) == first


def test_deleted_files_are_forgotten(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
        fingerprint.file_sha256(tmp_path / name)
        (tmp_path / name).unlink()
    kept = json.loads((tmp_path / "home" / "cache" / "fingerprints.json").read_text())
    assert list(kept) == [str(tmp_path / "b")]
