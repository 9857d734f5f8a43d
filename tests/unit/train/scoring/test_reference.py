from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from quickalign.train.scoring.reference import base_alone


def flags(model: nn.Module) -> list[tuple[bool, Any, bool]]:
    """What may be switched: of each module, and whether its weights are trained."""
    return [
        (m.training, getattr(m, "_disable_adapters", None), any(p.requires_grad for p in m.parameters(recurse=False)))
        for m in model.modules()
    ]


def test_the_base_answers_alone_and_everything_is_as_before(toys: SimpleNamespace) -> None:
    ids = torch.arange(1, 11)[None]
    expected = toys.tiny_model()(input_ids=ids).logits
    model = toys.with_adapter(toys.tiny_model()).train()
    model.get_base_model().lm_head.eval()  # some modules may be evaluating already
    before = flags(model)
    with base_alone(model):
        logits = model(input_ids=ids).logits
        assert torch.equal(logits, expected)
        assert not logits.requires_grad
        assert not any(module.training for module in model.modules())
    assert flags(model) == before
    assert not torch.equal(model(input_ids=ids).logits, expected)


def test_a_failure_inside_leaves_nothing_switched(toys: SimpleNamespace) -> None:
    model = toys.with_adapter(toys.tiny_model()).train()
    before = flags(model)
    with pytest.raises(KeyError), base_alone(model):
        raise KeyError
    assert flags(model) == before
    assert torch.is_grad_enabled()


def test_it_is_what_pefts_switch_does(toys: SimpleNamespace) -> None:
    ids = torch.arange(1, 11)[None]
    model = toys.with_adapter(toys.tiny_model()).eval()
    with torch.no_grad(), model.disable_adapter():
        expected = model(input_ids=ids).logits
        # Who switched the adapter off before finds it off afterwards.
        with base_alone(model):
            assert torch.equal(model(input_ids=ids).logits, expected)
        assert torch.equal(model(input_ids=ids).logits, expected)


def test_without_an_adapter_it_is_refused(toys: SimpleNamespace) -> None:
    with pytest.raises(TypeError, match="adapter"), base_alone(toys.tiny_model()):
        pass
