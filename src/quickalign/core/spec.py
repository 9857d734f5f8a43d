"""What one training run is asked to do: a JSON file that reproduces it."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from quickalign.core import options, spec_file
from quickalign.core.distribution import Distribution
from quickalign.core.hyperparameters import Hyperparameters

BadRows = Literal["error", "drop"]
DataFormat = Literal["auto", "prompt", "messages", "openai", "safe-rlhf", "hh-rlhf", "sharegpt", "instruction", "chat"]


class RunSpec(BaseModel):
    """One run: model, data, options and where its results go. `python -m quickalign.train SPEC.json` runs it."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: str = Field(
        description="A model card's name, a Hugging Face id, a local folder, or a finished run's folder.", min_length=1
    )
    model_revision: str | None = Field(default=None, description="A revision that replaces the card's.")
    train: str = Field(description="Training data: a local path or a URI.", min_length=1)
    validation: str | None = Field(default=None, description="Validation data: a local path or a URI.")
    data_format: DataFormat = Field(default="auto", description="The data's format; auto recognises it and says which.")
    safe_rlhf_preference: Literal["better", "safer"] = Field(
        default="better", description="For PKU-SafeRLHF rows: which of its two judgements says what is chosen."
    )
    bad_rows: BadRows = Field(
        default="error", description="What to do with rows that cannot be used: stop, or drop and count."
    )
    output: Path = Field(description="The run's folder: checkpoints, adapter, report.")
    resume: Literal["auto", "never"] = Field(
        default="auto", description="auto goes on from the last checkpoint of the same run; never starts afresh."
    )
    sample_prompts: tuple[str, ...] = Field(
        default=(), description="Prompts answered before and after training; validation prompts are taken when empty."
    )
    sample_tokens: int = Field(
        default=128, ge=0, le=4096, description="Longest sample answer in tokens; 0 answers no sample prompts."
    )
    closing_rows: int = Field(
        default=options.CLOSING_ROWS,
        ge=0,
        le=1000,
        description="Rows of the sample set that end a run without validation data; 0: no closing evaluation.",
    )
    strategy: Distribution = Field(
        default="ddp",
        description="How several workers share the weights: ddp holds them whole in each, fsdp2 in pieces.",
    )
    hyperparameters: Hyperparameters = Field(default_factory=Hyperparameters, description="All training options.")


def load(path: Path) -> RunSpec:
    """Read a spec file.

    Raises:
        OptionError: the file cannot be read, is no JSON object, or names an option that does not exist or cannot be
            honoured.
    """
    return parse(spec_file.read(path), str(path))


def parse(values: dict[str, Any], name: str = "") -> RunSpec:
    """Validate the values of a spec; `name` says in errors where they come from.

    Raises:
        OptionError: an option that does not exist or cannot be honoured.
    """
    given = values.get("hyperparameters")
    if given is None or isinstance(given, dict):
        values = {**values, "hyperparameters": options.parse(given or {})}
    return spec_file.parse(RunSpec, values, name)


def dump(spec: RunSpec) -> str:
    """The JSON of `spec`, which `load` reads back as the same run.

    Every option is named in it, so the default of 4 bits is written as what it comes to: without an adapter, or with 8
    bits, it does not hold, and named beside them it would be refused.
    """
    parameters = spec.hyperparameters
    bits = {f"load_in_{name}": parameters.quantization == name for name in ("4bit", "8bit")}
    said = spec.model_copy(update={"hyperparameters": parameters.model_copy(update=bits)})
    return said.model_dump_json(indent=1) + "\n"
