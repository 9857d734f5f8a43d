"""Fail when a Python file is longer than the limit, and report the median: `check_file_length.py FOLDER...`."""

import statistics
import sys
from pathlib import Path

LIMIT = 600


def lengths(folders: list[Path]) -> dict[Path, int]:
    """Lines of every Python file below `folders`; empty files are left out."""
    files = sorted(file for folder in folders for file in folder.rglob("*.py"))
    counted = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    return {file: lines for file, lines in counted.items() if lines}


def main(arguments: list[str]) -> int:
    """Print the median and the longest file; return 1 when a file is over the limit, 2 when there is no file at all."""
    counted = lengths([Path(argument) for argument in arguments])
    if not counted:
        print(f"There is no Python file in {', '.join(arguments) or 'nothing'}.", file=sys.stderr)
        return 2
    longest = max(counted, key=lambda file: counted[file])
    median = statistics.median(counted.values())
    print(f"{len(counted)} files, median {median:.0f} lines, longest {counted[longest]} ({longest})")
    too_long = {file: lines for file, lines in counted.items() if lines > LIMIT}
    for file, lines in too_long.items():
        print(f"{file} has {lines} lines; the limit is {LIMIT}.", file=sys.stderr)
    return 1 if too_long else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
