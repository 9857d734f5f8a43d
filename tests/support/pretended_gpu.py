"""A training step on a CUDA device that is not there: tensors without numbers, checked for where they are.

Run as a program, in a process that `pretended_cuda.cpp` was preloaded into; prints what the step did as JSON.
"""

import json
import sys
import traceback
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import Qwen2Config, Qwen2ForCausalLM

from quickalign.core.hyperparameters import Hyperparameters
from quickalign.data.encode import EncodedPair
from quickalign.train import gpus
from quickalign.train.model import make_policy
from quickalign.train.objective import Objective
from quickalign.train.optimizer import make_optimizer
from quickalign.train.scoring.attention import use_packed_attention
from quickalign.train.scoring.base import Scorer
from quickalign.train.scoring.graphs import GraphScorer
from quickalign.train.scoring.last_layer import ScoredPlaces
from quickalign.train.scoring.packed import PackedScorer
from quickalign.train.scoring.plain import PlainScorer
from quickalign.train.scoring.reference import LiveReference
from quickalign.train.stepper import Stepper
from quickalign.train.weights import WholeWeights
from tests.support.small_models import SMALL

GPU = torch.device("cuda", 0)
_KERNELS_THAT_DRAW = ("uniform_", "normal_")


class Waits(TorchDispatchMode):
    """Which functions of quickalign's waited for a number from the device; each gets a 1."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().split("::")[1]
        if name == "_local_scalar_dense":
            own = [frame for frame in traceback.extract_stack() if "/quickalign/" in frame.filename]
            self.places.append(own[-1].name)
            return 1.0
        if name == "allclose":  # what is switched for its speed gives the same as before
            return True
        return args[0] if name in _KERNELS_THAT_DRAW else func(*args, **(kwargs or {}))


def place(module: nn.Module, move: Any, recurse: bool = True) -> nn.Module:
    """`nn.Module._apply` for fake tensors, which cannot take each other's place."""
    for child in module.children():
        place(child, move)
    for name, weight in module._parameters.items():
        if weight is not None:
            module._parameters[name] = nn.Parameter(move(weight.detach()), weight.requires_grad)
    for name, buffer in module._buffers.items():
        module._buffers[name] = None if buffer is None else move(buffer)
    return module


def pairs() -> list[EncodedPair]:
    """Nine, of several lengths."""
    random = np.random.default_rng(0)
    sizes = random.integers(4, 40, (9, 3))
    return [
        EncodedPair(row, *(random.integers(1, 90, size).astype(np.int32) for size in sizes[row])) for row in range(9)
    ]


def make_scorer(kind: str, model: nn.Module) -> Scorer:
    """The padded one, or a packed one, which is replayed where `kind` says so."""
    if kind == "plain":
        return PlainScorer(pad_id=0, rows_per_micro=2, device=GPU)
    base: Any = model.get_base_model()  # type: ignore[operator]
    use_packed_attention(base)
    ScoredPlaces(base)
    packed = PackedScorer(token_budget=256, device=GPU)
    return GraphScorer(packed, model, _again) if kind == "replayed" else packed


def _again(work: Any) -> Any:
    work()
    return work


def step(kind: str, precision: str, *, checkpointing: bool) -> dict[str, Any]:
    """What two optimiser steps waited for, and where their results are."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    with FakeTensorMode(allow_non_fake_inputs=True), Waits() as waits:
        model = Qwen2ForCausalLM(Qwen2Config(**SMALL)).to(GPU, dtype)
        parameters = Hyperparameters(training_strategy="dpo", lora_dim=4, load_in_4bit=False)
        policy = make_policy(model, parameters, precision=precision, checkpointing=checkpointing)
        scorer = make_scorer(kind, policy.model)
        processes: Any = SimpleNamespace(device=GPU, sum=lambda values: values, sum_gradients=lambda tensors: None)
        weights = WholeWeights(policy, processes)
        stepper = Stepper(
            policy,
            weights,
            Objective(scorer, LiveReference(scorer), parameters),
            make_optimizer(weights.tensors, parameters),
            processes,
            parameters,
            precision,
        )
        waits.places.clear()
        for _ in range(2):
            stepper.step(pairs(), 9, 1e-4, first=False, stop=False)
        gradients = [weight.grad for weight in policy.trainable.values()]
        found = {str(tensor.device) for tensor in gradients if isinstance(tensor, Tensor)}
        micros = len(scorer.cut(pairs()))
    return {"waits": sorted(set(waits.places)), "devices": sorted(found), "micros": micros}


if __name__ == "__main__":
    nn.Module._apply = place  # type: ignore[method-assign, assignment]
    gpus.triton_obstacle = lambda device: "there is no GPU"  # type: ignore[assignment]
    cases = [("plain", "bf16", False), ("packed", "bf16", True), ("packed", "fp16", False), ("replayed", "fp16", True)]
    report = {str(case): step(case[0], case[1], checkpointing=case[2]) for case in cases}
    json.dump(report, sys.stdout)
