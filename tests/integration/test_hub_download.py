"""Downloads against a real server on loopback that speaks the hubs' protocols."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quickalign.core.errors import ModelError
from quickalign.hub import download as engine
from quickalign.hub.huggingface import HuggingFace
from quickalign.hub.source import resolve
from tests.doubles.hub_server import COMMIT, Hub, counted, serve
from tests.doubles.models import CONFIG, write_model, write_sharded

WEIGHTS = "model.safetensors"


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A fresh home and no settings from outside; nothing may leave the machine."""
    for name in (
        "HF_TOKEN",
        "HF_HUB_OFFLINE",
        "QUICKALIGN_MODEL_MIRROR",
        "MODELSCOPE_API_TOKEN",
        "HTTP_PROXY",
        "ALL_PROXY",
        "http_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QUICKALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf-cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(engine, "RETRY_SECONDS", (0.0, 0.0))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with one model of about 160 kB, as Hugging Face."""
    with serve(Hub(write_model(tmp_path / "served", rows=10_000))) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


@pytest.fixture
def modelscope(tmp_path, monkeypatch):
    """The same as ModelScope, with Hugging Face out of reach."""
    with serve(Hub(write_model(tmp_path / "served", rows=10_000))) as running:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", running.url)
        yield running


def same_files(path: Path, served: Path, *names: str) -> bool:
    return all((path / name).read_bytes() == (served / name).read_bytes() for name in names or ("config.json", WEIGHTS))


def test_a_model_is_fetched_whole_and_then_taken_from_the_cache(hub):
    (hub.folder / "README.md").write_text("not needed")
    (hub.folder / "consolidated.safetensors").write_bytes(b"a second copy")
    (hub.folder / "modeling_tiny.py").write_text("raise SystemExit")
    seen = []
    source = resolve("maker/tiny", progress=lambda *step: seen.append(step))
    assert source.origin == "huggingface"
    assert same_files(source.path, hub.folder)
    assert {file.name for file in source.path.iterdir()} == {
        "config.json", "tokenizer.json", WEIGHTS, engine.MANIFEST,
    }  # fmt: skip
    size = (hub.folder / WEIGHTS).stat().st_size
    assert seen[-1] == (WEIGHTS, size, size)
    manifest = json.loads((source.path / engine.MANIFEST).read_text())
    assert manifest["commit"] == COMMIT

    before = len(hub.requests)
    again = resolve("maker/tiny")
    assert (again.origin, again.path, again.fingerprint) == ("cache", source.path, source.fingerprint)
    assert len(hub.requests) == before


def test_a_cut_connection_goes_on_where_it_stopped(hub):
    hub.cut_after[WEIGHTS] = [50_000, 70_000]
    source = resolve("maker/tiny")
    assert same_files(source.path, hub.folder)
    assert hub.ranges(WEIGHTS) == [None, "bytes=50000-", "bytes=120000-"]


def test_a_server_without_ranges_sends_it_all_again(hub):
    hub.cut_after[WEIGHTS] = [50_000]
    hub.no_ranges = True
    assert same_files(resolve("maker/tiny").path, hub.folder)


def test_a_connection_that_stays_broken_leaves_what_came_for_the_next_run(hub):
    hub.cut_after[WEIGHTS] = [60_000, 0, 0, 0]
    with pytest.raises(ModelError, match=r"broke off.*goes on where this one stopped"):
        resolve("maker/tiny")
    home = hub.folder.parent / "home" / "models"
    assert not (home / "maker--tiny@main").exists()
    hub.cut_after.clear()
    assert same_files(resolve("maker/tiny").path, hub.folder)
    assert hub.ranges(WEIGHTS)[-1] == "bytes=60000-"
    assert not list(home.glob("*incomplete"))


def test_a_killed_process_is_continued(hub, tmp_path):
    """SIGKILL in the middle of the weights: the next process asks for the rest only."""
    hub.cut_after[WEIGHTS] = [40_000]
    code = (
        "import os, signal; from quickalign.hub import download, source\n"
        "download.RETRY_SECONDS = (0.0,)\n"
        "def progress(name, done, total):\n"
        f"    if name == {WEIGHTS!r}: os.kill(os.getpid(), signal.SIGKILL)\n"
        "source.resolve('maker/tiny', progress=progress)"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False, timeout=120)
    assert killed.returncode == -9
    (partial,) = (tmp_path / "home" / "models").rglob(f"{WEIGHTS}.incomplete")
    kept = partial.stat().st_size
    assert same_files(resolve("maker/tiny").path, hub.folder)
    assert kept > 0
    assert hub.ranges(WEIGHTS)[-1] == f"bytes={kept}-"


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_a_wrong_checksum_is_refused_and_the_file_deleted(hub, tmp_path, name):
    hub.wrong_checksum = name
    with pytest.raises(ModelError, match=f"{name} .* does not match its checksum"):
        resolve("maker/tiny")
    assert not list((tmp_path / "home" / "models").rglob(f"{name}*"))
    hub.wrong_checksum = None
    assert same_files(resolve("maker/tiny").path, hub.folder)


def test_a_missing_model_names_every_place(hub):
    with pytest.raises(ModelError) as caught:
        resolve("maker/nothing")
    sentence = str(caught.value)
    assert "the cache" in sentence
    assert f"Hugging Face ({hub.url}) has no such model" in sentence
    assert "ModelScope (http://127.0.0.1:9) cannot be reached" in sentence


def test_a_missing_revision(hub):
    with pytest.raises(ModelError, match=r"has the model, but no such revision"):
        resolve("maker/tiny", revision="v9")
    assert resolve("maker/tiny", revision=COMMIT).path.name == f"maker--tiny@{COMMIT}"


def test_a_gated_model_asks_for_the_licence_and_a_token(hub, monkeypatch):
    hub.gated, hub.token = True, "secret"
    with pytest.raises(ModelError, match=r"gated.*Accept the licence at .*/maker/tiny and set HF_TOKEN"):
        resolve("maker/tiny")
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert same_files(resolve("maker/tiny").path, hub.folder)
    contents = hub.asked("/content/")
    assert contents
    assert not any("authorization" in headers for headers in contents), "the token followed the redirect"


def test_a_mirror_is_never_sent_the_token(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("QUICKALIGN_MODEL_MIRROR", hub.url)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert resolve("maker/tiny").origin == "mirror"
    assert not any("authorization" in headers for _, _, headers in hub.requests)


def test_pickles_are_refused(hub):
    (hub.folder / WEIGHTS).unlink()
    (hub.folder / "pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(ModelError, match=r"only in pytorch_model.bin"):
        resolve("maker/tiny")
    assert not hub.asked("/content/")


def test_foreign_code_is_refused_before_the_weights_are_fetched(hub):
    config = CONFIG | {"model_type": "unheard_of", "auto_map": {"AutoModel": "modeling_tiny.Tiny"}}
    (hub.folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"'unheard_of'.*never run"):
        resolve("maker/tiny")
    assert not hub.asked("/content/")


def test_a_full_disk_is_seen_before_the_download(hub, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("quickalign.hub.download.shutil.disk_usage", lambda _: usage)
    with pytest.raises(ModelError, match=r"needs 0\.00 GB more .* 0\.00 GB are free"):
        resolve("maker/tiny")
    assert not hub.asked("/resolve/")


def test_shards(hub):
    for file in hub.folder.iterdir():
        file.unlink()
    write_sharded(hub.folder)
    assert len(list(resolve("maker/tiny").path.glob("*.safetensors"))) == 2


def test_a_damaged_copy_in_the_cache_is_fetched_again(hub):
    source = resolve("maker/tiny")
    with (source.path / WEIGHTS).open("r+b") as stream:
        stream.truncate(100)
    again = resolve("maker/tiny")
    assert again.origin == "huggingface"
    assert same_files(again.path, hub.folder)


def test_two_processes_fetch_once(hub):
    code = "from quickalign.hub.source import resolve; resolve('maker/tiny')"
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    assert counted(hub)[f"/content/{WEIGHTS}"] == 1


def test_offline_uses_the_cache_or_says_what_was_tried(hub, monkeypatch):
    path = resolve("maker/tiny").path
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    before = len(hub.requests)
    assert resolve("maker/tiny").path == path
    with pytest.raises(ModelError, match=r"the network is switched off by HF_HUB_OFFLINE"):
        resolve("maker/other")
    assert len(hub.requests) == before


def test_a_server_error_is_a_sentence(hub):
    hub.fail_with = 500
    with pytest.raises(ModelError, match=r"Hugging Face \(.*\) answered with HTTP 500"):
        resolve("maker/tiny")


def test_modelscope_follows_hugging_face(modelscope):
    modelscope.cut_after[WEIGHTS] = [30_000]
    source = resolve("maker/tiny")
    assert source.origin == "modelscope"
    assert same_files(source.path, modelscope.folder)
    assert "bytes=30000-" in [headers.get("range") for headers in modelscope.asked(f"FilePath={WEIGHTS}")]
    assert resolve("maker/tiny").origin == "cache"


def test_modelscope_wrong_checksum(modelscope):
    modelscope.wrong_checksum = WEIGHTS
    with pytest.raises(ModelError, match=r"does not match its checksum"):
        resolve("maker/tiny")


def test_modelscope_token_goes_to_its_host(modelscope, monkeypatch):
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "secret")
    resolve("maker/tiny")
    assert all(headers["authorization"] == "Bearer secret" for _, _, headers in modelscope.requests)
    assert all("m_session_id=secret" in headers["cookie"] for _, _, headers in modelscope.requests)


def test_a_hugging_face_revision_is_not_asked_of_modelscope(modelscope):
    with pytest.raises(ModelError) as caught:
        resolve("maker/tiny", revision="abc")
    assert "ModelScope" not in str(caught.value)
    assert not modelscope.requests


def test_the_double_speaks_what_huggingface_hub_speaks(hub, tmp_path, monkeypatch):
    """The hub's own client fetches the same bytes from the double, so that the double is no invention."""
    import huggingface_hub

    path = huggingface_hub.snapshot_download(
        "maker/tiny", endpoint=hub.url, cache_dir=tmp_path / "theirs", allow_patterns=["*.json", "*.safetensors"]
    )
    assert same_files(Path(path), hub.folder)
    ours = HuggingFace().snapshot("maker/tiny", "main")
    assert Path(path).name == ours.commit


def test_the_hugging_face_cache_is_used(hub, tmp_path, monkeypatch):
    import huggingface_hub

    path = huggingface_hub.snapshot_download("maker/tiny", endpoint=hub.url, cache_dir=tmp_path / "hf-cache")
    before = len(hub.requests)
    source = resolve("maker/tiny")
    assert (source.origin, source.path) == ("cache", Path(path))
    assert len(hub.requests) == before


@pytest.mark.parametrize("variable", ["HF_ENDPOINT", "MODELSCOPE_ENDPOINT"])
@pytest.mark.parametrize("address", ["no-scheme", "http://[", "ftp://x"])
def test_an_address_that_is_none_is_a_sentence(monkeypatch, variable, address):
    monkeypatch.setenv(variable, address)
    with pytest.raises(ModelError, match=r"cannot be reached"):
        resolve("maker/tiny")


def test_a_proxy_that_cannot_be_used_is_a_sentence(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "nonsense://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"proxy settings.*Check HTTP_PROXY"):
        resolve("maker/tiny")


def test_a_redirect_loop_is_a_sentence(hub, monkeypatch):
    monkeypatch.setattr(
        "tests.doubles.hub_server._Handler._content", lambda handler, name: handler._redirect(hub.folder / name)
    )
    with pytest.raises(ModelError, match=r"redirects"):
        resolve("maker/tiny")


def test_an_unreachable_hub_answers_soon(monkeypatch):
    started = time.monotonic()
    with pytest.raises(ModelError, match=r"cannot be reached"):
        resolve("maker/tiny")
    assert time.monotonic() - started < 10
