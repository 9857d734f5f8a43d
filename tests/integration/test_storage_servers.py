"""Storage against servers: a real S3 server process (moto), a strict OSS double, and the hub double for hf://."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import boto3  # type: ignore[import-untyped]
import pytest
import s3fs

from quickalign.core import storage
from quickalign.core.errors import StorageError
from quickalign.hub.source import resolve
from tests.doubles import oss_server
from tests.doubles.hub_server import Hub
from tests.doubles.hub_server import serve as serve_hub
from tests.doubles.models import write_model
from tests.doubles.oss_server import KEY, SECRET, TOKEN, Oss

CLEARED = ("AWS_", "OSS_", "HF_", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
ENDPOINT = "s3.oss-cn-test.example"


@contextmanager
def moto() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{url}/moto-api/", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline, "moto did not start"
                time.sleep(0.1)
        yield url, process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto() as (url, _):
        yield url


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(CLEARED):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    s3fs.S3FileSystem.clear_instance_cache()  # a kept connection would go through the proxy of another test


@pytest.fixture
def s3(server, monkeypatch):
    """moto with the bucket `data`, reached through the environment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="data")
    return client


@pytest.fixture
def oss(monkeypatch):
    with oss_server.serve(Oss(ENDPOINT)) as running:
        monkeypatch.setenv("OSS_ENDPOINT", f"http://{ENDPOINT}")
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{running.port}")
        yield running


def read(uri: str) -> bytes:
    with storage.open_binary(uri) as stream:
        return stream.read()


def test_s3_round_trip_across_blocks(s3, tmp_path):
    """20 MB are more than two read-ahead blocks; boto3 is the oracle for both directions."""
    content = os.urandom(20 << 20)
    (tmp_path / "x").write_bytes(content)
    storage.write_file(tmp_path / "x", "s3://data/a folder/x é.bin")
    assert s3.get_object(Bucket="data", Key="a folder/x é.bin")["Body"].read() == content
    uri = "s3://data/a folder/x é.bin"
    assert storage.exists(uri)
    assert storage.size(uri) == len(content)
    assert storage.local_path(uri) is None
    with storage.open_binary(uri) as stream:
        stream.seek(9 << 20)
        assert stream.read(10) == content[9 << 20 : (9 << 20) + 10]
        stream.seek(0)
        assert stream.read() == content


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("s3://data/missing", "s3://data/missing does not exist. Check the path."),
        ("s3://nobucket/x", "The bucket of s3://nobucket/x does not exist at http.*"),
        ("s3://data/folder", "s3://data/folder is a folder, not a file.*"),
        ("s3://data", "s3://data does not name a file.*"),
        ("s3:///x", "s3:///x does not name a file.*"),
    ],
)
def test_s3_mistakes_are_sentences(s3, uri, sentence):
    s3.put_object(Bucket="data", Key="folder/x", Body=b"x")
    for verb in (storage.size, read):
        with pytest.raises(StorageError, match=sentence):
            verb(uri)


def test_s3_absence_is_no_error_for_exists(s3):
    assert not storage.exists("s3://data/missing")
    assert not storage.exists("s3://nobucket/x")


def test_s3_without_credentials(s3, monkeypatch):
    s3.put_object(Bucket="data", Key="private", Body=b"x")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for verb in (storage.size, storage.exists, read):
        with pytest.raises(StorageError, match=r"refused, and no credentials are set. Set AWS_ACCESS_KEY_ID and"):
            verb("s3://data/private")


def test_s3_public_files_need_no_credentials(s3, monkeypatch):
    s3.put_object(Bucket="data", Key="public", Body=b"open", ACL="public-read")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert read("s3://data/public") == b"open"


def test_s3_endpoint_out_of_reach(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match=r"http://127.0.0.1:9 cannot be reached"):
        storage.size("s3://data/x")


@pytest.mark.slow
def test_s3_server_dies_while_reading(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    (tmp_path / "x").write_bytes(bytes(30 << 20))
    with moto() as (url, process):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="data")
        storage.write_file(tmp_path / "x", "s3://data/x")
        with storage.open_binary("s3://data/x") as stream:
            assert stream.read(1) == b"\0"
            process.kill()
            process.wait()
            with pytest.raises(StorageError, match=r"s3://data/x"):
                stream.read()


def test_a_mirror_in_a_bucket(s3, tmp_path, monkeypatch):
    for file in write_model(tmp_path / "served", rows=10_000).iterdir():
        storage.write_file(file, f"s3://data/models/maker/tiny/{file.name}")
    monkeypatch.setenv("QUICKALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("QUICKALIGN_MODEL_MIRROR", "s3://data/models")
    source = resolve("maker/tiny")
    assert source.origin == "mirror"
    assert (source.path / "model.safetensors").read_bytes() == (tmp_path / "served/model.safetensors").read_bytes()


def test_oss_against_moto_with_the_bucket_in_the_host(s3, server, monkeypatch):
    """A real S3 server takes the request that goes to bucket.endpoint; moto stands in as the proxy."""
    s3.put_object(Bucket="data", Key="a/b", Body=b"hello")
    monkeypatch.setenv("OSS_ENDPOINT", f"http://{ENDPOINT}")
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", SECRET)
    monkeypatch.setenv("HTTP_PROXY", server)
    assert read("oss://data/a/b") == b"hello"


def test_oss_signed_round_trip(oss, monkeypatch, tmp_path):
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", SECRET)
    content = os.urandom(9 << 20)
    (tmp_path / "x").write_bytes(content)
    storage.write_file(tmp_path / "x", "oss://bucket/训练/x.bin")
    assert oss.objects["bucket", "训练/x.bin"] == content
    assert read("oss://bucket/训练/x.bin") == content
    assert {host for _, host, _ in oss.requests} == {f"bucket.{ENDPOINT}"}


def test_oss_security_token(oss, monkeypatch):
    oss.objects["bucket", "x"], oss.token = b"temporary", TOKEN
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", SECRET)
    monkeypatch.setenv("OSS_SESSION_TOKEN", TOKEN)
    assert read("oss://bucket/x") == b"temporary"


def test_oss_public_file_without_credentials(oss):
    oss.objects["open", "x"] = b"public"
    oss.public.add("open")
    assert read("oss://open/x") == b"public"
    with pytest.raises(StorageError, match=r"no credentials are set. Set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET"):
        read("oss://closed/x")


def test_oss_wrong_secret(oss, monkeypatch, tmp_path):
    oss.objects["bucket", "x"] = b"x"
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", "wrong")
    with pytest.raises(StorageError, match=r"Access to oss://bucket/x was refused. Check that OSS_ACCESS_KEY_ID"):
        read("oss://bucket/x")
    (tmp_path / "x").write_bytes(b"x")
    with pytest.raises(StorageError, match=r"did not accept the credentials .* \(SignatureDoesNotMatch\)"):
        storage.write_file(tmp_path / "x", "oss://bucket/x")


def test_hf_file_is_streamed(tmp_path, monkeypatch):
    with serve_hub(Hub(write_model(tmp_path / "served", rows=10_000))) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        uri = "hf://maker/tiny/model.safetensors"
        assert storage.size(uri) == (hub.folder / "model.safetensors").stat().st_size
        assert read(uri) == (hub.folder / "model.safetensors").read_bytes()
        with pytest.raises(StorageError, match=r"hf://maker/tiny/nothing.json does not exist"):
            storage.size("hf://maker/tiny/nothing.json")
        with pytest.raises(StorageError, match=r"hf://maker/other/x does not exist. .* set HF_TOKEN"):
            storage.size("hf://maker/other/x")
        with pytest.raises(StorageError, match=r"hf:// is for reading"):
            storage.write_file(tmp_path / "served/config.json", uri)
