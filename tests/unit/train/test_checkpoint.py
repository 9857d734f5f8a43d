import json
from pathlib import Path

from quickalign.train.checkpoint import STATE_FILE, checkpoints, folder_of


def test_a_checkpoint_without_its_state_is_none(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        folder = folder_of(tmp_path) / f"step-{step:08d}"
        folder.mkdir(parents=True)
        (folder / "optimizer.safetensors").write_bytes(b"")
        if step != 1:  # a process was killed while it deleted this one
            (folder / STATE_FILE).write_text(json.dumps({"step": step}))
    assert [found.step for found in checkpoints(tmp_path)] == [2, 3]
