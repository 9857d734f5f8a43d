import errno
import json
import logging
import os
import stat
import subprocess
import sys

import pytest

from quickalign.api import logs, server
from quickalign.api.__main__ import main
from quickalign.core.errors import OptionError, UnavailableError
from quickalign.platform import Config


def test_other_machines_need_encryption_or_a_choice():
    for host in ("0.0.0.0", "::", "192.168.1.5", "example.org"):
        with pytest.raises(OptionError) as caught:
            server.check_exposure(Config(host=host), insecure_http=False)
        assert "--insecure-http" in caught.value.remedy
        server.check_exposure(Config(host=host), insecure_http=True)
        server.check_exposure(Config(host=host, tls_certificate="c.pem", tls_key="k.pem"), insecure_http=False)
    for host in ("127.0.0.1", "::1", "localhost"):
        server.check_exposure(Config(host=host), insecure_http=False)
    with pytest.raises(OptionError, match="tls_key"):
        server.check_exposure(Config(tls_certificate="c.pem"), insecure_http=False)


def test_the_first_token_is_kept_for_its_owner_only(platform, tmp_path):
    file = tmp_path / "token"
    token, fresh = server.first_token(platform, file)
    assert fresh
    assert platform.tokens.verify(token)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert server.first_token(platform, file) == (token, False)
    file.write_text("qa-wrong")
    other, fresh = server.first_token(platform, file)
    assert fresh
    assert platform.tokens.verify(other)


@pytest.mark.parametrize(
    ("variable", "option", "used"),
    [
        ("postgresql://ann:hidden@host/db", (), "postgresql://ann:hidden@host/db"),
        ("postgresql://ann:hidden@host/db", ("--database-url", "postgresql://host/other"), "postgresql://host/other"),
        ("", (), None),
    ],
)
def test_the_environment_names_the_database_and_no_program_of_the_server_sees_it(
    tmp_path, monkeypatch, variable, option, used
):
    found = []
    monkeypatch.setattr(server, "run", lambda home, config, **options: found.append(options["database_url"]))
    monkeypatch.setenv("QUICKALIGN_DATABASE_URL", variable)
    assert main(["--home", str(tmp_path), *option]) == 0
    assert found == [used]
    assert "QUICKALIGN_DATABASE_URL" not in os.environ


def test_a_full_disk_ends_a_server_with_a_sentence(tmp_path, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(server, "run", full)
    assert main(["--home", str(tmp_path)]) == 74
    assert "error: A disk is full" in capsys.readouterr().err


def test_a_taken_port_is_a_sentence():
    with server.bind(Config(port=0)) as first:
        port = first.getsockname()[1]
        assert server.endpoint_of(Config(), first) == f"http://127.0.0.1:{port}"
        with pytest.raises(UnavailableError, match=str(port)):
            server.bind(Config(port=port))


def test_log_lines_are_json():
    identity = logs.begin_request("abc")
    record = logging.LogRecord("x", logging.INFO, "f", 1, "said %s", ("it",), None)
    record.fields = {"status": 200}
    line = json.loads(logs.JsonLines().format(record))
    assert (line["message"], line["request_id"], line["status"]) == ("said it", identity, 200)
    for offered in ("a b", "x" * 65, "\n", None, ""):
        assert logs.begin_request(offered).startswith("req-")


def test_figures(client):
    client.get("/api/v1/jobs")
    text = client.get("/metrics").text
    assert 'quickalign_http_requests_total{method="GET",route="/api/v1/jobs",status="200"} 1.0' in text
    assert 'quickalign_jobs{state="queued"} 0.0' in text
    assert 'quickalign_services{state="running"} 0.0' in text


def test_the_server_loads_no_training_library():
    """It starts training and serving as programs; loading PyTorch would cost it seconds and hundreds of megabytes."""
    program = "import sys, quickalign.api.app, quickalign.console; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
