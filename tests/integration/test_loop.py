"""The loop on small models: step 0, equal trajectories however the batch is cut, saving and stopping."""

import itertools
import math
from dataclasses import replace

import pytest

from quickalign.core.errors import RunError
from quickalign.train.losses import LOSSES
from quickalign.train.metrics import DisplacementAlarm
from tests.support.loops import make_setup, train
from tests.support.runs import dpo, random_pairs, random_samples, small_model


def test_step_0_is_ln_2_with_zero_rewards(tmp_path):
    recorder = train(make_setup(small_model(), random_pairs(8), dpo(), tmp_path))
    first = recorder.steps[0]
    assert first.loss == pytest.approx(math.log(2), abs=1e-7)
    assert (first.rewards_chosen, first.rewards_rejected, first.rewards_accuracy) == (0, 0, 0.5)


@pytest.mark.parametrize("loss_type", sorted(LOSSES))
def test_every_loss_trains(tmp_path, loss_type):
    parameters = dpo(loss_type=loss_type, num_train_epochs=10, gradient_accumulation_steps=4)
    recorder = train(make_setup(small_model(), random_pairs(8), parameters, tmp_path))
    assert recorder.steps[-1].loss < recorder.steps[0].loss
    assert recorder.steps[-1].rewards_margin > recorder.steps[0].rewards_margin


@pytest.mark.parametrize("strategy", ["dpo", "sft"])
def test_how_the_batch_is_cut_changes_nothing(tmp_path, strategy):
    rows = random_pairs(32) if strategy == "dpo" else random_samples(32)
    runs = []
    for batch, accumulation in ((8, 1), (1, 8), (3, 3), (4, 2)):
        if batch * accumulation != 8:
            continue
        options = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
        setup = make_setup(small_model(), rows, dpo(training_strategy=strategy, **options), tmp_path / str(batch))
        runs.append(train(setup).steps)
    for other in runs[1:]:
        for ours, theirs in zip(runs[0], other, strict=True):
            assert theirs.loss == pytest.approx(ours.loss, rel=1e-5)
            assert theirs.grad_norm == pytest.approx(ours.grad_norm, rel=1e-5)


def test_full_fine_tuning_for_sft(tmp_path):
    parameters = dpo(training_strategy="sft", lora_dim=0, lora_alpha=32, num_train_epochs=8)
    setup = make_setup(small_model(), random_samples(16), parameters, tmp_path)
    recorder = train(setup)
    assert recorder.steps[-1].loss < recorder.steps[0].loss
    assert list((tmp_path / "checkpoints").glob("step-*/model/model.safetensors"))


@pytest.mark.parametrize(("loss_type", "warned"), [("sigmoid", True), ("simpo", False), ("orpo", False)])
def test_chosen_answers_fall_below_a_reference_only_where_there_is_one(tmp_path, monkeypatch, loss_type, warned):
    monkeypatch.setattr(DisplacementAlarm, "update", lambda self, metrics: "less likely than under the reference")
    setup = make_setup(small_model(), random_pairs(8), dpo(loss_type=loss_type), tmp_path)
    assert bool(train(setup).warnings) is warned


@pytest.mark.parametrize(("broken_steps", "skipped"), [(3, 3), (100, None)])
def test_fp16_skips_steps_until_the_scale_is_right_and_stops_where_none_is(tmp_path, broken_steps, skipped):
    setup = make_setup(small_model(), random_pairs(8), dpo(num_train_epochs=40), tmp_path)
    setup = replace(setup, plan=replace(setup.plan, precision="fp16"))
    passes = itertools.count()
    first = next(iter(setup.policy.trainable.values()))
    first.register_hook(lambda gradient: gradient * (math.inf if next(passes) < 8 * broken_steps else 1.0))
    if skipped is None:
        with pytest.raises(RunError, match="gradient is not a finite number"):
            train(setup)
    else:
        warnings = train(setup).warnings
        assert sum("was skipped" in warning for warning in warnings) == skipped
