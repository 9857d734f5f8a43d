"""The memory formulas, against the tensors that real layers keep and the bytes that real bases take."""

import json
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import Qwen2Config, Qwen2ForCausalLM

from quickalign.core import options
from quickalign.data.encode import EncodedPair
from quickalign.hub.cards import find_card
from quickalign.hub.shape import ModelShape, shape_of
from quickalign.train import memory
from quickalign.train.activations import head_bytes, kept_bytes
from quickalign.train.demand import Demand, Micro
from quickalign.train.memory import base_bytes, optimizer_bytes, predict
from quickalign.train.model import load_base, make_policy
from quickalign.train.optimizer import make_optimizer, state_tensors
from quickalign.train.scoring.choose import choose_scorer

VOCAB = 64
MIB = 1 << 20
HALF_BILLION = find_card("qwen2-0.5b-instruct").shape
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"load_in_4bit": False},
    "lora-two-layers": {"load_in_4bit": False, "target_modules": "q_proj,down_proj"},
    "dora": {"load_in_4bit": False, "use_dora": True},
    "qlora-4bit": {},
    "qlora-8bit": {"load_in_8bit": True},
    "full": {"lora_dim": 0},
}


def _demand(shape: ModelShape, changes: dict[str, Any], **settings: Any) -> Demand:
    parameters = options.parse({"training_strategy": "dpo", **changes})
    values: dict[str, Any] = {"precision": "bf16", "device_kind": "cpu", "micro": Micro(256, 100)}
    values |= {"packing": True, "checkpointing": False, **settings}
    return Demand(shape, parameters, **values)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A small Qwen2 whose layers are large beside its vocabulary."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCAB,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    path: Path = tmp_path_factory.mktemp("model")
    Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def shape(folder) -> ModelShape:
    return shape_of(json.loads((folder / "config.json").read_text()), "small")


def _policy(folder: Path, demand: Demand) -> Any:
    dtype = torch.float32 if demand.full or demand.precision == "fp32" else torch.bfloat16
    base = load_base(folder, dtype=dtype, quantization=demand.parameters.quantization)
    return make_policy(base, demand.parameters, precision=demand.precision, checkpointing=demand.checkpointing)


@pytest.mark.parametrize("method", METHODS)
def test_base_adapter_and_optimizer_are_counted_to_the_byte(folder, shape, method):
    demand = _demand(shape, METHODS[method])
    policy = _policy(folder, demand)
    # The 4-bit tables are counted to within the last, partly filled block.
    assert base_bytes(demand) == pytest.approx(policy.base_bytes, rel=2e-3)
    assert demand.trained_parameters == sum(p.numel() for p in policy.trainable.values())
    optimizer = make_optimizer(policy.trainable, demand.parameters)
    for parameter in policy.trainable.values():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    held = sum(t.numel() * t.element_size() for t in state_tensors(optimizer, policy.trainable).values() if t.ndim)
    assert optimizer_bytes(demand) == held


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("packing", [True, False], ids=["packed", "plain"])
@pytest.mark.parametrize("method", METHODS)
def test_activations_are_those_that_autograd_keeps(folder, shape, method, packing, precision):
    demand = _demand(shape, METHODS[method], packing=packing, precision=precision)
    policy = _policy(folder, demand)
    kept, micro = _kept_by_autograd(policy, packing=packing)
    demand = replace(demand, micro=_size(micro, packing=packing))
    assert kept_bytes(demand) == pytest.approx(kept, rel=0.05)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_checkpointing_keeps_the_inputs_of_layers_only(folder, shape, method):
    demand = _demand(shape, METHODS[method], checkpointing=True)
    policy = _policy(folder, demand)
    kept, micro = _kept_by_autograd(policy, packing=True)
    demand = replace(demand, micro=_size(micro, packing=True))
    mean_rows = 4 * demand.micro.scored * shape.hidden  # the head's, which are not tiny beside so little
    assert kept_bytes(demand) + mean_rows == pytest.approx(kept, rel=0.05)
    assert kept_bytes(demand) < kept_bytes(replace(demand, checkpointing=False)) / 4


def _size(micro: Any, *, packing: bool) -> Micro:
    ids = micro.inputs["input_ids"]
    return Micro(ids.numel(), len(micro.targets), 0 if packing else ids.shape[1])


def _kept_by_autograd(policy: Any, *, packing: bool) -> tuple[int, Any]:
    """Bytes of all storages that a forward pass saves, without the parameters and the (tiny) head."""
    device = torch.device("cpu")
    settings = {"rows_per_micro": 1, "longest_row": 512, "pad_id": 0, "device": device}
    scorer, reason = choose_scorer(policy.model, token_budget=512 if packing else 0, **settings)
    assert (reason is None) == packing
    ids = np.random.default_rng(0).integers(0, VOCAB, 1000).astype(np.int32)
    # Answers of unequal length, so that the plain path has padding and therefore a mask.
    micro = scorer.cut([EncodedPair(1, ids[:200], ids[200:300], ids[300:380])])[0]
    known = {t.untyped_storage().data_ptr() for t in [*policy.model.parameters(), *policy.model.buffers()]}
    alive: weakref.WeakSet[_Kept] = weakref.WeakSet()

    def pack(tensor: torch.Tensor) -> _Kept:
        alive.add(kept := _Kept(tensor))
        return kept

    enabled = policy.autocast is not None
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):  # noqa: SIM117
        with torch.autocast("cpu", dtype=policy.autocast or torch.bfloat16, enabled=enabled):
            _scores = scorer.logps(policy.model, micro)
    storages = [kept.tensor.untyped_storage() for kept in alive]
    sizes = {storage.data_ptr(): storage.nbytes() for storage in storages if storage.data_ptr() not in known}
    return sum(sizes.values()), micro


class _Kept:
    """Held by the graph as long as the graph needs the tensor."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


def test_the_4_bit_base_of_half_a_billion_parameters_is_under_0_46_gb():
    assert base_bytes(_demand(HALF_BILLION, {})) < 0.46e9


def test_plain_logits_grow_with_the_vocabulary_and_packed_ones_do_not():
    def head(vocab: int, *, packing: bool) -> int:
        demand = _demand(replace(HALF_BILLION, vocab=vocab), METHODS["lora"], packing=packing)
        return head_bytes(demand)

    assert head(300_000, packing=False) > 1.9 * head(150_000, packing=False)
    assert head(300_000, packing=True) == head(150_000, packing=True)


@given(st.integers(1, 4000), st.integers(1, 4000), st.sampled_from(list(METHODS)), st.booleans(), st.booleans())
def test_more_positions_never_need_less(one, other, method, packing, checkpointing):
    small, large = sorted([one, other])

    def need(positions: int) -> int:
        micro = Micro(positions, positions // 2)
        settings = {"micro": micro, "packing": packing, "checkpointing": checkpointing}
        return sum(predict(_demand(HALF_BILLION, METHODS[method], **settings)).values())

    assert need(small) <= need(large)


def test_each_way_to_save_memory_saves_memory():
    def need(method: str, **settings: Any) -> int:
        settings |= {"micro": Micro(2048, 800), "device_kind": "cuda"}
        return sum(predict(_demand(HALF_BILLION, METHODS[method], **settings)).values())

    assert need("qlora-4bit") < need("qlora-8bit") < need("lora") < need("full")
    assert need("lora", checkpointing=True) < need("lora")
    assert need("lora") < need("lora", packing=False)
    assert need("lora", precision="bf16") < need("lora", precision="fp32")


@pytest.mark.parametrize("method", ["lora", "full"])
def test_pieces_of_the_layers_are_counted(method):
    whole = _demand(HALF_BILLION, METHODS[method], device_kind="cuda")
    cut = replace(whole, pieces=4)
    parts, resident = predict(whole), memory._resident(cut)
    layers = (4 if whole.full else 2) * HALF_BILLION.linear_parameters
    assert resident["base weights"] == pytest.approx(base_bytes(whole) - 0.75 * layers, abs=4)
    assert resident["optimizer"] < (0.6 if whole.full else 0.26) * optimizer_bytes(whole)
    assert memory._put_together(whole) == 0
    assert memory._put_together(cut) > 0
    if method == "full":
        assert sum(predict(cut).values()) < 0.7 * sum(parts.values())
    at_the_end = memory._whole_again(cut)
    assert at_the_end["the whole model"] > base_bytes(whole)
