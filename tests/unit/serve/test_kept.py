"""A folder of converted models stays small, and what is in use stays."""

import os
import subprocess
import sys
from pathlib import Path

from quickalign.serve.engines import kept

HOLD = "import sys, pathlib; from quickalign.serve.engines import kept; kept.hold(pathlib.Path(sys.argv[1])); "


def model(parent: Path, name: str, used: float) -> Path:
    folder = parent / name
    folder.mkdir(parents=True)
    (folder / "graph.bin").write_bytes(bytes(1000))
    use = folder.with_suffix(".use")
    use.touch()
    os.utime(use, (used, used))
    return folder


def test_what_was_used_longest_ago_goes_first(tmp_path):
    old, middle, new = (model(tmp_path, name, used) for name, used in (("a", 3.0), ("b", 1.0), ("c", 2.0)))
    kept.shrink(tmp_path, 3000)
    assert old.exists() and middle.exists() and new.exists()
    kept.shrink(tmp_path, 1999)
    assert [folder.exists() for folder in (old, middle, new)] == [True, False, False]
    assert not list(tmp_path.glob(".going-*"))


def test_what_a_process_holds_stays_until_it_ends(tmp_path):
    mine, other = model(tmp_path, "mine", 1.0), model(tmp_path, "other", 2.0)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD + "print('held', flush=True); sys.stdin.read()", str(mine)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    kept.shrink(tmp_path, 0)
    assert (mine.exists(), other.exists()) == (True, False)
    holder.kill()
    holder.communicate()
    kept.shrink(tmp_path, 0)
    assert not mine.exists()


def test_holding_is_a_use(tmp_path):
    first, second = model(tmp_path, "first", 1.0), model(tmp_path, "second", 2.0)
    subprocess.run([sys.executable, "-c", HOLD, str(first)], check=True)
    kept.shrink(tmp_path, 1000)
    assert (first.exists(), second.exists()) == (True, False)
