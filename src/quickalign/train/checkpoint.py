"""Checkpoints: everything a run needs to go on as if it had never stopped.

A checkpoint is a folder `checkpoints/step-00000100/` with the weights that are trained (an adapter in PEFT's layout, or
a whole model), the optimiser's state, the random state of every process, and `state.json`. It is written beside its
place and renamed, so a folder with the final name is always whole. The learning rate and the order of the data are
functions of the step and need no state.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from peft import PeftModel
from peft.utils.save_and_load import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from quickalign.core import atomic
from quickalign.core.errors import RunError
from quickalign.train import manifest as manifests
from quickalign.train.manifest import WEIGHTS, Manifest, hash_of, weights_sha256
from quickalign.train.model import Policy
from quickalign.train.saved import STATE_FILE, Checkpoint, list_checkpoints, step_folder

ADAPTER_WEIGHTS = "adapter_model.safetensors"


def save(
    output: Path,
    *,
    step: int,
    policy: Policy,
    tokenizer: PreTrainedTokenizerBase,
    manifest: Manifest,
    weights: dict[str, Tensor] | None,
    optimizer: dict[str, Tensor],
    random_states: list[Tensor],
    state: dict[str, Any],
    keep: int,
) -> Path:
    """Write the checkpoint of `step` atomically, then delete all but the newest `keep`.

    `weights` are the trained ones by the names of `policy.trainable`, where the model itself has only pieces of them.
    """
    target = step_folder(output, step)
    with atomic.folder(target) as folder:
        export(policy, tokenizer, folder / policy.kind, manifest, weights)
        save_file(optimizer, folder / "optimizer.safetensors")
        save_file({str(rank): value for rank, value in enumerate(random_states)}, folder / "random.safetensors")
        text = json.dumps({**state, "step": step}, indent=1, sort_keys=True)
        (folder / STATE_FILE).write_text(text + "\n", encoding="utf-8")
    for old in list_checkpoints(output)[:-keep]:
        atomic.remove_folder(old.folder)
    return target


def load_weights(policy: Policy, checkpoint: Checkpoint) -> None:
    """Put a checkpoint's weights into the model in training.

    Raises:
        RunError: the checkpoint's weights are not those of this model.
    """
    stored: dict[str, Tensor] = {}
    for file in sorted((checkpoint.folder / policy.kind).glob("*.safetensors")):
        stored |= load_file(file)
    if isinstance(policy.model, PeftModel):
        outcome: Any = set_peft_model_state_dict(policy.model, stored)
        unexpected = outcome.unexpected_keys
        complete = len(stored) == len(policy.trainable)
    else:
        missing, unexpected = policy.model.load_state_dict(stored, strict=False)
        complete = not set(missing) & policy.trainable.keys()
    if unexpected or not complete:
        raise RunError(f"The checkpoint {checkpoint.folder} is of other weights than this run trains.")


def load_optimizer(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The optimiser's state as named tensors."""
    return load_file(checkpoint.folder / "optimizer.safetensors")


def load_random_state(checkpoint: Checkpoint, rank: int) -> Tensor:
    """The random state of process `rank`."""
    return load_file(checkpoint.folder / "random.safetensors")[str(rank)]


def export(
    policy: Policy,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    manifest: Manifest,
    weights: dict[str, Tensor] | None = None,
) -> str:
    """Write the trained adapter (PEFT layout) or model (Hugging Face layout) with its tokenizer, template and manifest.

    Args:
        policy: the model in training.
        tokenizer: its tokenizer.
        folder: where to.
        manifest: what `quickalign.json` says.
        weights: the trained weights by the names of `policy.trainable`; those of the model when None.

    Returns:
        The SHA-256 of the weights.
    """
    with atomic.folder(folder) as temporary:
        if isinstance(policy.model, PeftModel):
            _save_adapter(policy.model, temporary, manifest.base.source, weights)
        elif isinstance(policy.model, PreTrainedModel):
            state = None if weights is None else _buffers(policy.model) | weights
            policy.model.save_pretrained(temporary, state_dict=state)
        tokenizer.save_pretrained(temporary)
        digest = weights_sha256(temporary)
        several = len(list(temporary.glob(f"*{WEIGHTS}"))) > 1  # of one, its hash is that of the weights
        files = [file for file in temporary.iterdir() if file.is_file() and (several or file.suffix != WEIGHTS)]
        beside = {file.name: hash_of(file) for file in files}
        manifests.write(temporary, manifest.model_copy(update={"weights_sha256": digest, "beside": beside}))
    return digest


def _buffers(model: PreTrainedModel) -> dict[str, Tensor]:
    """What a saved model holds besides its parameters."""
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return {name: tensor for name, tensor in model.state_dict().items() if name not in parameters}


def _save_adapter(model: PeftModel, folder: Path, base: str, weights: dict[str, Tensor] | None) -> None:
    """PEFT's layout, with lists sorted: PEFT writes sets in random order, and equal runs must give equal files.

    Only what is trained: PEFT would add the frozen embeddings where LoRA is on them or on the head.
    """
    state: dict[str, Tensor] = get_peft_model_state_dict(model, state_dict=weights, save_embedding_layers=False)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    save_file(tensors, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    config = model.peft_config["default"].to_dict()
    config["base_model_name_or_path"] = base
    config["inference_mode"] = True
    text = json.dumps(config, indent=2, sort_keys=True, default=sorted)
    (folder / "adapter_config.json").write_text(text + "\n", encoding="utf-8")
