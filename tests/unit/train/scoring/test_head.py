from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from quickalign.train.scoring import head as head_module
from quickalign.train.scoring import sizes
from quickalign.train.scoring.head import Head, token_logps

HIDDEN, VOCAB = 12, 2500


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Several tiles over the vocabulary and over the tokens, the last one not full."""
    monkeypatch.setattr(sizes, "CPU_TILE", 7 * 1024)
    monkeypatch.setattr(head_module, "TRAINED_TOKENS", 4)
    yield


def make_head(*, bias: bool = False, trained: bool = False, scale: float = 1.0, softcap: float | None = None) -> Head:
    torch.manual_seed(0)
    projection = nn.Linear(HIDDEN, VOCAB, bias=bias, dtype=torch.float64)
    nn.init.normal_(projection.weight)
    projection.requires_grad_(trained)
    return Head(projection, scale, softcap)


def naive(head: Head, hidden: Tensor, which: Tensor, targets: Tensor) -> Tensor:
    """Logits as the architectures define them, then torch's own cross-entropy."""
    logits = head.projection(hidden) * head.scale
    if head.softcap is not None:
        logits = torch.tanh(logits / head.softcap) * head.softcap
    return -nn.functional.cross_entropy(logits[which], targets, reduction="none")


def gradients(function: object, head: Head, places: int = 7) -> list[Tensor]:
    torch.manual_seed(1)
    hidden = torch.randn(places, HIDDEN, dtype=torch.float64, requires_grad=True)
    which = torch.tensor([0, 0, 1, 2, 3, 3, 4, 5, 6, 6, 6])
    targets = torch.randint(VOCAB, (11,))
    upstream = torch.randn(11, dtype=torch.float64)
    values: Tensor = function(head, hidden, which, targets)  # type: ignore[operator]
    trained = [p for p in head.projection.parameters() if p.requires_grad]
    return [values, *torch.autograd.grad(values @ upstream, [hidden, *trained])]


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("scale", "softcap"), [(1.0, None), (0.25, None), (1.0, 3.0), (2.0, 5.0)])
def test_values_and_gradients_are_those_of_the_whole_logits(
    trained: bool, bias: bool, scale: float, softcap: float | None
) -> None:
    head = make_head(bias=bias, trained=trained, scale=scale, softcap=softcap)
    expected, found = gradients(naive, head), gradients(token_logps, head)
    assert len(found) == len(expected) == 2 + trained * (1 + bias)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-10)


def test_extreme_logits_do_not_overflow() -> None:
    head = make_head(scale=1e4)
    found = gradients(token_logps, head)
    assert all(torch.isfinite(part).all() for part in found)
    assert torch.allclose(found[0], gradients(naive, head)[0], rtol=1e-10)


def test_without_gradients_the_values_are_the_same() -> None:
    head = make_head()
    hidden, which = torch.randn(7, HIDDEN, dtype=torch.float64), torch.arange(7)
    targets = torch.randint(VOCAB, (7,))
    with torch.no_grad():
        values = token_logps(head, hidden, which, targets)
    assert torch.equal(values, token_logps(head, hidden.requires_grad_(), which, targets))
    assert not values.requires_grad


def test_the_logits_never_exist_as_a_whole() -> None:
    """The widest tensor that autograd keeps for a frozen head is as wide as the hidden states."""
    sizes: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        gradients(token_logps, make_head())
    assert sizes
    assert max(sizes) <= 11 * HIDDEN


def test_bf16_logps_are_fp32_and_close() -> None:
    head = make_head()
    projection = nn.Linear(HIDDEN, VOCAB, bias=False, dtype=torch.bfloat16).requires_grad_(False)
    projection.weight.copy_(head.projection.weight)  # type: ignore[arg-type]
    torch.manual_seed(2)
    hidden = torch.randn(5, HIDDEN, dtype=torch.bfloat16, requires_grad=True)
    which, targets = torch.arange(5), torch.randint(VOCAB, (5,))
    values = token_logps(Head(projection), hidden, which, targets)
    values.sum().backward()
    wide = Head(nn.Linear(HIDDEN, VOCAB, bias=False).requires_grad_(False))
    wide.projection.weight.copy_(projection.weight)  # type: ignore[operator]
    reference = hidden.detach().float().requires_grad_()
    expected = naive(wide, reference, which, targets)
    expected.sum().backward()
    assert values.dtype == torch.float32
    assert torch.allclose(values, expected, atol=0.05)
    assert hidden.grad is not None
    assert reference.grad is not None
    assert torch.allclose(hidden.grad.float(), reference.grad, atol=0.05)
