"""Plans: what is chosen and why, what is refused, and that the suggested settings would really fit."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quickalign.core import options
from quickalign.core.errors import CapacityError, OptionError
from quickalign.core.spec import RunSpec
from quickalign.hub.cards import find_card
from quickalign.train import candidates
from quickalign.train.device import Device
from quickalign.train.plan import Plan, ensure_fits, make_plan, with_speed
from quickalign.train.work import clip_lengths

GB = 10**9
CPU = Device("cpu", 0, "a CPU", 64 * GB, 60 * GB, bf16=True, cores=8)
T4 = Device("cuda", 0, "Tesla T4", 16 * GB, int(15.6 * GB), bf16=False, cores=8, no_triton="Triton supports others")
H100 = Device("cuda", 0, "H100", 80 * GB, 79 * GB, bf16=True, cores=8)
SMALL, LARGE = "qwen2-0.5b-instruct", "qwen2-7b-instruct"


def _lengths(seq_length: int = 128, rows: int = 1000) -> np.ndarray:
    """Pairs with answers of up to a quarter of `seq_length`; the longest fill it."""
    source = np.random.default_rng(0)
    answers = source.integers(4, seq_length // 4, (rows, 2))
    prompts = source.integers(8, seq_length // 2, rows)
    lengths = np.column_stack([prompts, answers])
    lengths[0] = (seq_length - 20, 20, 15)
    return lengths


def _plan(
    model: str = SMALL, device: Device = CPU, lengths: np.ndarray | None = None, world_size: int = 1, **changes: Any
) -> Plan:
    spec = _spec(model, **changes)
    return make_plan(
        spec, find_card(model).shape, _lengths() if lengths is None else lengths, device, world_size=world_size
    )


def _spec(model: str, output: str = ".", **changes: Any) -> RunSpec:
    parameters = options.parse({"training_strategy": "dpo", **changes})
    return RunSpec(model=model, train="data.json", output=Path(output), hyperparameters=parameters)


def _decision(plan: Plan, name: str) -> str | None:
    return next((decision.value for decision in plan.decisions if decision.name == name), None)


def test_a_plan_adds_up_and_is_json():
    plan = _plan()
    assert plan.fits
    assert sum(plan.parts.values()) == plan.predicted_peak_bytes
    assert plan.method == "qlora-4bit"
    assert (plan.rows, plan.rows_per_step, plan.steps) == (1000, 8, 125)
    assert plan.seconds is None
    assert plan.suggestions == ()
    values = json.loads(json.dumps(plan.to_json()))
    assert values["fits"] is True
    assert values["parts"] == plan.parts


def test_packing_computes_fewer_tokens_than_padding():
    packed, padded = _plan(), _plan(packing="off")
    assert packed.packing
    assert not padded.packing
    assert padded.token_budget == 0
    assert packed.tokens_per_epoch == padded.tokens_per_epoch
    assert packed.computed_tokens_per_epoch < packed.tokens_per_epoch < padded.computed_tokens_per_epoch


@pytest.mark.parametrize(
    ("device", "precision"), [(CPU, "bf16"), (replace(CPU, bf16=False), "fp32"), (T4, "fp16"), (H100, "bf16")]
)
def test_precision_is_chosen_for_the_device_and_said(device, precision):
    plan = _plan(device=device)
    assert plan.precision == precision
    assert _decision(plan, "precision") == precision
    assert _decision(_plan(device=device, precision="fp32"), "precision") is None


def test_every_decision_has_a_reason_and_none_is_made_for_what_was_set_by_hand():
    by_hand = {"packing": "on", "token_budget": 300, "gradient_checkpointing": "off", "reference": "live"}
    assert _plan(precision="fp32", **by_hand).decisions == ()
    automatic = _plan()
    names = {decision.name for decision in automatic.decisions}
    assert names == {"precision", "packing", "token_budget", "gradient_checkpointing", "reference"}
    assert all(len(decision.reason) > 10 for decision in automatic.decisions)


def test_checkpointing_only_where_the_plan_does_not_fit_without():
    lengths = _lengths(4096)
    roomy = _plan(LARGE, device=H100, lengths=lengths, packing="off", seq_length=4096)
    assert not roomy.gradient_checkpointing
    tight_device = replace(H100, available_bytes=int(0.6 * roomy.predicted_peak_bytes))
    tight = _plan(LARGE, device=tight_device, lengths=lengths, packing="off", seq_length=4096)
    assert tight.gradient_checkpointing
    assert tight.fits
    assert _decision(tight, "gradient_checkpointing") == "on"


def test_the_token_budget_of_a_gpu_shrinks_with_its_memory_before_activations_are_recomputed():
    lengths = _lengths(512, rows=4000)
    settings = {"lengths": lengths, "seq_length": 512, "gradient_accumulation_steps": 128, "cuda_graphs": "off"}
    large = _plan(SMALL, device=H100, **settings)
    small = _plan(SMALL, device=replace(H100, available_bytes=large.predicted_peak_bytes // 2), **settings)
    assert large.token_budget == 16384 > small.token_budget > 0
    assert large.fits
    assert small.fits
    assert not large.gradient_checkpointing
    assert not small.gradient_checkpointing
    # A large model keeps a GPU busy with fewer tokens, so more would only take memory.
    assert _plan(LARGE, device=H100, **settings).token_budget == 4096
    assert _plan(LARGE, device=T4, **settings).gradient_checkpointing


def test_passes_become_cuda_graphs_where_that_is_possible_and_then_fewer_tokens_keep_a_gpu_busy():
    lengths = _lengths(512, rows=4000)
    plan = _plan(SMALL, device=H100, lengths=lengths, seq_length=512, gradient_accumulation_steps=128)
    assert plan.cuda_graphs
    assert _decision(plan, "cuda_graphs") == "on"
    assert plan.token_budget == 4096
    assert not _plan(device=CPU).cuda_graphs


@pytest.mark.parametrize(
    ("settings", "device", "reason"),
    [
        ({}, CPU, "is no CUDA device"),
        ({"packing": "off"}, H100, "padded rows"),
        ({"lora_dim": 0, "load_in_4bit": False}, H100, "trains all weights"),
        ({"lora_dropout": 0.1}, H100, "random numbers"),
        ({"load_in_8bit": True, "load_in_4bit": False}, H100, "depends on the activations"),
    ],
)
def test_cuda_graphs_asked_for_where_they_are_impossible_are_refused_by_name(settings, device, reason):
    assert not _plan(device=device, **settings).cuda_graphs
    with pytest.raises(OptionError, match=rf"cuda_graphs='on' is not possible: .*{reason}"):
        _plan(device=device, cuda_graphs="on", **settings)


def test_paged_states_need_a_gpu():
    assert _plan(device=T4, optimizer="paged_adamw_8bit").fits
    with pytest.raises(OptionError, match=r"paged_adamw_8bit.*a CPU is none"):
        _plan(optimizer="paged_adamw_8bit")


def test_a_cpu_takes_at_least_384_tokens_at_once_and_more_of_long_rows():
    short, long, longer = _lengths(64), _lengths(512), _lengths(2048)
    assert _plan(lengths=short).token_budget == 384
    plan = _plan(lengths=long, seq_length=512)
    assert plan.token_budget == 1024
    assert "rows are long" in next(d.reason for d in plan.decisions if d.name == "token_budget")
    assert _plan(lengths=long, seq_length=512, token_budget=300).token_budget == 300
    assert _plan(lengths=longer, seq_length=2048).token_budget == _longest(longer) > 1024


def test_a_cpu_takes_no_more_than_its_longest_row_in_fp32_or_with_little_memory(monkeypatch):
    monkeypatch.setattr(candidates, "can_reorder", lambda: False)
    lengths = _lengths(512)
    small = {"lengths": lengths, "seq_length": 512, "lora_dim": 32, "load_in_4bit": False}
    assert _plan(precision="fp32", **small).token_budget == _longest(lengths) > 384
    needs = [_plan(token_budget=budget, **small).predicted_peak_bytes for budget in (_longest(lengths), 1024)]
    tight = _plan(device=replace(CPU, available_bytes=int(1.12 * sum(needs) / 2)), **small)
    assert (tight.token_budget, tight.fits) == (_longest(lengths), True)
    assert _decision(tight, "gradient_checkpointing") == "off"


def _longest(lengths: np.ndarray) -> int:
    return int(lengths.sum(axis=1).max()) - 2


def test_what_all_prompts_begin_with_is_counted_once_a_micro_batch():
    spec, shape = _spec(SMALL, token_budget=1000), find_card(SMALL).shape
    lengths = _lengths() + np.array([50, 0, 0])
    apart, shared = (make_plan(spec, shape, lengths, CPU, beginning=beginning) for beginning in (0, 50))
    assert shared.tokens_per_epoch == apart.tokens_per_epoch
    assert shared.micro_batches_per_step < apart.micro_batches_per_step
    saved = 50 * (1000 - shared.micro_batches_per_step * shared.steps)
    assert shared.computed_tokens_per_epoch == pytest.approx(apart.computed_tokens_per_epoch - saved, abs=50)


def test_a_gpu_without_flex_attention_takes_fewer_tokens_and_pays_for_a_mask():
    lengths = _lengths(512, rows=4000)
    settings = {"lengths": lengths, "seq_length": 512, "gradient_accumulation_steps": 128}
    plan = _plan(SMALL, device=T4, **settings)
    assert (plan.token_budget, plan.gradient_checkpointing, plan.cuda_graphs) == (2048, False, True)
    assert plan.decisions[0].name == "compiled kernels"
    assert plan.decisions[0].reason.startswith("Triton supports others; so ")
    by_hand = [
        _plan(SMALL, device=device, token_budget=8192, gradient_checkpointing="on", **settings)
        for device in (T4, replace(T4, no_triton=None))
    ]
    mask = 2 * 8192**2
    assert by_hand[0].parts["activations"] - by_hand[1].parts["activations"] == pytest.approx(mask, rel=0.05)


def test_a_gpu_that_pytorch_cannot_use_is_named_with_the_reason():
    old = replace(CPU, passed_over="The NVIDIA driver on your system is too old (found version 12020)")
    decision = _plan(device=old).decisions[0]
    assert (decision.name, decision.value) == ("device", "cpu")
    assert "driver on your system is too old (found version 12020)" in decision.reason
    assert "CUDA 12.6" in decision.reason


def test_the_mission_trains_7b_in_4_bits_on_a_16_gb_gpu():
    plan = _plan(LARGE, device=T4)
    assert plan.fits
    assert 5 * GB < plan.predicted_peak_bytes < 15 * GB


@pytest.mark.parametrize(
    ("changes", "reference"),
    [
        ({}, "cached"),
        ({"reference": "live"}, "live"),
        ({"lora_dim": 0}, "cached"),
        ({"loss_type": "simpo"}, "none"),
    ],
)
def test_reference(changes, reference):
    assert _plan(**changes).reference == reference


def test_a_live_reference_of_full_fine_tuning_is_refused():
    with pytest.raises(OptionError, match="reference='live'"):
        _plan(lora_dim=0, reference="live")


def test_models_with_other_attention_are_padded_and_packing_by_hand_is_refused():
    shape = replace(find_card(SMALL).shape, attention=("full", "sliding") * 12)
    plan = make_plan(_spec(SMALL), shape, _lengths(), CPU)
    assert not plan.packing
    assert "sliding" in next(d.reason for d in plan.decisions if d.name == "packing")
    with pytest.raises(OptionError, match="packing='on'"):
        make_plan(_spec(SMALL, packing="on"), shape, _lengths(), CPU)
    with pytest.raises(OptionError, match=r"token_budget=512 has no effect on padded rows.*sliding"):
        make_plan(_spec(SMALL, token_budget=512), shape, _lengths(), CPU)


@pytest.mark.parametrize(
    ("model", "gigabytes", "changes"),
    [
        (LARGE, 24, {"lora_dim": 0}),
        (LARGE, 12, {"load_in_4bit": False}),
        (LARGE, 9, {"load_in_8bit": True}),
        (SMALL, 4, {"packing": "off", "per_device_train_batch_size": 32, "gradient_checkpointing": "off"}),
        (SMALL, 3, {"token_budget": 16384, "gradient_accumulation_steps": 512, "gradient_checkpointing": "off"}),
    ],
)
def test_what_does_not_fit_is_refused_with_settings_that_do(model, gigabytes, changes):
    device = replace(H100, available_bytes=gigabytes * GB)
    plan = _plan(model, device=device, **changes)
    assert not plan.fits
    assert plan.suggestions
    with pytest.raises(CapacityError, match="needs about") as caught:
        ensure_fits(plan)
    for suggestion in plan.suggestions:
        asked = {**changes, **suggestion.settings}
        better = asked.pop("model", model)
        lengths = clip_lengths(_lengths(), asked.get("seq_length", 128))
        again = _plan(better, device=device, lengths=lengths, **_alone(asked))
        assert again.fits
        assert again.predicted_peak_bytes == suggestion.predicted_peak_bytes
        assert all(name in str(caught.value) for name in suggestion.settings)


def _alone(changes: dict[str, Any]) -> dict[str, Any]:
    """As a user would pass them: 8 bits off is not named together with 4 bits on."""
    return {name: value for name, value in changes.items() if (name, value) != ("load_in_8bit", False)}


def test_suggestions_are_tried_together_where_none_suffices_alone():
    device = replace(H100, available_bytes=int(7.5 * GB))
    changes = {"packing": "off", "per_device_train_batch_size": 16, "load_in_4bit": False}
    plan = _plan("mistral-7b-instruct-v0.3", device=device, gradient_checkpointing="off", **changes)
    assert len(plan.suggestions) == 1
    assert len(plan.suggestions[0].settings) > 2
    assert plan.suggestions[0].predicted_peak_bytes <= device.available_bytes


def test_what_can_never_fit_says_so():
    plan = _plan("mistral-7b-instruct-v0.3", device=replace(H100, available_bytes=GB))
    with pytest.raises(CapacityError, match="smaller model"):
        ensure_fits(plan)


def test_a_full_disk_is_refused_before_any_step():
    plan = replace(_plan(), disk_free_bytes=10)
    assert not plan.fits
    with pytest.raises(CapacityError, match="save_total_limit"):
        ensure_fits(plan)


def test_disk_counts_checkpoints_with_their_optimizer_state():
    trained = 17_596_416  # rank 32 on all linear layers of Qwen2-0.5B
    plan = _plan(save_steps=10)
    assert plan.disk_bytes == pytest.approx(3 * trained * 12 + trained * 4, rel=0.15)
    assert _plan(save_steps=10, save_total_limit=1).disk_bytes < plan.disk_bytes


def test_an_output_that_does_not_exist_yet_has_the_room_of_its_parent(tmp_path):
    spec = _spec(SMALL, output=str(tmp_path / "not" / "there"))
    assert make_plan(spec, find_card(SMALL).shape, _lengths(), CPU).disk_free_bytes > 0


def test_two_processes_share_the_steps():
    one, two = _plan(), _plan(world_size=2)
    assert two.rows_per_step == 2 * one.rows_per_step
    assert two.steps == pytest.approx(one.steps / 2, abs=1)


def test_measured_steps_give_the_time_left():
    plan = _plan()
    assert with_speed(plan, seconds_per_step=2.0, steps_done=5).seconds == 240.0
    assert with_speed(plan, seconds_per_step=2.0, steps_done=125).seconds == 0.0


def test_supervised_rows_are_planned_too():
    lengths = _lengths()[:, :2]
    plan = make_plan(_sft(), find_card(SMALL).shape, lengths, CPU)
    assert plan.reference == "none"
    assert plan.fits


def _sft() -> RunSpec:
    return RunSpec(model=SMALL, train="data.json", output=Path(), hyperparameters=options.parse({}))


@pytest.mark.parametrize(
    ("changes", "settings", "expected"),
    [
        ({}, {}, True),
        ({"seq_length": 128}, {}, False),
        ({"precision": "fp32"}, {}, False),
        ({"load_in_4bit": True}, {}, False),
        ({"lora_dim": 0}, {}, False),
        ({"use_dora": True}, {}, False),
        ({"gradient_checkpointing": "on"}, {}, False),
        ({}, {"world_size": 2}, False),
        ({}, {"device": H100}, False),
        ({}, {"device": replace(CPU, available_bytes=int(3.2 * GB))}, False),
    ],
)
def test_matrices_are_reordered_on_a_cpu_where_rows_are_long_and_memory_suffices(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], settings: dict[str, Any], expected: bool
) -> None:
    monkeypatch.setattr(candidates, "can_reorder", lambda: True)
    options = {"load_in_4bit": False, "seq_length": 512} | changes
    found = _plan(lengths=_lengths(options["seq_length"]), **settings, **options)
    assert found.reordered_weights is expected
    monkeypatch.setattr(candidates, "can_reorder", lambda: False)
    without = _plan(lengths=_lengths(options["seq_length"]), **settings, **options)
    assert not without.reordered_weights
    shape = find_card(SMALL).shape
    more = 2 * shape.layers * 3 * shape.hidden * shape.intermediate if expected else 0
    assert found.predicted_peak_bytes - without.predicted_peak_bytes == more
