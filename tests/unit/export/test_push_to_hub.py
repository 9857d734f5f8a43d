"""Pushing an export to Hugging Face, against a server on loopback that takes commits as the hub does."""

import hashlib
import json

import pytest

from quickalign.core.errors import AccessError, ConflictError, OptionError, StorageError, UnavailableError
from quickalign.export import push as module
from tests.doubles.hub_uploads import TOKEN, Uploads, serve

FILES = {"config.json": b"{}", "model.safetensors": b"weights", "README.md": b"---\nlicense: mit\n---\n# card\n"}
URI = "hf://me/tuned"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The hub, its token in the environment; large files go by LFS, as without the package for its newer store."""
    with serve(Uploads()) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub._commit_api.is_xet_available", lambda: False)
        yield running


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "export"
    made.mkdir()
    write(made, FILES)
    return made


def write(folder, files):
    for name, content in files.items():
        (folder / name).write_bytes(content)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    (folder / "quickalign.json").write_text(json.dumps({"files": hashes}))


def test_a_dry_run_sends_nothing(hub, folder):
    planned = module.plan(folder, URI)
    assert [one.name for one in planned if one.needed] == [*FILES, "quickalign.json"]
    assert planned[0].target == "hf://me/tuned/config.json"
    assert hub.files is None


def test_everything_arrives_in_one_commit_and_is_sent_once(hub, folder):
    module.push(folder, URI, private=True)
    assert hub.files == {**FILES, "quickalign.json": (folder / "quickalign.json").read_bytes()}
    assert hub.private
    assert len(hub.commits) == 1
    assert not any(one.needed for one in module.push(folder, URI, private=True))
    assert (len(hub.commits), len(hub.uploaded)) == (1, 1)


def test_only_what_changed_is_sent(hub, folder):
    module.push(folder, URI)
    assert not hub.private
    write(folder, {**FILES, "config.json": b"{ }"})
    module.push(folder, URI)
    assert hub.commits[1] == ["config.json", "quickalign.json"]
    assert len(hub.uploaded) == 1


def test_an_interruption_goes_on_without_sending_weights_again(hub, folder):
    hub.refuse_commits = 1
    with pytest.raises(UnavailableError, match="HTTP 400 about me/tuned: no"):
        module.push(folder, URI)
    assert (hub.files, len(hub.uploaded)) == ({}, 1)
    module.push(folder, URI)
    assert hub.files is not None
    assert hub.files["model.safetensors"] == FILES["model.safetensors"]
    assert len(hub.uploaded) == 1


def test_a_failed_upload_leaves_nothing_and_is_told(hub, folder):
    hub.refuse_uploads = 1
    with pytest.raises(UnavailableError, match="me/tuned"):
        module.push(folder, URI)
    assert hub.commits == []
    module.push(folder, URI)
    assert len(hub.commits) == 1


def test_a_public_repository_is_not_taken_for_a_private_one(hub, folder):
    module.push(folder, URI)
    with pytest.raises(ConflictError, match="public"):
        module.push(folder, URI, private=True)


@pytest.mark.parametrize("token", ["hf_wrong", None])
def test_a_token_that_may_not_write_is_told(hub, folder, monkeypatch, token):
    monkeypatch.delenv("HF_TOKEN") if token is None else monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(AccessError, match="token") as raised:
        module.push(folder, URI)
    assert "HF_TOKEN" in str(raised.value)
    assert hub.files is None


def test_a_card_that_the_hub_refuses_is_told(hub, folder):
    hub.yaml_error = "license must be one of them"
    with pytest.raises(StorageError, match="license must be one of them"):
        module.push(folder, URI)


def test_a_hub_that_does_not_answer_is_told(hub, folder, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    with pytest.raises(UnavailableError):
        module.plan(folder, URI)


@pytest.mark.parametrize("uri", ["hf://", "hf://tuned", "hf://datasets/me/tuned", "hf://me/tuned@v1"])
def test_what_names_no_repository_is_refused(folder, uri):
    with pytest.raises(OptionError, match="no model repository"):
        module.plan(folder, uri)


def test_private_needs_a_repository(folder, tmp_path):
    with pytest.raises(OptionError, match="--private has no effect"):
        module.push(folder, str(tmp_path / "there"), private=True)
