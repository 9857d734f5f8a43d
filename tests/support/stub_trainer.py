# ruff: noqa: T201 - what it prints is its log
"""A trainer that trains nothing: quick, deterministic, with checkpoints, and it obeys SIGTERM as the real one does.

`python stub_trainer.py SPEC.json`. Each step hashes the state before it, so the final "weights" depend on every step.
`max_steps`, `save_steps` and `seed` are taken from the options; QUICKALIGN_STUB_STEP_SECONDS says how long a step takes.
The first sample prompt may ask for trouble: `fail 3` ends with exit code 7 at step 3, `crash 3` with SIGKILL, `hang 3`
ignores SIGTERM from step 3 on, `once crash 3` does it in the first attempt only, `chatter` prints a lot.
"""

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from filelock import FileLock, Timeout

from quickalign.core import atomic

STEP_SECONDS = float(os.environ.get("QUICKALIGN_STUB_STEP_SECONDS", "0.01"))


class Trouble:
    def __init__(self, spec: dict, output: Path) -> None:
        words = (spec["sample_prompts"] or [""])[0].split()
        self.once = words[:1] == ["once"]
        words = words[1:] if self.once else words
        self.kind, self.step = (words[0], int(words[1])) if len(words) == 2 else ("", -1)
        self.mark = output / "trouble.mark"

    def at(self, step: int) -> None:
        if step != self.step or (self.once and self.mark.exists()):
            return
        self.mark.touch()
        if self.kind == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "fail":
            raise SystemExit(7)
        if self.kind == "hang":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(3600)


def event(output: Path, kind: str, message: str, **data: object) -> None:
    with (output / "events.jsonl").open("ab") as stream:
        line = {"created_at": time.time(), "kind": kind, "message": message, "data": data}
        stream.write(json.dumps(line).encode() + b"\n")


def replace(path: Path, values: dict) -> None:
    temporary = path.with_name(f".tmp-{path.name}")
    temporary.write_text(json.dumps(values))
    temporary.replace(path)


def last_checkpoint(output: Path) -> tuple[int, str]:
    folders = sorted((output / "checkpoints").glob("step-*"))
    if not folders:
        return 0, hashlib.sha256(b"base").hexdigest()
    state = json.loads((folders[-1] / "state.json").read_text())
    return state["step"], state["state"]


def save(output: Path, step: int, state: str) -> None:
    with atomic.folder(output / "checkpoints" / f"step-{step:08d}") as folder:
        (folder / "state.json").write_text(json.dumps({"step": step, "state": state}))
    event(output, "checkpoint", f"Step {step} is saved.", step=step)


def train(spec: dict, output: Path) -> int:
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stop.append(number))
    options = spec["hyperparameters"]
    total, every = options.get("max_steps", 10), options.get("save_steps", 3)
    data = hashlib.sha256(Path(spec["train"]).read_bytes()).hexdigest()
    step, state = last_checkpoint(output)
    metrics = output / "metrics.jsonl"
    lines = metrics.read_bytes().splitlines()[:step] if metrics.exists() else []
    atomic.write_bytes(metrics, b"".join(line + b"\n" for line in lines))
    print(f"going on from step {step} of {total}", flush=True)
    event(output, "phase", "train", phase="train")
    trouble = Trouble(spec, output)
    while step < total:
        trouble.at(step)
        time.sleep(STEP_SECONDS)
        state = hashlib.sha256(f"{state} {data} {options.get('seed', 0)} {step}".encode()).hexdigest()
        step += 1
        with metrics.open("ab") as stream:
            stream.write(json.dumps({"step": step, "loss": 1 / step}).encode() + b"\n")
        print(f"step {step}/{total}", flush=True)
        replace(output / "status.json", {"phase": "train", "step": step, "total_steps": total, "loss": 1 / step})
        if step % every == 0 or step == total or stop:
            save(output, step, state)
        if stop and step < total:
            print(f"error: Stopped after step {step}.", flush=True)
            return 130
    (output / "adapter").mkdir(exist_ok=True)
    atomic.write_bytes(output / "adapter" / "adapter_model.safetensors", state.encode())
    digest = hashlib.sha256(state.encode()).hexdigest()
    event(output, "done", "The run is finished.", steps=step)
    result = {"adapter": str(output / "adapter"), "adapter_sha256": digest, "steps": step}
    atomic.write_text(output / "result.json", json.dumps(result))
    return 0


def main() -> int:
    spec = json.loads(Path(sys.argv[1]).read_text())
    output = Path(spec["output"])
    output.mkdir(parents=True, exist_ok=True)
    (output / "error.json").unlink(missing_ok=True)
    try:
        with FileLock(output / ".lock").acquire(timeout=0):
            return train(spec, output)
    except Timeout:
        (output / "TWO-AT-ONCE").touch()
        return 2
    except SystemExit as error:
        replace(output / "error.json", {"message": "The loss is not a number. Lower learning_rate.", "exit_code": 7})
        return int(error.code)


if __name__ == "__main__":
    sys.exit(main())
