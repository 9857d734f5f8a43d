"""One process of a run over several, for `torchrun`: trains a small model and leaves its steps as JSON."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from tests.support.loops import make_setup, train
from tests.support.runs import dpo, random_pairs, random_samples, small_model


def main(strategy: str, batch: int, accumulation: int, folder: Path) -> None:
    """Train 4 steps and a partial fifth one, and write what the main process saw."""
    parameters = dpo(
        training_strategy=strategy, per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation
    )
    rows = random_pairs(33) if strategy == "dpo" else random_samples(33)
    validation = random_pairs(5, seed=3) if strategy == "dpo" else random_samples(5, seed=3)
    setup = make_setup(small_model(), rows, parameters, folder, validation=validation)
    recorder = train(setup)
    if setup.processes.is_main:
        steps = [asdict(step) for step in recorder.steps]
        evaluations = [asdict(found) for found in recorder.evaluations]
        (folder / "seen.json").write_text(json.dumps({"steps": steps, "evaluations": evaluations}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
