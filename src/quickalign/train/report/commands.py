"""The command lines that go with a finished run: talk to it, train it again, look at its metrics."""

import shlex
from dataclasses import dataclass

from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.spec import RunSpec
from quickalign.train.report.model import Report

_OWN_PLACE = {"model", "train", "output", "resume", "hyperparameters", "sample_prompts"}
"""Fields of a specification that are not options of the same name on the command line."""


@dataclass(frozen=True, slots=True)
class Command:
    """One thing to do next."""

    purpose: str
    line: str


def commands(report: Report) -> tuple[Command, ...]:
    """What to do with the run of `report`."""
    spec = report.spec
    folder = shlex.quote(str(spec.output))
    found = [Command("Ask the trained model", f"quickalign generate {folder} 'Your question'")]
    if report.result.folder == "adapter":
        found.append(
            Command(
                "See base and trained model side by side", f"quickalign generate {folder} --compare 'Your question'"
            )
        )
    return (
        *found,
        Command("Train the same again, into another folder", train_line(spec, "runs/again")),
        Command(
            "Look at the metrics in TensorBoard",
            f"tensorboard --logdir {shlex.quote(str(spec.output / 'tensorboard'))}",
        ),
    )


def train_line(spec: RunSpec, output: str) -> str:
    """The `quickalign train` command of `spec`, with every option that differs from its default."""
    words = ["quickalign", "train", spec.model, spec.train, "--output", output]
    for name, field in RunSpec.model_fields.items():
        value = getattr(spec, name)
        if name not in _OWN_PLACE and value != field.default:
            words += [_flag(name), str(value)]
    for prompt in spec.sample_prompts:
        words += ["--sample-prompt", prompt]
    for name, field in Hyperparameters.model_fields.items():
        value = getattr(spec.hyperparameters, name)
        if value != field.default:
            words += [_flag(name), _word(value)]
    return shlex.join(words)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
