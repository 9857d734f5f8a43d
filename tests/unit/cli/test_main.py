"""How commands end: exit codes, one sentence with a way out, and no traceback."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quickalign import __version__
from quickalign.cli import failures
from quickalign.core import errors
from tests.support import scripted_run

ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.QuickalignError)]


def test_version(cli):
    assert cli("--version") == (0, f"quickalign {__version__}\n", "")


def test_the_package_is_a_program(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["quickalign", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("quickalign", run_name="__main__")
    assert (ended.value.code, capsys.readouterr().out) == (0, f"quickalign {__version__}\n")


def test_help_lists_every_command_with_its_summary(cli):
    code, out, _ = cli("--help")
    assert code == 0
    for command in (
        "quickstart",
        "train",
        "plan",
        "generate",
        "deploy",
        "chat",
        "services token",
        "data check",
        "models list",
        "models show",
    ):
        assert f"\n  {command}" in out
    assert "130 stopped" in out


@pytest.mark.parametrize(
    ("arguments", "closed", "code"),
    [
        ("models list", ">&-", 0),
        ("models list --json", ">&- 2>&- <&-", 0),
        ("--help", ">&-", 0),
        ("models show nosuch", "2>&-", errors.ModelError.exit_code),
        ("models show nosuch --json", ">&- 2>&-", errors.ModelError.exit_code),
    ],
)
def test_a_stream_that_is_closed_is_no_fault(tmp_path, monkeypatch, arguments, closed, code):
    monkeypatch.setenv("QUICKALIGN_HOME", str(tmp_path / "home"))
    program = f'"{sys.executable}" -m quickalign {arguments} {closed}'
    done = subprocess.run(["sh", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "")
    assert not (tmp_path / "home").exists(), "no report of a crash is written"


@pytest.mark.parametrize("json_", [(), ("--json",)])
def test_output_that_finds_no_room_is_a_full_disk(tmp_path, monkeypatch, json_):
    monkeypatch.setenv("QUICKALIGN_HOME", str(tmp_path / "home"))
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "quickalign", "models", "list", *json_]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert "A disk is full: that of standard output" in done.stderr
    assert done.returncode == errors.FullDiskError.exit_code
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("arguments", [(), ("data",), ("models",)])
def test_no_command_shows_the_help_and_fails(cli, arguments):
    code, out, _ = cli(*arguments)
    assert code == 2
    assert "Usage: quickalign" in out


@pytest.mark.parametrize("kind", ERRORS)
def test_every_kind_of_error_is_a_sentence_with_its_remedy_and_exit_code(cli, failing, kind):
    failing(kind("The [b]lamp[/b] is off.", "Switch it on."))
    code, out, err = cli("train", "--local", "m", "d", "--output", "o")
    assert code == kind.exit_code
    assert "The [b]lamp[/b] is off." in err
    assert "→ Switch it on." in err
    assert "Traceback" not in out + err


def test_a_value_that_is_none_of_the_choices_is_told_without_the_words_of_a_library(cli):
    code, _, err = cli("train", "m", "d", "--packing", "maybe")
    assert code == 2
    assert "Invalid value for '--packing': 'maybe' is not one of 'auto', 'on', 'off'." in err


def test_long_errors_stay_one_line_where_nobody_watches(cli, failing):
    message = "word " * 60 + "end."
    failing(errors.DataError(message, "remedy " * 60))
    _, _, err = cli("train", "--local", "m", "d")
    assert message in err


def test_errors_as_json_go_to_standard_output(cli, failing):
    failing(errors.DataError("Row 3 is bad.", "Mend it."))
    code, out, err = cli("train", "--local", "m", "d", "--json")
    assert (code, err) == (3, "")
    assert json.loads(out)["error"] == {
        "kind": "DataError",
        "message": "Row 3 is bad.",
        "remedy": "Mend it.",
        "exit_code": 3,
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("train", "m", "d", "--lr", "1"), "--learning-rate"),
        (("train", "m", "d", "--lora_rank", "1"), "--lora-dim"),
        (("train", "m", "d", "--learning-rte", "1"), "--learning-rate"),
        (("plan", "m", "d", "--outptu", "1"), "--output"),
        (("generate", "m", "--max-tokens", "1"), "--max-new-tokens"),
        (("data", "check", "f", "--formt", "x"), "--data-format"),
    ],
)
def test_an_unknown_option_is_answered_with_the_nearest_of_its_command(cli, recorded, arguments, expected):
    code, _, err = cli(*arguments)
    assert code == 2
    assert "There is no option --" in err
    assert f"Did you mean {expected}?" in err
    assert not recorded


def test_a_command_is_not_offered_options_of_another(cli):
    _, _, err = cli("generate", "m", "--learning-rate", "1")
    assert "`quickalign generate --help` lists all options." in err


def test_missing_arguments_and_unknown_commands_say_where_help_is(cli):
    assert "`quickalign train --help`" in cli("train", "m")[2]
    code, _, err = cli("trian")
    assert code == 2
    assert "`quickalign --help`" in err


def test_an_unexpected_error_is_one_sentence_and_a_log_file(cli, failing, home):
    failing(ZeroDivisionError("division by zero"))
    code, out, err = cli("train", "--local", "m", "d")
    assert code == failures.InternalError.exit_code
    assert "ZeroDivisionError: division by zero" in err
    assert "Traceback" not in out + err
    (log,) = (home / "logs").iterdir()
    assert str(log) in err
    assert "Traceback (most recent call last)" in log.read_text()
    assert "/issues" in err


def test_an_unexpected_error_as_json_has_the_exit_code_of_the_process(cli, failing):
    failing(ZeroDivisionError("division by zero"))
    code, out, _ = cli("train", "--local", "m", "d", "--json")
    assert json.loads(out)["error"]["exit_code"] == code == failures.InternalError.exit_code


@pytest.mark.parametrize("error", [errors.DataError("Bad."), ZeroDivisionError()])
def test_debugging_shows_the_traceback(cli, failing, error, monkeypatch):
    monkeypatch.setenv("QUICKALIGN_DEBUG", "0")
    failing(error)
    with pytest.raises(type(error)):
        cli("--debug", "train", "--local", "m", "d")


def test_a_second_interrupt_exits_at_once(cli, failing):
    failing(KeyboardInterrupt())
    code, out, err = cli("train", "--local", "m", "d")
    assert code == 130
    assert "Traceback" not in out + err


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_no_command_line_makes_a_traceback(cli, recorded, arguments):
    code, out, err = cli(*arguments)
    assert code in {0, 2}
    assert "Traceback" not in out + err


def test_help_does_not_import_torch_or_transformers():
    program = (
        "import sys\n"
        "from quickalign.cli.main import main\n"
        "for arguments in (['--help'], ['train', '--help'], ['models', 'list'], ['train', 'm', 'd', '--lr', '1']):\n"
        "    main(arguments)\n"
        "heavy = {'torch', 'transformers', 'peft', 'bitsandbytes', 'numpy', 'pyarrow', 's3fs'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_plan_that_does_not_fit_is_shown_and_exits_with_6(cli, monkeypatch):
    report = scripted_run.data_report()
    other = report.model_copy(update={"warnings": ("They leak.",)})
    found = SimpleNamespace(plan=scripted_run.plan(available=10**9), report=report, validation_report=other)
    monkeypatch.setitem(sys.modules, "quickalign.train.ahead", SimpleNamespace(plan=lambda spec, workers: found))
    code, out, _ = cli("plan", "m", "d")
    assert code == errors.CapacityError.exit_code
    assert "This run does not fit" in out
    assert "They leak." in out
    code, out, _ = cli("plan", "m", "d", "--json")
    assert code == errors.CapacityError.exit_code
    assert json.loads(out)["plan"]["fits"] is False
    assert json.loads(out)["validation_report"]["warnings"] == ["They leak."]
    assert json.loads(out)["plan"]["suggestions"][0]["settings"] == {"lora_dim": 8, "load_in_4bit": True}
