"""How much a run writes, and how much there is room for."""

import math
from pathlib import Path

from quickalign.core import disk
from quickalign.core.spec import RunSpec
from quickalign.hub.shape import ModelShape
from quickalign.train.demand import adapter_parameters
from quickalign.train.saved import checkpoints_folder
from quickalign.train.settle import Settled

# Tokenizer, template and manifest go with every saved model; metrics, TensorBoard events and reports are small.
_BESIDES_WEIGHTS = 16 << 20
_ROW_LOG_PROBS = 32


def disk_bytes(spec: RunSpec, shape: ModelShape, settled: Settled) -> int:
    """Bytes of checkpoints, final weights and cached reference log-probs when most of them exist at once.

    Trained weights are saved in fp32. A new checkpoint is whole before an old one is deleted.
    """
    parameters = spec.hyperparameters
    trained = 4 * (adapter_parameters(shape, parameters) if parameters.lora_dim else shape.parameters)
    moments = trained * 2 if parameters.optimizer == "adamw" else trained // 2
    saved = math.ceil(settled.work.steps / parameters.save_steps) if parameters.save_steps else 1
    kept = min(parameters.save_total_limit + 1, saved)
    weights = trained + _BESIDES_WEIGHTS
    cache = _ROW_LOG_PROBS * settled.work.rows if settled.reference == "cached" else 0
    return kept * (weights + moments) + weights + cache


def room_bytes(output: Path) -> int:
    """Bytes free where `output` is or will be, with those of an earlier part's checkpoints."""
    earlier = sum(file.stat().st_size for file in checkpoints_folder(output).rglob("*") if file.is_file())
    return disk.free_bytes(output) + earlier
