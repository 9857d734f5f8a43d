"""Where quickalign keeps things on this machine."""

import os
from pathlib import Path

DATABASE_VARIABLE = "QUICKALIGN_DATABASE_URL"
"""The variable that names the server's database where its option does not: others see options in the process list."""


def home() -> Path:
    """The state folder: `QUICKALIGN_HOME`, or `~/.quickalign`."""
    return Path(os.environ.get("QUICKALIGN_HOME") or Path.home() / ".quickalign").expanduser()


def make_home(root: Path) -> None:
    """Make the state folder `root` where it does not exist; nobody but its owner reads in it."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it where they do not exist; the state folder among them as `make_home` does."""
    if folder.absolute().is_relative_to(home().absolute()):
        make_home(home())
    folder.mkdir(parents=True, exist_ok=True)


def assets() -> Path:
    """The files that ship inside the package: the tiny model and the sample preference set."""
    return Path(__file__).resolve().parent.parent / "assets"


def models_cache() -> Path:
    """Downloaded model weights."""
    return home() / "models"


def reference_cache() -> Path:
    """Reference log-probs, keyed by content."""
    return home() / "cache" / "reference"
