"""What `train` and `plan` both take besides the hyperparameters, and the run specification they make of it."""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import ValidationError

from quickalign.core import options as option_rules
from quickalign.core.distribution import Distribution
from quickalign.core.errors import OptionError
from quickalign.core.spec import BadRows, DataFormat, RunSpec

_ABOUT = {name: field.description for name, field in RunSpec.model_fields.items()}

Model = Annotated[str, typer.Argument(metavar="MODEL", help=_ABOUT["model"])]
ModelOrJob = Annotated[str, typer.Argument(metavar="MODEL", help=f"{_ABOUT['model']} A server also takes a job's id.")]
Data = Annotated[str, typer.Argument(metavar="DATA", help=_ABOUT["train"])]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        help=f"{_ABOUT['output']} By default a folder in runs/ named after the model and the settings, so that the "
        "same command goes on where it stopped.",
        show_default=False,
    ),
]
Validation = Annotated[str | None, typer.Option("--validation", help=_ABOUT["validation"], show_default=False)]
Format = Annotated[DataFormat, typer.Option("--data-format", help=_ABOUT["data_format"])]
Preference = Annotated[
    Literal["better", "safer"], typer.Option("--safe-rlhf-preference", help=_ABOUT["safe_rlhf_preference"])
]
BadRowsOption = Annotated[BadRows, typer.Option("--bad-rows", help=_ABOUT["bad_rows"])]
SampleTokens = Annotated[int, typer.Option("--sample-tokens", min=0, max=4096, help=_ABOUT["sample_tokens"])]
ClosingRows = Annotated[int, typer.Option("--closing-rows", min=0, max=1000, help=_ABOUT["closing_rows"])]
StrategyOption = Annotated[Distribution, typer.Option("--strategy", help=_ABOUT["strategy"])]
SamplePrompts = Annotated[
    list[str] | None,
    typer.Option("--sample-prompt", help=f"May be repeated. {_ABOUT['sample_prompts']}", show_default=False),
]
Revision = Annotated[str | None, typer.Option("--model-revision", help=_ABOUT["model_revision"], show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for scripts to standard output, and nothing else.")]


def make_spec(options: dict[str, Any], *, output: Path | None, **values: Any) -> RunSpec:
    """The run specification of a command line; `options` are the hyperparameters that were set by hand.

    Raises:
        OptionError: an option or a combination that cannot be honoured.
    """
    parameters = option_rules.parse(options)
    try:
        spec = RunSpec(**values, output=output or Path(), hyperparameters=parameters)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise OptionError(f"{first['loc'][0]}={first['input']!r} is not possible: {first['msg']}.") from None
    option_rules.check_together(spec, parameters)
    return spec if output else spec.model_copy(update={"output": default_output(spec)})


def pairs(option: str, given: list[str] | None) -> dict[str, str]:
    """What `option` says as `NAME=VALUE`, each time it was given.

    Raises:
        OptionError: one has no value.
    """
    found = {}
    for text in given or ():
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise OptionError(f"{option} {text!r} has no value.", f"Write it as {option} NAME=VALUE.")
        found[name] = value
    return found


def default_output(spec: RunSpec) -> Path:
    """The folder of a run that was given none: the same for the same command, another one for other settings."""
    named = {"output", "resume"} | ({"strategy"} if spec.strategy == "ddp" else set())
    asked = spec.model_dump_json(exclude=named)
    digest = hashlib.sha256(asked.encode()).hexdigest()[:6]
    model = Path(spec.model.rstrip("/")).name or "model"
    return Path("runs") / f"{model}-{spec.hyperparameters.training_strategy}-{digest}"
