"""The same training by TRL: the independent oracle for the loop, the log-probs, the loss and the optimiser."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import get_peft_model
from torch import Tensor
from torch.utils.data import Sampler, SequentialSampler
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl import DPOConfig, DPOTrainer

from quickalign.core.hyperparameters import Hyperparameters
from quickalign.train.model import lora_config


class InOrder(DPOTrainer):
    """TRL's trainer on rows in the order they are given."""

    def _get_train_sampler(self, *arguments: Any, **options: Any) -> Sampler[int]:
        return SequentialSampler(self.train_dataset)


class Prepared(InOrder):
    """... and with token ids that were made elsewhere."""

    def _prepare_dataset(self, dataset: Any, *arguments: Any, **options: Any) -> Any:
        return dataset


class Logs(TrainerCallback):
    """Keeps every step's log."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if logs and "loss" in logs:
            self.steps.append(dict(logs))


def train_with_trl(
    model: PreTrainedModel,
    rows: Sequence[dict[str, Any]],
    parameters: Hyperparameters,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    steps: int,
    raw: bool = False,
) -> tuple[list[dict[str, float]], dict[str, Tensor]]:
    """Train `steps` optimiser steps on `rows` in their order; returns the logs and the trained tensors by name.

    Rows hold `prompt_ids`, `chosen_ids`, `rejected_ids`, or text for TRL's own tokenisation where `raw` is set.
    """
    torch.manual_seed(parameters.seed)
    policy = get_peft_model(model, lora_config(parameters))
    config = DPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=parameters.per_device_train_batch_size,
        gradient_accumulation_steps=parameters.gradient_accumulation_steps,
        learning_rate=parameters.learning_rate,
        lr_scheduler_type=parameters.lr_scheduler_type,
        beta=parameters.dpo_beta,
        max_grad_norm=parameters.max_grad_norm,
        weight_decay=parameters.weight_decay,
        max_steps=steps,
        max_length=None,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to=[],
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        disable_tqdm=True,
        seed=parameters.seed,
    )
    logs = Logs()
    trainer_class = InOrder if raw else Prepared
    trainer = trainer_class(
        model=policy,
        args=config,
        train_dataset=Dataset.from_list(list(rows)),
        processing_class=tokenizer,
        callbacks=[logs],
    )
    trainer.train()
    trained = {name: p.detach().clone() for name, p in policy.named_parameters() if p.requires_grad}
    return logs.steps, trained


def relative(a: Tensor, b: Tensor) -> float:
    """||a - b|| / ||b||."""
    return float(torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(b).clamp(min=1e-12))
