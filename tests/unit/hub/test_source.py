import pytest

from quickalign.core import paths
from quickalign.core.errors import ModelError
from quickalign.hub.source import resolve
from tests.doubles.models import write_model


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    monkeypatch.setenv("QUICKALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("QUICKALIGN_MODEL_MIRROR", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf-cache"))
    monkeypatch.chdir(tmp_path)


def test_a_folder_needs_no_card(tmp_path):
    write_model(tmp_path / "mine")
    for name in (str(tmp_path / "mine"), "./mine", "mine", "mine/"):
        source = resolve(name)
        assert (source.name, source.origin, source.card) == ("mine", "folder", None)
        assert source.path == tmp_path / "mine"
    assert len(source.fingerprint) == 64


def test_a_path_that_is_no_model(tmp_path):
    with pytest.raises(ModelError, match=r"nowhere does not exist"):
        resolve("./nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        resolve("./empty")


@pytest.mark.parametrize("name", ["mine", "./mine"])
def test_a_folder_of_a_gguf_file_is_told_as_one_however_it_is_written(tmp_path, name):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"model\.gguf is a GGUF file"):
        resolve(name)


@pytest.mark.parametrize("path", ["~nobody-of-that-name/x", "/" + "x" * 5000])
def test_paths_that_cannot_be(path):
    with pytest.raises(ModelError, match=r"cannot be read"):
        resolve(path)


def test_a_revision_of_a_folder_is_refused(tmp_path):
    write_model(tmp_path / "mine")
    with pytest.raises(ModelError, match=r"revision 'v1' has no meaning"):
        resolve("./mine", revision="v1")


def test_the_embedded_model(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "assets", lambda: tmp_path / "assets")
    write_model(tmp_path / "assets" / "qwen2-tiny-instruct")
    source = resolve("qwen2-tiny-instruct")
    assert source.origin == "embedded"
    assert source.card is not None
    assert source.card.embedded


def test_a_mirror_folder(tmp_path, monkeypatch):
    write_model(tmp_path / "mirror" / "Qwen" / "Qwen2-0.5B")
    for mirror in (tmp_path / "mirror", f"file://{tmp_path}/mirror"):
        monkeypatch.setenv("QUICKALIGN_MODEL_MIRROR", str(mirror))
        source = resolve("qwen2-0.5b")
        assert (source.origin, source.name) == ("mirror", "qwen2-0.5b")
        assert source.path == tmp_path / "mirror" / "Qwen" / "Qwen2-0.5B"
    with pytest.raises(ModelError, match=r"one unnamed revision.*v1 is asked for"):
        resolve("qwen2-0.5b", revision="v1")


def test_a_broken_copy_on_the_mirror_is_an_error_not_a_detour(tmp_path, monkeypatch):
    folder = write_model(tmp_path / "mirror" / "Qwen" / "Qwen2-0.5B")
    (folder / "tokenizer.json").unlink()
    monkeypatch.setenv("QUICKALIGN_MODEL_MIRROR", str(tmp_path / "mirror"))
    with pytest.raises(ModelError, match=r"tokenizer\.json is missing"):
        resolve("qwen2-0.5b")


def test_offline_names_all_places(tmp_path, monkeypatch):
    monkeypatch.setenv("QUICKALIGN_MODEL_MIRROR", str(tmp_path / "mirror"))
    with pytest.raises(ModelError) as caught:
        resolve("qwen2-0.5b")
    sentence = str(caught.value)
    for place in (
        f"the mirror ({tmp_path / 'mirror'})",
        str(tmp_path / "home" / "models"),
        "Hugging Face cache",
        "HF_HUB_OFFLINE",
    ):
        assert place in sentence


@pytest.mark.parametrize("name", ["qwen2-7b-instrukt", "a/b/c", "maker/..", "maker/x?y", ""])
def test_what_cannot_be_a_model_is_refused(name):
    with pytest.raises(ModelError, match=r"no model card"):
        resolve(name)
