"""Loading a base model in the asked-for precision and quantisation, and putting a LoRA adapter on it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from quickalign.core.errors import ModelError, OptionError, first_line
from quickalign.core.hyperparameters import Hyperparameters, Quantization
from quickalign.train.scoring.fused import fuse
from quickalign.train.scoring.lora import use_fast_lora
from quickalign.train.scoring.quantized import keep_differentiable
from quickalign.train.scoring.reordered import reorder
from quickalign.train.targets import ALL, called, names_of, no_layer, no_such_layer

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "fp64": torch.float64}


@dataclass(frozen=True, slots=True)
class Policy:
    """The model in training.

    Attributes:
        model: the causal language model, wrapped by PEFT when an adapter is trained.
        trainable: the trainable parameters by name, in a fixed order; always fp32 (fp64 in fp64).
        base_bytes: bytes of the frozen (or full) weights as they lie in memory, quantisation tables included.
        adapter: whether only an adapter is trained.
        autocast: compute dtype of full fine-tuning with fp32 weights, or None.
    """

    model: nn.Module
    trainable: dict[str, nn.Parameter]
    base_bytes: int
    adapter: bool
    autocast: torch.dtype | None

    @property
    def kind(self) -> str:
        """What is trained, and the name of the folder it is saved in: `adapter` or `model`."""
        return "adapter" if self.adapter else "model"


def load_base(
    path: Path, *, dtype: torch.dtype, quantization: Quantization = "none", device: torch.device | str = "cpu"
) -> PreTrainedModel:
    """Load the causal language model in folder `path`: safetensors only, no code from the folder.

    Raises:
        ModelError: transformers cannot load it.
    """
    settings: dict[str, Any] = {"dtype": dtype, "use_safetensors": True, "trust_remote_code": False}
    settings["device_map"] = {"": str(device)}
    if quantization != "none":
        settings["quantization_config"] = _quantization_config(quantization, dtype)
    disable_progress_bar()  # the observer tells what happens
    try:
        model = AutoModelForCausalLM.from_pretrained(path, **settings)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"The model in {path} cannot be loaded: {first_line(error)}") from error
    model.config.use_cache = False
    keep_differentiable(model)
    return model


def make_policy(
    base: PreTrainedModel,
    parameters: Hyperparameters,
    *,
    precision: str,
    checkpointing: bool = False,
    reordered: bool = False,
    begins: bool = True,
) -> Policy:
    """Turn a loaded base into the model in training: add the adapter, or make all weights trainable.

    The layers of the adapter's choice are checked of a run that `begins`; one that goes on has begun with them.
    """
    base_bytes = stored_bytes(base)
    switch_dropout_off(base)
    if checkpointing:
        random = parameters.lora_dropout > 0 and parameters.lora_dim > 0
        base.gradient_checkpointing_enable({"use_reentrant": False, "preserve_rng_state": random})
    if parameters.lora_dim == 0:
        base.requires_grad_(True)
        base.train()
        autocast = None if precision in {"fp32", "fp64"} else DTYPES[precision]
        return Policy(base, _trainable(base), base_bytes, adapter=False, autocast=autocast)
    model = add_adapter(base, parameters, checks=begins)
    fuse(model)
    if reordered:
        reorder(model)
    model.train()
    return Policy(model, _trainable(model), base_bytes, adapter=True, autocast=None)


def switch_dropout_off(base: PreTrainedModel) -> None:
    """Switch off what dropout the base's own config asks for; `lora_dropout` is the one that there is.

    The reference has none, so the policy would not begin as it. Recomputed activations would be others, as well.
    """
    for settings in (base.config.get_text_config(), *base.modules()):
        own = vars(settings)
        if isinstance(settings, nn.Dropout):
            settings.p = 0.0
        for name in [name for name, value in own.items() if "drop" in name and isinstance(value, float)]:
            own[name] = 0.0


def add_adapter(base: PreTrainedModel, parameters: Hyperparameters, *, checks: bool = True) -> PeftModel:
    """Put a fresh LoRA adapter on `base`: A random from the option seed, B zero, both fp32.

    Whether each of its target modules is possible, and not only one of them, is looked at where it `checks`.

    Raises:
        OptionError: target_modules names no layer of the model, or one that no adapter could be merged into.
    """
    config = lora_config(parameters)
    if checks:
        _check_targets(base, parameters)
    use_fast_lora(config)
    torch.manual_seed(parameters.seed)
    try:
        with _old_name_unsaid():
            model: PeftModel = get_peft_model(base, config)
    except ValueError as error:
        asked = parameters.target_modules
        raise no_layer(_linear(base), f"target_modules={asked!r} names what takes no LoRA.") from error
    if parameters.use_dora:
        _measure_magnitudes(model)
    return model


def load_adapter(model: nn.Module, folder: Path) -> PeftModel:
    """Put the adapter in `folder`, in PEFT's layout, on `model`; the whole is in evaluation mode.

    Raises:
        ModelError: it cannot be loaded.
    """
    try:
        with _old_name_unsaid():
            return PeftModel.from_pretrained(model, str(folder)).eval()
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise ModelError(f"The adapter in {folder} cannot be loaded: {first_line(error)}") from error


@contextmanager
def _old_name_unsaid() -> Iterator[None]:
    """PEFT asks transformers by an older name whether activations are recomputed, and the user cannot help it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        yield


def _check_targets(base: PreTrainedModel, parameters: Hyperparameters) -> None:
    """PEFT is content where one of the names is that of a layer, and with embeddings that are the head's weights too.

    Raises:
        OptionError: a name is none of `base`, or that of weights which it uses twice.
    """
    head = base.get_output_embeddings()
    twice = None if head is None or head is base.get_input_embeddings() else head.weight
    layers, asked, names = dict(base.named_modules()), parameters.target_modules, names_of(parameters)
    for name in names if names != [ALL] else ():
        found = [layers[path] for path in called(name, layers)]
        if not found:
            raise no_such_layer(parameters, name, _linear(base))
        if base.config.tie_word_embeddings and any(getattr(part, "weight", None) is twice for part in found):
            raise OptionError(
                f"target_modules={asked!r} names {name!r}, whose weights this model reads tokens with and scores them "
                "with: an adapter on one of the two could not be merged.",
                f"Leave {name} out.",
            )


def _linear(base: PreTrainedModel) -> list[str]:
    return [path for path, part in base.named_modules() if isinstance(part, nn.Linear)]


def _measure_magnitudes(model: PeftModel) -> None:
    """Let DoRA's magnitudes be the norms of the base's rows in fp32, as every forward pass measures them.

    PEFT measures them in the base's precision and widens them afterwards: in bf16 they are up to 0.4 % off, and the
    model would not begin as its base.
    """
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            for name, variant in layer.lora_variant.items():
                variant.init(layer, name)


def lora_config(parameters: Hyperparameters) -> LoraConfig:
    """PEFT's configuration of the adapter that the options ask for."""
    names = names_of(parameters)
    return LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=parameters.lora_dim,
        lora_alpha=parameters.lora_alpha,
        lora_dropout=parameters.lora_dropout,
        target_modules=ALL if names == [ALL] else names,
        use_rslora=parameters.use_rslora,
        use_dora=parameters.use_dora,
    )


def autocast(policy: Policy, device: torch.device) -> torch.autocast:
    """Mixed precision of full fine-tuning; does nothing for adapters, whose base already has the compute dtype."""
    return torch.autocast(device.type, dtype=policy.autocast, enabled=policy.autocast is not None)


def stored_bytes(model: nn.Module) -> int:
    """Bytes of a model's weights and buffers as they lie in memory, bitsandbytes' quantisation tables included."""
    total = sum(t.numel() * t.element_size() for t in [*model.parameters(), *model.buffers()])
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        if state is not None:
            total += _state_bytes(state)
        scales = getattr(parameter, "SCB", None)
        if isinstance(scales, Tensor):
            total += scales.numel() * scales.element_size()
    return total


def _state_bytes(state: Any) -> int:
    """Bytes of a bitsandbytes 4-bit QuantState; `state2` is the second level of double quantisation."""
    if state is None:
        return 0
    own = [value for value in (state.absmax, state.code, state.offset) if isinstance(value, Tensor)]
    return sum(t.numel() * t.element_size() for t in own) + _state_bytes(getattr(state, "state2", None))


def _quantization_config(quantization: Quantization, dtype: torch.dtype) -> BitsAndBytesConfig:
    if quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def _trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
