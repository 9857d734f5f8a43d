"""Loading a prepared run: weights, adapter, scorer, reference."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

import quickalign
from quickalign.core.hyperparameters import Quantization
from quickalign.train import resume
from quickalign.train.checkpoint import load_weights
from quickalign.train.device import reset_peak
from quickalign.train.distributed import Processes
from quickalign.train.loop import Setup
from quickalign.train.manifest import BaseReference, Manifest
from quickalign.train.model import DTYPES, Policy, load_base, make_policy
from quickalign.train.narrow import keep_narrow
from quickalign.train.objective import Objective
from quickalign.train.observer import Observer
from quickalign.train.prepare import Prepared
from quickalign.train.saved import list_checkpoints
from quickalign.train.scorers import make_reference, make_scorer
from quickalign.train.scoring.attention import use_packed_attention
from quickalign.train.scoring.packed import PackedScorer
from quickalign.train.scoring.parts import causal_model

STORED_AS = {"none": "", "4bit": ", 4-bit NF4 with double quantisation", "8bit": ", LLM.int8"}


def load(prepared: Prepared, observer: Observer, processes: Processes) -> Setup:
    """Load the base as the plan says and make it ready to train."""
    parameters = prepared.spec.hyperparameters
    observer.phase("load", f"{prepared.source.name}, {parameters.method}, {prepared.plan.precision}")
    reset_peak(processes.device)
    policy = _load_policy(prepared, processes)
    observer.note(_sizes(policy, parameters.quantization))
    scorer, prepared = make_scorer(policy, prepared, processes, observer)
    reference = make_reference(policy, scorer, prepared, processes, observer)
    validation = prepared.data.validation
    return Setup(
        spec=prepared.spec,
        policy=policy,
        objective=Objective(scorer, reference, parameters),
        tokenizer=prepared.tokenizer,
        rows=prepared.data.train,
        validation=validation if validation is not None else (),
        processes=processes,
        plan=prepared.plan,
        manifest=_manifest(prepared, policy),
        identity=identity(prepared, processes),
    )


def whole_again(setup: Setup, prepared: Prepared) -> Setup:
    """The set-up after training, with all weights in the main process: it answers and measures alone.

    Where the weights lie in pieces they are read from the last checkpoint; the pieces are let go of with `setup`.
    """
    if setup.spec.strategy == "ddp" or not setup.processes.is_main:
        return setup
    policy = _load_policy(prepared, setup.processes)
    load_weights(policy, list_checkpoints(setup.spec.output)[-1])
    if isinstance(setup.objective.scorer, PackedScorer):
        use_packed_attention(causal_model(policy.model))
    return replace(setup, policy=policy)


def _load_policy(prepared: Prepared, processes: Processes) -> Policy:
    parameters, plan = prepared.spec.hyperparameters, prepared.plan
    # Full fine-tuning keeps fp32 weights and computes under autocast: bf16 weights would swallow small updates.
    dtype = torch.float32 if parameters.lora_dim == 0 else DTYPES[plan.precision]
    base = load_base(prepared.source.path, dtype=dtype, quantization=parameters.quantization, device=processes.device)
    if parameters.quantization != "none":
        keep_narrow(base, getattr(torch, prepared.shape.dtype))
    return make_policy(
        base,
        parameters,
        precision=plan.precision,
        checkpointing=plan.gradient_checkpointing,
        reordered=plan.reordered_weights,
        begins=prepared.begins,
    )


def identity(prepared: Prepared, processes: Processes) -> dict[str, Any]:
    """What a checkpoint must agree with to be of this run."""
    data = prepared.data
    return resume.identity(
        prepared.spec.hyperparameters,
        model=prepared.source.fingerprint,
        data=data.train.fingerprint,
        validation=data.validation.fingerprint if data.validation is not None else "",
        world_size=processes.world_size,
        strategy=prepared.spec.strategy,
    )


def _manifest(prepared: Prepared, policy: Policy) -> Manifest:
    parameters, source = prepared.spec.hyperparameters, prepared.source
    by_path = source.origin == "folder"
    base = BaseReference(
        name=source.name,
        source=str(source.path) if by_path else source.name,
        revision=prepared.spec.model_revision,
        fingerprint=source.fingerprint,
    )
    return Manifest(
        version=quickalign.__version__,
        kind=policy.kind,
        base=base,
        method=parameters.method,
        training_strategy=parameters.training_strategy,
        precision=prepared.plan.precision,
        system_prompt=parameters.system_prompt,
        apply_chat_template=parameters.apply_chat_template,
        seq_length=parameters.seq_length,
        data_fingerprint=prepared.data.train.fingerprint,
        hyperparameters=parameters.model_dump(),
        step=0,
    )


def _sizes(policy: Policy, quantization: Quantization) -> str:
    trained = sum(parameter.numel() for parameter in policy.trainable.values())
    return (
        f"Base weights: {policy.base_bytes:,} bytes ({policy.base_bytes / 1e9:.3f} GB{STORED_AS[quantization]}). "
        f"Trained: {trained:,} parameters."
    )
