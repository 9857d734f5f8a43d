from pathlib import Path

import pytest

from quickalign.core.errors import OptionError
from quickalign.platform.config import Config, asset_path, load


def test_defaults_where_there_is_no_file(tmp_path):
    assert load(tmp_path) == Config()


def test_the_file_is_read(tmp_path):
    (tmp_path / "config.toml").write_text('port = 9000\nlocal_roots = ["/data"]\n[mirror]\n"s3://a/*" = "/b"\n')
    config = load(tmp_path)
    assert (config.port, config.local_roots, config.mirror) == (9000, (Path("/data"),), {"s3://a/*": "/b"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 1", "prot"),
        ("port = 99999", "port"),
        ("port = ", "cannot be read"),
        ("cpu_jobs = -1", "cpu_jobs"),
        ("trust_remote_code = true", "trust_remote_code cannot be true"),
    ],
)
def test_mistakes_are_named(tmp_path, text, said):
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(OptionError, match=said):
        load(tmp_path)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("example.org", False)],
)
def test_local_folders_are_open_only_to_this_machine(host, loopback):
    config = Config(host=host)
    assert config.is_loopback is loopback
    assert config.readable_roots == ((Path("/"),) if loopback else ())


def test_a_server_behind_a_proxy_is_not_only_for_this_machine():
    assert Config(public_url="https://example.org").readable_roots == ()


def test_the_sample_set_is_there():
    for target in Config().mirror.values():
        assert Path(asset_path(target)).is_file()
