"""The learning rate against transformers' own schedules."""

import math

import pytest
import torch
from transformers import get_scheduler

from quickalign.core.hyperparameters import Hyperparameters
from quickalign.train.schedule import learning_rate


@pytest.mark.parametrize("name", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("ratio", [0.0, 0.13, 1.0])
def test_equals_transformers(name, ratio):
    total = 37
    parameters = Hyperparameters(learning_rate=3e-4, lr_scheduler_type=name, warmup_ratio=ratio)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
    theirs_name = "constant_with_warmup" if name == "constant" else name
    warmup = math.ceil(ratio * total)
    scheduler = get_scheduler(theirs_name, optimizer, num_warmup_steps=warmup, num_training_steps=total)
    for step in range(total):
        assert learning_rate(step, total, parameters) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        scheduler.step()
