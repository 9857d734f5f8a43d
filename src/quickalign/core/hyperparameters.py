"""Every option of a training run, in one typed model.

The first thirteen names, types and defaults are those of PAI-QuickStart's DPO algorithm. The command line's options,
the reference page and the schema are all made from this model, so there is no second list.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Strategy = Literal["sft", "dpo"]
LossType = Literal["sigmoid", "ipo", "hinge", "robust", "simpo", "orpo", "dpop", "apo_zero", "apo_down"]
Quantization = Literal["none", "4bit", "8bit"]
Method = Literal["full", "lora", "qlora-8bit", "qlora-4bit"]
Switch = Literal["auto", "on", "off"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Optimizer = Literal["adamw", "adamw_8bit", "paged_adamw_8bit"]
Scheduler = Literal["linear", "cosine", "constant"]
ReferenceMode = Literal["auto", "live", "cached"]

DEFAULT_SYSTEM_PROMPT = "You are a helpful assistant"


def _option(default: Any, description: str, *, unit: str = "", group: str = "training", **bounds: Any) -> Any:
    """A pydantic field whose description, unit and group reach the CLI, the docs and the schema."""
    extra: dict[str, Any] = {"unit": unit, "group": group}
    return Field(default, description=description, json_schema_extra=extra, **bounds)


class Hyperparameters(BaseModel):
    """The options of one run; validated as a whole by `quickalign.core.options.parse`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    # PAI-QuickStart's table: names, types and defaults are binding.
    training_strategy: Strategy = _option(
        "sft",
        "What to train with: dpo aligns with preference pairs, sft imitates answers.",
        group="mission",
    )
    learning_rate: float = _option(5e-5, "Peak learning rate.", group="mission", gt=0, le=1)
    num_train_epochs: int = _option(
        1, "How often the whole training data is gone through.", unit="epochs", group="mission", ge=1, le=1000
    )
    per_device_train_batch_size: int = _option(
        1,
        "Rows (pairs for dpo) per device and micro-batch of the plain padded path. The optimiser batch is this times "
        "gradient_accumulation_steps times the number of devices; how it is cut never changes its gradient.",
        unit="rows",
        group="mission",
        ge=1,
        le=4096,
    )
    seq_length: int = _option(
        128,
        "Longest prompt plus answer. A longer row loses prompt text from the left, then answer text from the end; "
        "the data report counts such rows.",
        unit="tokens",
        group="mission",
        ge=8,
        le=1_048_576,
    )
    lora_dim: int = _option(32, "LoRA rank; 0 trains all weights.", group="mission", ge=0, le=4096)
    lora_alpha: int = _option(
        32, "LoRA scale: updates are multiplied by lora_alpha / lora_dim.", group="mission", ge=1, le=65536
    )
    dpo_beta: float = _option(
        0.1,
        "How strongly dpo holds the model to its reference; the inverse of a temperature.",
        group="mission",
        gt=0,
        le=100,
    )
    load_in_4bit: bool = _option(
        True, "Load the base in 4 bits (NF4, double quantisation) and train LoRA on it.", group="mission"
    )
    load_in_8bit: bool = _option(
        False,
        "Load the base in 8 bits (LLM.int8) and train LoRA on it; set alone, it replaces the default 4 bits.",
        group="mission",
    )
    gradient_accumulation_steps: int = _option(
        8, "Micro-batches per optimiser step.", unit="micro-batches", group="mission", ge=1, le=65536
    )
    apply_chat_template: bool = _option(
        True,
        "Render rows with the model's chat template; off joins prompt and answer as they are, plus the end token.",
        group="mission",
    )
    system_prompt: str = _option(
        DEFAULT_SYSTEM_PROMPT,
        "System message of rows that bring none. An empty text adds none.",
        group="mission",
        max_length=20_000,
    )

    # Objective
    loss_type: LossType = _option("sigmoid", "Which preference loss dpo minimises.", group="objective")
    label_smoothing: float = _option(
        0.0,
        "Assumed share of pairs with flipped preference; for the sigmoid and robust losses.",
        group="objective",
        ge=0,
        lt=0.5,
    )
    sft_weight: float = _option(
        0.0,
        "Weight of the mean negative log-likelihood of the chosen answers added to the dpo loss; holds their "
        "likelihood up.",
        group="objective",
        ge=0,
        le=100,
    )
    simpo_gamma: float = _option(0.5, "Target margin of the simpo loss.", group="objective", ge=0, le=100)
    dpop_lambda: float = _option(
        50.0,
        "Weight of the dpop loss's penalty on a falling chosen likelihood.",
        group="objective",
        ge=0,
        le=1e6,
    )

    # Optimisation
    optimizer: Optimizer = _option(
        "adamw", "AdamW in fp32, with 8-bit states, or with paged 8-bit states (CUDA).", group="optimisation"
    )
    lr_scheduler_type: Scheduler = _option("linear", "How the learning rate falls after warm-up.", group="optimisation")
    warmup_ratio: float = _option(
        0.0, "Share of the steps over which the learning rate rises from 0.", group="optimisation", ge=0, le=1
    )
    weight_decay: float = _option(0.0, "Decoupled weight decay.", group="optimisation", ge=0, le=10)
    max_grad_norm: float = _option(
        1.0, "Gradients are scaled down to this norm; 0 never scales.", group="optimisation", ge=0, le=1e6
    )
    max_steps: int = _option(
        0,
        "Stop after this many optimiser steps; 0 runs all epochs.",
        unit="steps",
        group="optimisation",
        ge=0,
        le=10**9,
    )
    seed: int = _option(
        42,
        "Seed of data order, initialisation, dropout and splits.",
        group="optimisation",
        ge=0,
        le=2**31 - 1,
    )

    # Adapter
    lora_dropout: float = _option(0.0, "Dropout on the input of LoRA layers.", group="adapter", ge=0, lt=1)
    target_modules: str = _option(
        "all-linear",
        "Comma-separated names of the layers that get LoRA; all-linear takes every linear layer but the head.",
        group="adapter",
        min_length=1,
    )
    use_rslora: bool = _option(False, "Rank-stabilised LoRA: scale by lora_alpha / sqrt(lora_dim).", group="adapter")
    use_dora: bool = _option(False, "DoRA: learn magnitude and direction of each weight apart.", group="adapter")

    # Machine
    precision: Precision = _option(
        "auto",
        "Compute precision; auto takes bf16 where the chip has it, fp16 with loss scaling on older GPUs, else fp32. "
        "Adapters are always kept in fp32.",
        group="machine",
    )
    gradient_checkpointing: Switch = _option(
        "auto",
        "Recompute activations in the backward pass: less memory, more time. auto switches it on only where the "
        "plan does not fit without.",
        group="machine",
    )
    packing: Switch = _option(
        "auto",
        "Compute what rows begin with alike, each prompt above all, once, and pack rows up to a token budget. The "
        "gradient is that of padded rows; auto falls back to those for models whose attention cannot be packed.",
        group="machine",
    )
    token_budget: int = _option(
        0,
        "Tokens per packed micro-batch; 0 lets the planner choose for the device.",
        unit="tokens",
        group="machine",
        ge=0,
        le=1_048_576,
    )
    cuda_graphs: Switch = _option(
        "auto",
        "Launch all kernels of a packed pass at once, recorded for each of a few sizes; the results are the same. auto "
        "does so on a GPU for an adapter without dropout, unless the base is in 8 bits or in pieces.",
        group="machine",
    )
    reference: ReferenceMode = _option(
        "auto",
        "Where dpo's reference log-probs come from: computed live each step, or from the cache on disk.",
        group="machine",
    )

    # Watching and saving
    validation_split: float = _option(
        0.0,
        "Share of the training rows held out for validation when no validation file is given.",
        group="saving",
        ge=0,
        le=0.5,
    )
    eval_steps: int = _option(
        0,
        "Evaluate every so many steps; 0 evaluates before the first and after the last step only.",
        unit="steps",
        group="saving",
        ge=0,
        le=10**9,
    )
    save_steps: int = _option(
        100,
        "Write a checkpoint every so many steps; 0 writes one only at the end or when stopped.",
        unit="steps",
        group="saving",
        ge=0,
        le=10**9,
    )
    save_total_limit: int = _option(
        2,
        "Keep this many checkpoints; older ones are deleted.",
        unit="checkpoints",
        group="saving",
        ge=1,
        le=1000,
    )

    @field_validator("target_modules", mode="before")
    @classmethod
    def _join_names(cls, value: Any) -> Any:
        """Accept a list of names as well as a comma-separated text."""
        if isinstance(value, list | tuple):
            return ",".join(str(name).strip() for name in value)
        return value

    @property
    def quantization(self) -> Quantization:
        """How the frozen base is stored. `load_in_8bit` alone wins over the default of `load_in_4bit`."""
        if self.lora_dim == 0:
            return "none"
        if self.load_in_8bit:
            return "8bit"
        return "4bit" if self.load_in_4bit else "none"

    @property
    def method(self) -> Method:
        """The field's name for the combination of `lora_dim` and `quantization`."""
        if self.lora_dim == 0:
            return "full"
        adapter: dict[Quantization, Method] = {"none": "lora", "4bit": "qlora-4bit", "8bit": "qlora-8bit"}
        return adapter[self.quantization]

    @property
    def reference_free(self) -> bool:
        """Whether the objective needs no reference model."""
        return self.training_strategy == "sft" or self.loss_type in {"simpo", "orpo"}

    @property
    def rows_per_step(self) -> int:
        """Rows (pairs) per device and optimiser step."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps
