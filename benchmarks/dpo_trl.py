"""TRL's side of the training benchmark: its DPOTrainer on the same rows of token ids."""

import tempfile
from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, TrainerCallback
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from benchmarks.dpo_job import Clock, Job, Trained
from quickalign.data.encode import EncodedPair


class _Timer(TrainerCallback):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._clock.tick()

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._clock.tick()


class _TokenTrainer(DPOTrainer):
    """Takes rows of token ids as they are; nothing else is changed."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset


def train(job: Job, rows: Sequence[EncodedPair], clock: Clock) -> Trained:
    """Train `job` on `rows`."""
    model = _model(job)
    base_bytes = sum(t.numel() * t.element_size() for t in model.parameters())
    with tempfile.TemporaryDirectory() as folder:
        trainer = _TokenTrainer(
            model=model,
            args=_config(job, folder),
            train_dataset=Dataset.from_list([_row(row) for row in rows]),
            processing_class=AutoTokenizer.from_pretrained(job.model),
            peft_config=LoraConfig(r=job.lora_dim, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[_Timer(clock)],
        )
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return Trained(losses, base_bytes)


def _model(job: Job) -> Any:
    settings: dict[str, Any] = {"dtype": torch.bfloat16 if job.precision == "bf16" else torch.float32}
    if job.quantization == "4bit":
        settings["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=settings["dtype"],
        )
    if torch.cuda.is_available():
        settings["device_map"] = {"": 0}
    return AutoModelForCausalLM.from_pretrained(job.model, **settings)


def _config(job: Job, folder: str) -> DPOConfig:
    return DPOConfig(
        output_dir=folder,
        per_device_train_batch_size=job.batch,
        gradient_accumulation_steps=max(job.rows_per_step // job.batch, 1),
        num_train_epochs=job.epochs,
        learning_rate=5e-5,
        beta=0.1,
        max_length=None,
        bf16=job.autocast,
        gradient_checkpointing=job.checkpointing,
        precompute_ref_log_probs=job.reference == "cached",
        train_sampling_strategy="group_by_length" if job.grouped else "sequential",
        remove_unused_columns=False,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
        logging_steps=1,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )


def _row(row: EncodedPair) -> dict[str, Any]:
    prompt, chosen, rejected = (ids.tolist() for ids in (row.prompt, row.chosen, row.rejected))
    longest = len(prompt) + max(len(chosen), len(rejected))
    return {
        "prompt_ids": prompt,
        "chosen_ids": chosen,
        "rejected_ids": rejected,
        "length": longest,
    }
