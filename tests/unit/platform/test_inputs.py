"""What a job may read: contained, allowed, frozen."""

import os
from pathlib import Path

import pytest

from quickalign.core import paths, storage
from quickalign.core.errors import AccessError, ModelError, NotFoundError, OptionError, StorageError
from tests.support.platforms import FAST, open_stub, stub_job
from tests.support.users import open_folder, ordinary_user


@pytest.fixture
def narrow(tmp_path):
    """A platform that may read one folder."""
    (tmp_path / "open").mkdir()
    (tmp_path / "closed").mkdir()
    for folder in ("open", "closed"):
        (tmp_path / folder / "rows.json").write_text('[{"prompt": "a", "chosen": "b", "rejected": "c"}]')
    platform = open_stub(tmp_path / "home", config=FAST.model_copy(update={"local_roots": (tmp_path / "open",)}))
    yield platform
    platform.close()


def test_a_local_file_is_frozen_as_it_was(platform, data):
    job = platform.jobs.create(stub_job(data))
    before = data.read_bytes()
    data.write_text("changed")
    assert platform.files.blobs.path(job.inputs["train"]).read_bytes() == before


def test_only_open_folders_are_read(narrow, tmp_path):
    assert narrow.jobs.create(stub_job(tmp_path / "open" / "rows.json")).inputs["train"]
    link = tmp_path / "open" / "link.json"
    link.symlink_to(tmp_path / "closed" / "rows.json")
    for path in (
        tmp_path / "closed" / "rows.json",
        link,
        tmp_path / "open" / ".." / "closed" / "rows.json",
        f"file://{tmp_path}/closed/rows.json",
        "/etc/passwd",
    ):
        with pytest.raises(AccessError, match="outside the folders") as caught:
            narrow.jobs.create(stub_job(path))
        assert caught.value.field == "spec.train"


def test_models_and_outputs_are_contained_too(narrow, tmp_path):
    data = tmp_path / "open" / "rows.json"
    request = stub_job(data)
    with pytest.raises(AccessError):
        narrow.jobs.create(request.model_copy(update={"output": str(tmp_path / "closed" / "out")}))
    narrow.jobs.create(request.model_copy(update={"output": str(tmp_path / "open" / "out")}))
    spec = request.spec.model_copy(update={"model": str(tmp_path / "closed")})
    with pytest.raises(AccessError) as caught:
        narrow.jobs.create(request.model_copy(update={"spec": spec}))
    assert caught.value.field == "spec.model"


def test_secrets_of_the_home_are_never_read(platform):
    (platform.home.root / "token").write_text("secret")
    for name in ("token", "console.key", "quickalign.db", "quickalign.db-wal", "config.toml"):
        with pytest.raises(AccessError):
            platform.jobs.create(stub_job(platform.home.root / name))
    with pytest.raises(AccessError):
        platform.jobs.create(stub_job("/etc/hostname", output=str(platform.home.root / "blobs")))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("rows.json", OptionError),
        ("/nothing/rows.json", StorageError),
        ("file-nothing", NotFoundError),
        ("http://169.254.169.254/secret", StorageError),
        ("gopher://x/y", StorageError),
        ("a\0b", StorageError),
        ("/", StorageError),
    ],
)
def test_what_cannot_be_read_names_the_field(platform, text, kind):
    with pytest.raises(kind) as caught:
        platform.jobs.create(stub_job(text))
    assert caught.value.field == "spec.train"
    assert caught.value.value == text


def test_schemes_are_the_operators_choice(tmp_path, data):
    platform = open_stub(tmp_path / "home", config=FAST.model_copy(update={"storage_schemes": ("s3",)}))
    try:
        assert platform.jobs.create(stub_job("s3://bucket/rows.json")).inputs == {}
        with pytest.raises(AccessError, match="oss://"):
            platform.jobs.create(stub_job("oss://bucket/rows.json"))
        with pytest.raises(AccessError, match="hf://"):
            platform.jobs.create(stub_job(data, output="hf://me/model"))
    finally:
        platform.close()


def test_the_missions_uri_stands_for_the_sample_set(platform):
    job = platform.jobs.create(
        stub_job("oss://pai-quickstart-cn-hangzhou/huggingface/datasets/safe_rlhf/sampled_train.json")
    )
    sample = paths.assets() / "sample" / "train.json"
    assert platform.files.blobs.path(job.inputs["train"]).read_bytes() == sample.read_bytes()
    notice = next(event for event in platform.jobs.events(job.id).items if event.kind == "notice")
    assert "sample set" in notice.message
    assert Path(job.spec.train).name == "sampled_train.json"


def test_devices_and_pipes_are_refused_before_anything_is_read(platform, tmp_path):
    """A pipe would be waited for, and /dev/zero has no end."""
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path / "pipe.json", "/dev/zero", "/dev/null"):
        with pytest.raises(StorageError, match="not a file") as caught:
            platform.jobs.create(stub_job(path))
        assert caught.value.field == "spec.train"


def test_a_path_below_an_unknown_users_home_names_its_field(platform, data):
    request = stub_job(data)
    spec = request.spec.model_copy(update={"model": "~nobody-of-that-name/model"})
    unknown = {"spec.model": {"spec": spec}, "output": {"output": "~nobody-of-that-name/out"}}
    for field, change in unknown.items():
        with pytest.raises(StorageError, match="does not exist") as caught:
            platform.jobs.create(request.model_copy(update=change))
        assert caught.value.field == field


def test_a_models_folder_that_is_not_there_is_told_before_the_job_waits(platform, data, tmp_path):
    request = stub_job(data)
    for model in (tmp_path / "no-model", data):
        spec = request.spec.model_copy(update={"model": str(model)})
        with pytest.raises(ModelError, match="does not exist") as caught:
            platform.jobs.create(request.model_copy(update={"spec": spec}))
        assert (caught.value.field, caught.value.value) == ("spec.model", str(model))


@pytest.mark.parametrize("target", ["", "ftp://x/y", "file://elsewhere/x"])
def test_an_output_that_cannot_be_names_its_field(platform, data, target):
    with pytest.raises(StorageError) as caught:
        platform.jobs.create(stub_job(data, output=target))
    assert caught.value.field == "output"


def test_an_output_that_could_not_be_written_is_told_before_the_work(platform, data, tmp_path):
    with pytest.raises(StorageError, match=r"rows\.json is a file") as caught:
        platform.jobs.create(stub_job(data, output=str(data / "out")))
    assert (caught.value.field, caught.value.value) == ("output", str(data / "out"))
    with open_folder() as theirs:
        theirs.chmod(0o555)
        with ordinary_user(), pytest.raises(StorageError, match="permission denied"):
            storage.check_folder(theirs / "a" / "b")
    platform.jobs.create(stub_job(data, output=str(tmp_path / "made" / "at" / "the end")))
    assert not (tmp_path / "made").exists()
