"""A filled-in Jupyter notebook that does from Python what the card's buttons do."""

from typing import Any

from quickalign.console.snippets import training
from quickalign.core.wire.jobs import JobCreate


def make(request: JobCreate) -> dict[str, Any]:
    """The notebook as the object that its file holds (nbformat 4.5)."""
    model = request.spec.model
    cells = (
        _words(
            "title",
            f"# Align {model}\n\nEvery cell talks to the server of this machine (`QUICKALIGN_ENDPOINT` and "
            "`QUICKALIGN_TOKEN` name another one).",
        ),
        _words("data", "## The data\n\nA path, an address or the id of an uploaded file; here the sample preferences."),
        _code("train", training.sdk(request)),
        _words("result", "## What changed\n\nAnswers of the same prompts before and after."),
        _code(
            "samples",
            "import json\n\nfor sample in json.loads(recipe.latest_job.artifact('result.json'))['samples']:\n"
            "    print(sample['prompt'])\n    print('  before:', sample['before'])\n"
            "    print('  after: ', sample['after'])\n",
        ),
    )
    return {
        "cells": list(cells),
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _words(identity: str, text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": identity, "metadata": {}, "source": text.splitlines(keepends=True)}


def _code(identity: str, text: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "id": identity,
        "metadata": {},
        "execution_count": None,
        "outputs": [],
        "source": text.splitlines(keepends=True),
    }
