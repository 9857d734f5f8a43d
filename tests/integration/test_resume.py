"""A run that was cut off anywhere ends with the same bytes as one that was not."""

import os
import random
import signal

import pytest

from quickalign.core.errors import Interrupted
from quickalign.train import saved as checkpoints
from quickalign.train.loop import Loop
from quickalign.train.manifest import weights_sha256
from tests.support.loops import Recorder, make_setup
from tests.support.runs import dpo, random_pairs, random_samples, small_model

TOTAL = 12


class Killed(BaseException):
    """What stands in for SIGKILL inside one process: nothing may catch it."""


class KillAt(Recorder):
    """Ends the process's work right after a step's metrics were written."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.at = step

    def step(self, metrics, total_steps):
        super().step(metrics, total_steps)
        if metrics.step == self.at:
            raise Killed


def options(**changes):
    return dpo(num_train_epochs=3, gradient_accumulation_steps=4, save_steps=2, eval_steps=5, **changes)


def setup_of(kind, folder):
    if kind == "full sft":
        parameters = options(training_strategy="sft", lora_dim=0, lora_alpha=32)
        return make_setup(small_model(), random_samples(16), parameters, folder)
    changes = {"dropout": {"lora_dropout": 0.1}, "8-bit states": {"optimizer": "adamw_8bit"}}.get(kind, {})
    return make_setup(small_model(), random_pairs(16), options(**changes), folder, validation=random_pairs(4, seed=9))


def last(folder):
    found = checkpoints.list_checkpoints(folder)[-1]
    assert found.step == TOTAL
    return weights_sha256(next(path for path in found.folder.iterdir() if path.is_dir()))


@pytest.mark.parametrize("kind", ["lora", "dropout", "8-bit states", "full sft"])
def test_killed_at_any_step_and_resumed_gives_the_same_bytes(tmp_path, kind):
    Loop(setup_of(kind, tmp_path / "whole"), Recorder()).run(None)
    expected = last(tmp_path / "whole")
    metrics = (tmp_path / "whole/metrics.jsonl").read_text().splitlines()
    for step in sorted(random.Random(kind).sample(range(1, TOTAL), 3)):
        folder = tmp_path / f"cut-{step}"
        with pytest.raises(Killed):
            Loop(setup_of(kind, folder), KillAt(step)).run(None)
        found = checkpoints.list_checkpoints(folder)
        start = found[-1] if found else None
        assert (start.step if start else 0) == (step - 1) // 2 * 2
        Loop(setup_of(kind, folder), Recorder()).run(start)
        assert last(folder) == expected
        assert len((folder / "metrics.jsonl").read_text().splitlines()) == len(metrics) == TOTAL


def test_a_signal_lets_the_step_finish_saves_and_says_how_to_go_on(tmp_path):
    class Interrupting(Recorder):
        def step(self, metrics, total_steps):
            super().step(metrics, total_steps)
            if metrics.step == 5:
                os.kill(os.getpid(), signal.SIGINT)

    recorder = Interrupting()
    with pytest.raises(Interrupted, match="goes on from there") as caught:
        Loop(setup_of("lora", tmp_path), recorder).run(None)
    done = recorder.steps[-1].step
    assert f"after step {done}" in str(caught.value)
    assert checkpoints.list_checkpoints(tmp_path)[-1].step == done
    assert caught.value.exit_code == 130
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    Loop(setup_of("lora", tmp_path), Recorder()).run(None)
    assert [found.step for found in checkpoints.list_checkpoints(tmp_path)] == [10, 12]
