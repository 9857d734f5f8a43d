import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickalign.core import remote, remote_access, remote_errors, storage
from quickalign.core.errors import StorageError

SECRETS = ("AWS_SECRET_ACCESS_KEY", "OSS_ACCESS_KEY_SECRET")


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("AWS_", "OSS_")):
            monkeypatch.delenv(name)


def test_local_paths_and_file_uris(tmp_path, monkeypatch):
    file = tmp_path / "a b%20é.json"
    file.write_bytes(b"content")
    monkeypatch.chdir(tmp_path)
    for uri in (
        str(file),
        "a b%20é.json",
        f"file://{tmp_path}/a b%2520é.json",
        file.as_uri(),
        f"FILE://localhost{file.as_uri()[7:]}",
    ):
        assert storage.exists(uri), uri
        assert storage.size(uri) == 7
        with storage.open_binary(uri) as stream:
            assert stream.read() == b"content"


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert storage.local_path("~/x") == tmp_path / "x"


@given(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1))
def test_a_file_uri_of_any_path_leads_back_to_it(name):
    path = Path("/data") / name.lstrip("/")
    assert storage.local_path(path.as_uri()) == Path(path.as_posix())


@pytest.mark.parametrize("uri", ["ftp://host/x", "http://host/x", "gs://b/x", "S3A://b/x", "://x"])
def test_other_schemes_are_refused_with_the_allowed_ones(uri):
    for verb in (storage.exists, storage.size, storage.local_path):
        with pytest.raises(StorageError, match=r"file://, s3://, oss://, hf://"):
            verb(uri)


@pytest.mark.parametrize("uri", ["s3://K:hidden@b/x", "oss://K:hi/dden@b/x", "S3://hidden@b/x", "s3://hid:1/b/x"])
def test_credentials_in_a_uri_are_refused_and_not_said_again(uri):
    for verb in (storage.exists, storage.size, storage.local_path, storage.scheme_of):
        with pytest.raises(StorageError, match="where its bucket belongs") as caught:
            verb(uri)
        assert not {"hidden", "hi", "dden", "hid"} & set(re.findall(r"\w+", str(caught.value)))
    assert storage.scheme_of("s3://pairs/by@name.json") == "s3"
    assert storage.scheme_of("s3://arn:aws:s3:us-west-2:123:accesspoint/mine/x.json") == "s3"
    assert storage.scheme_of("hf://datasets/a/b@main/x") == "hf"


def test_local_mistakes_are_sentences(tmp_path):
    with pytest.raises(StorageError, match=r"nothing does not exist\. Check the path"):
        storage.size(str(tmp_path / "nothing"))
    for verb in (storage.size, lambda uri: storage.open_binary(uri).__enter__()):
        with pytest.raises(StorageError, match=r"is a folder, not a file"):
            verb(str(tmp_path))
    with pytest.raises(StorageError, match=r"names the machine 'elsewhere'"):
        storage.size("file://elsewhere/x")
    with pytest.raises(StorageError, match=r"NUL"):
        storage.exists("a\0b")
    with pytest.raises(StorageError, match=r"The path is empty"):
        storage.exists("")
    with pytest.raises(StorageError, match=r"File name too long"):
        storage.size("x" * 5000)
    with pytest.raises(StorageError, match=r"home of a user that does not exist"):
        storage.size("~nobody-of-that-name/x")
    assert not storage.exists(str(tmp_path / "nothing"))
    assert not storage.exists(str(tmp_path))


def test_a_folder_for_results_is_made_or_the_reason_is_a_sentence(tmp_path):
    storage.make_folder(tmp_path / "a" / "b")
    storage.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("content")
    for place in (tmp_path / "file", tmp_path / "file" / "inside", Path("/proc/nowhere")):
        with pytest.raises(StorageError, match=f"{place} cannot be written to"):
            storage.make_folder(place)
    assert (tmp_path / "file").read_text() == "content"


def test_a_pipe_exists_and_has_no_size(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert storage.exists(str(tmp_path / "pipe"))
    assert storage.size(str(tmp_path / "pipe")) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permission_is_a_sentence(tmp_path):
    file = tmp_path / "x"
    file.touch(mode=0)
    with pytest.raises(StorageError, match=r"permission denied"), storage.open_binary(str(file)):
        pass


def test_errors_of_the_caller_pass_through(tmp_path):
    (tmp_path / "x").touch()
    with pytest.raises(FileNotFoundError), storage.open_binary(str(tmp_path / "x")):
        raise FileNotFoundError("the caller's own")


def test_write_replaces_whole_files(tmp_path):
    source, target = tmp_path / "source", tmp_path / "deep" / "target"
    source.write_bytes(b"new")
    storage.write_file(source, str(target))
    storage.write_file(source, target.as_uri())
    assert target.read_bytes() == b"new"
    assert [file.name for file in target.parent.iterdir()] == ["target"]
    with pytest.raises(StorageError, match=r"missing does not exist"):
        storage.write_file(tmp_path / "missing", str(target))
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize(
    ("variables", "endpoint"),
    [
        ({"OSS_REGION": "cn-hangzhou"}, "https://s3.oss-cn-hangzhou.aliyuncs.com"),
        ({"OSS_REGION": "oss-cn-hangzhou"}, "https://s3.oss-cn-hangzhou.aliyuncs.com"),
        ({"OSS_ENDPOINT": "oss-cn-beijing.aliyuncs.com"}, "https://oss-cn-beijing.aliyuncs.com"),
        ({"OSS_ENDPOINT": "http://127.0.0.1:1", "OSS_REGION": "cn-x"}, "http://127.0.0.1:1"),
    ],
)
def test_oss_endpoints(monkeypatch, variables, endpoint):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert remote_access.oss_access().endpoint == endpoint


def test_oss_without_a_region_asks_for_it():
    with pytest.raises(StorageError, match=r"Set OSS_REGION, such as cn-hangzhou"):
        storage.size("oss://bucket/x")


def test_an_endpoint_in_the_uri_passes_for_alibaba_hosts_only(monkeypatch):
    place = remote._place("oss://my-bucket.oss-cn-shanghai.aliyuncs.com/a/b")
    assert (place.path, place.access.endpoint) == ("my-bucket/a/b", "https://oss-cn-shanghai.aliyuncs.com")
    monkeypatch.setenv("OSS_ENDPOINT", "https://configured.example")
    for host in ("bucket.evil.example", "bucket.oss-cn-x.aliyuncs.com.evil.example", "oss-cn-x.aliyuncs.com"):
        assert remote._place(f"oss://{host}/x").access.endpoint == "https://configured.example"


@pytest.mark.parametrize(
    ("uri", "present", "missing"),
    [
        ("s3://b/x", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        ("s3://b/x", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
        ("oss://b/x", "OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET"),
    ],
)
def test_half_a_key_pair_is_an_error(monkeypatch, uri, present, missing):
    monkeypatch.setenv("OSS_REGION", "cn-hangzhou")
    monkeypatch.setenv(present, "x")
    with pytest.raises(StorageError, match=f"{present} is set and {missing} is not"):
        storage.size(uri)


def test_an_unknown_aws_profile_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StorageError, match=r"nobody.*Check AWS_PROFILE"):
        storage.size("s3://b/x")


def test_secrets_are_in_no_repr(monkeypatch):
    for name in SECRETS:
        monkeypatch.setenv(name, "hidden")
        monkeypatch.setenv(name.replace("SECRET_ACCESS_KEY", "ACCESS_KEY_ID").replace("KEY_SECRET", "KEY_ID"), "public")
    monkeypatch.setenv("OSS_REGION", "x")
    assert "hidden" not in repr(remote_access.oss_access()) + repr(remote_access.s3_access())


class _ClientError(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(f"raw {code}")
        self.response = {"Error": {"Code": code}}


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("InvalidAccessKeyId", r"did not accept the credentials for s3://b/x \(InvalidAccessKeyId\)\. Check AWS"),
        ("ExpiredToken", r"did not accept the credentials"),
        ("AccessDenied", r"Access to s3://b/x was refused\. Check that AWS"),
        ("SlowDown", r"s3://b/x cannot be accessed: raw SlowDown\. Check the URI"),
    ],
)
def test_codes_become_sentences(monkeypatch, code, sentence):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    error = remote_errors.storage_error("s3://b/x", remote_access.s3_access(), _ClientError(code))
    assert re.search(sentence, str(error)), str(error)


def test_heavy_libraries_are_imported_on_first_use_only():
    import subprocess
    import sys

    code = "import sys, quickalign.core.storage as s; s.exists('x'); print({'s3fs', 'huggingface_hub', 'botocore'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "set()"
    )
