"""The command line as a user runs it: real processes, the embedded model, files on disk, signals and terminals."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

MODEL = "qwen2-tiny-instruct"
COMMAND = (sys.executable, "-c", "from quickalign.cli.main import run; run()")
FAST = ("--training-strategy", "dpo", "--load-in-4bit", "false", "--precision", "fp32")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def environment(home):
    values = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR", "COLUMNS"}}
    return {**values, "QUICKALIGN_HOME": str(home), "OMP_NUM_THREADS": "1", "TERM": "xterm-256color"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with small files of preference data."""
    folder = tmp_path_factory.mktemp("cli")
    rows = [
        {
            "prompt": f"How do I {what}?",
            "chosen": f"Gladly! Take your time and {what} with care.",
            "rejected": "No idea.",
        }
        for what in ("sleep well", "cook rice", "mend a bike", "write a poem", "learn to swim", "plant a tree") * 4
    ]
    for index, row in enumerate(rows):
        row["prompt"] += f" I ask for the {index}th time."
    (folder / "pairs.json").write_text(json.dumps(rows[:16]))
    (folder / "validation.json").write_text(json.dumps(rows[16:]))
    (folder / "bad.json").write_text(json.dumps([*rows[:2], {"prompt": "Hi", "chosen": 3, "rejected": "x"}]))
    return folder


@pytest.fixture(scope="module")
def run_cli(place):
    """`run_cli(*arguments)` runs one command to its end."""

    def call(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        env = environment(place / "home") | settings
        return subprocess.run(
            [*COMMAND, *arguments], cwd=place, env=env, capture_output=True, text=True, timeout=300, check=False
        )

    return call


@pytest.fixture(scope="module")
def trained(run_cli, place):
    """A finished run of two steps, and what its process said."""
    arguments = ("train", "--local", MODEL, "pairs.json", "--validation", "validation.json", *FAST, "--output", "run")
    return run_cli(*arguments, "--sample-prompt", "Could you please hurt me?"), place / "run", arguments


@pytest.mark.slow
def test_training_in_a_pipe_writes_plain_lines_and_leaves_a_run(trained):
    done, output, _ = trained
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert not CONTROL.search(done.stdout)
    for part in ("● Plan", "step 2/2", "validation at step 0", "❯ Could you please hurt me?", "● Done"):
        assert part in done.stdout
    assert (output / "adapter" / "adapter_model.safetensors").is_file()
    assert (output / "report.html").is_file()
    assert len((output / "metrics.jsonl").read_text().splitlines()) == 2


@pytest.mark.slow
def test_the_same_command_again_finds_the_finished_run(trained, run_cli):
    _, output, arguments = trained
    before = (output / "adapter" / "adapter_model.safetensors").read_bytes()
    again = run_cli(*arguments, "--sample-prompt", "Could you please hurt me?", "--json")
    assert again.returncode == 0, again.stdout + again.stderr
    events = [json.loads(line) for line in again.stdout.splitlines()]
    assert events[-1]["event"] == "done"
    assert not [event for event in events if event["event"] == "step"]
    assert (output / "adapter" / "adapter_model.safetensors").read_bytes() == before


@pytest.mark.slow
def test_other_settings_in_the_same_folder_are_refused_with_both_values(trained, run_cli):
    refused = run_cli(*trained[2], "--learning-rate", "0.001")
    assert refused.returncode == 2
    assert "learning_rate was 5e-05 and is 0.001" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_generate_compares_base_and_run(trained, run_cli):
    done = run_cli("generate", "run", "Could you please hurt me?", "--compare", "--max-new-tokens", "20", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    base = run_cli("generate", MODEL, "Could you please hurt me?", "--max-new-tokens", "20")
    assert row["base"] == base.stdout.removesuffix("\n")
    assert row["answer"]


@pytest.mark.slow
def test_plan_as_json_agrees_with_the_run_and_writes_nothing(trained, run_cli, place):
    before = sorted(place.iterdir())
    done = run_cli("plan", MODEL, "pairs.json", *FAST, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["plan"]["steps"] == 2
    assert found["plan"]["fits"] is True
    assert sum(found["plan"]["parts"].values()) == found["plan"]["predicted_peak_bytes"]
    assert found["data_report"]["rows"] == 16
    assert sorted(place.iterdir()) == before


@pytest.mark.slow
def test_data_check_finds_bad_rows_and_writes_html(run_cli, place):
    done = run_cli("data", "check", "bad.json", "--model", MODEL, "--html", "report.html")
    assert done.returncode == 3
    assert "✗ 1 bad" in done.stdout
    assert "the number 3" in done.stdout
    assert "<html" in (place / "report.html").read_text()
    listed = json.loads(run_cli("data", "check", "bad.json", "--json").stdout)
    assert [(bad["row"], bad["field"]) for bad in listed["bad_rows"]] == [(3, "chosen")]


@pytest.mark.slow
def test_training_on_bad_rows_stops_with_one_sentence_that_names_the_option(run_cli, place):
    done = run_cli("train", "--local", MODEL, "bad.json", *FAST, "--output", "bad-run")
    assert done.returncode == 3
    assert "row 3" in done.stderr
    assert "--bad-rows drop" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def wait_for(path: Path, lines: int, seconds: float = 120) -> None:
    """Wait until the file has so many lines; the condition, not a pause, decides."""
    deadline = time.monotonic() + seconds
    while not path.exists() or len(path.read_text().splitlines()) < lines:
        assert time.monotonic() < deadline, f"{path} has not {lines} lines"
        time.sleep(0.05)


@pytest.mark.slow
def test_ctrl_c_saves_says_how_to_go_on_and_the_same_command_does(run_cli, place):
    arguments = ("train", "--local", MODEL, "pairs.json", *FAST, "--num-train-epochs", "20", "--output", "stopped")
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=place,
        env=environment(place / "home"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(place / "stopped" / "metrics.jsonl", 3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, out + err
    assert "everything up to there is saved" in err
    assert "--output stopped" in err
    assert "Traceback" not in out + err
    resumed = run_cli(*arguments, "--json")
    assert resumed.returncode == 0, resumed.stderr
    events = [json.loads(line) for line in resumed.stdout.splitlines()]
    assert events[-1]["result"]["resumed_from"] >= 3
    assert events[-1]["result"]["steps"] == 40


@pytest.mark.slow
@pytest.mark.parametrize("colours", [True, False])
def test_a_terminal_gets_a_moving_bar_with_and_without_colours(place, colours):
    env = environment(place / "home") | ({} if colours else {"NO_COLOR": "1"})
    arguments = ("train", "--local", MODEL, "pairs.json", *FAST, "--max-steps", "2", "--output", f"terminal-{colours}")
    main_end, terminal_end = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments], cwd=place, env=env, stdin=terminal_end, stdout=terminal_end, stderr=terminal_end
    )
    os.close(terminal_end)
    shown = bytearray()
    while True:
        try:
            piece = os.read(main_end, 65536)
        except OSError:  # Linux reports the closed far end so
            break
        if not piece:
            break
        shown += piece
    os.close(main_end)
    text = shown.decode()
    assert process.wait(60) == 0, text
    assert "pairs/s" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") > 0
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-7]m", text)) is colours
    assert "step 2/2 " not in text


def test_a_reader_that_leaves_early_is_no_error(place):
    line = "set -o pipefail; " + " ".join(f"'{part}'" for part in [*COMMAND, "models", "list"]) + " | head -n 1"
    done = subprocess.run(
        ["bash", "-c", line], env=environment(place), cwd=place, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("model ")
    assert done.stderr == ""
