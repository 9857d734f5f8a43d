"""Pushing an export: a dry run sends nothing, an interruption goes on, and the manifest is last."""

import hashlib
import json

import pytest

from quickalign.core import storage
from quickalign.core.errors import ModelError, StorageError
from quickalign.export import push as module

FILES = {"config.json": b"{}", "model.safetensors": b"weights", "README.md": b"# card"}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("QUICKALIGN_HOME", str(tmp_path / "home"))


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "export"
    made.mkdir()
    for name, content in FILES.items():
        (made / name).write_bytes(content)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    (made / "quickalign.json").write_text(json.dumps({"files": hashes}))
    return made


def test_a_dry_run_sends_nothing(folder, tmp_path):
    target = tmp_path / "there"
    planned = module.plan(folder, str(target))
    assert [one.name for one in planned] == [*FILES, "quickalign.json"]
    assert all(one.needed for one in planned)
    assert not target.exists()


def test_everything_arrives_and_is_sent_once(folder, tmp_path, monkeypatch):
    target = tmp_path / "there"
    module.push(folder, f"{target}/")
    for name, content in FILES.items():
        assert (target / name).read_bytes() == content
    monkeypatch.setattr(storage, "write_file", None)
    assert not any(one.needed for one in module.push(folder, str(target)))


def test_an_interruption_goes_on_and_the_manifest_is_last(folder, tmp_path, monkeypatch):
    target, sent = tmp_path / "there", []
    real = storage.write_file

    def once(local, uri):
        if sent:
            raise StorageError("The network is gone.")
        sent.append(local.name)
        real(local, uri)

    monkeypatch.setattr(storage, "write_file", once)
    with pytest.raises(StorageError):
        module.push(folder, str(target))
    assert not (target / "quickalign.json").exists()
    monkeypatch.setattr(storage, "write_file", lambda local, uri: (sent.append(local.name), real(local, uri)))
    module.push(folder, str(target))
    assert sent == [*FILES, "quickalign.json"]


def test_what_was_lost_or_changed_there_is_sent_again(folder, tmp_path):
    target = tmp_path / "there"
    module.push(folder, str(target))
    (target / "config.json").unlink()
    (target / "README.md").write_bytes(b"cut")
    assert {one.name for one in module.plan(folder, str(target)) if one.needed} == {"config.json", "README.md"}


def test_a_damaged_export_is_not_sent(folder, tmp_path):
    (folder / "model.safetensors").write_bytes(b"other")
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        module.push(folder, str(tmp_path / "there"))


def test_a_folder_that_is_no_export_is_told(tmp_path):
    (tmp_path / "some").mkdir()
    with pytest.raises(ModelError, match="no export"):
        module.plan(tmp_path / "some", str(tmp_path / "there"))
    with pytest.raises(ModelError, match="There is no folder"):
        module.plan(tmp_path / "nowhere", str(tmp_path / "there"))
