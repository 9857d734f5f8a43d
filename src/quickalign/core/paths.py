"""Where quickalign keeps things on this machine."""

import os
from pathlib import Path

DATABASE_VARIABLE = "QUICKALIGN_DATABASE_URL"
"""The variable that names the server's database where its option does not: others see options in the process list."""


def home() -> Path:
    """The state folder: `QUICKALIGN_HOME`, or `~/.quickalign`."""
    return Path(os.environ.get("QUICKALIGN_HOME") or Path.home() / ".quickalign").expanduser()


def assets() -> Path:
    """The files that ship inside the package: the tiny model and the sample preference set."""
    return Path(__file__).resolve().parent.parent / "assets"


def models_cache() -> Path:
    """Downloaded model weights."""
    return home() / "models"


def reference_cache() -> Path:
    """Reference log-probs, keyed by content."""
    return home() / "cache" / "reference"
