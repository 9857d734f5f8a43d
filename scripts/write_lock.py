"""Resolve pyproject.toml in a fresh environment and write what pip chose to requirements/lock.txt: `make lock`.

The lock is a constraints file: it says which version is taken if a package is needed, and never which is needed. One
file therefore serves the small runtime environment and the development one.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "lock.txt"
EXTRAS = "dev"
BUILD_TOOLS = ("hatchling", "editables")
# PyTorch's CUDA build pins these itself; a lock made on one kind of machine must not force them on the other.
CUDA_PACKAGE = re.compile(r"^(nvidia-|cuda-|triton\b)")

HEADER = """\
# Constraints for pip, for Python 3.11: the versions that quickalign is tested with. Made by `make lock`; do not edit.
# PyTorch's own CUDA packages are not listed: the PyTorch build that is installed pins them itself.
"""


def locked(freeze: str) -> list[str]:
    """The `name==version` lines of `pip freeze`'s output, without local version labels, CUDA packages and quickalign."""
    lines = []
    for line in freeze.splitlines():
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([^+\s]+)(\+\S+)?", line.strip())
        if match and match[1] != "quickalign" and not CUDA_PACKAGE.match(match[1].lower()):
            lines.append(f"{match[1]}=={match[2]}")
    return sorted(lines, key=str.lower)


def resolve(torch: str, folder: Path) -> str:
    """`pip freeze` of a new environment in `folder` that holds everything."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    for wanted in ([torch], list(BUILD_TOOLS), ["--no-build-isolation", "--editable", f"{ROOT}[{EXTRAS}]"]):
        subprocess.run([*pip, "install", "--quiet", *wanted], check=True)
    return subprocess.run([*pip, "freeze"], check=True, capture_output=True, text=True).stdout


def main() -> None:
    """Write the lock."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch", required=True, help="the PyTorch requirement that is installed first")
    with tempfile.TemporaryDirectory() as folder:
        lines = locked(resolve(parser.parse_args().torch, Path(folder) / "venv"))
    LOCK.write_text(HEADER + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    print(f"{LOCK.relative_to(ROOT)}: {len(lines)} packages")


if __name__ == "__main__":
    main()
