"""The order of the data is a pure function of seed and step."""

from hypothesis import given
from hypothesis import strategies as st

from quickalign.core.hyperparameters import Hyperparameters
from quickalign.train.order import BatchOrder


@given(rows=st.integers(1, 200), batch=st.integers(1, 40), seed=st.integers(0, 2**31 - 1))
def test_every_epoch_holds_every_row_once(rows, batch, seed):
    order = BatchOrder(rows, batch, seed)
    for epoch in range(2):
        seen = [i for s in range(order.steps_per_epoch) for i in order.batch(epoch * order.steps_per_epoch + s)]
        assert sorted(seen) == list(range(rows))


@given(rows=st.integers(1, 100), batch=st.integers(1, 20), world=st.integers(1, 5), step=st.integers(0, 30))
def test_shares_make_up_the_batch(rows, batch, world, step):
    order = BatchOrder(rows, batch, 7)
    shares = [order.share(step, rank, world) for rank in range(world)]
    assert sorted(i for share in shares for i in share) == sorted(order.batch(step))


def test_epochs_differ_and_seeds_differ():
    order = BatchOrder(100, 100, 1)
    assert order.batch(0) != order.batch(1)
    assert order.batch(0) != BatchOrder(100, 100, 2).batch(0)


def test_total_steps():
    order = BatchOrder(17, 8, 0)
    assert order.total_steps(Hyperparameters(num_train_epochs=2)) == 6
    assert order.total_steps(Hyperparameters(num_train_epochs=2, max_steps=4)) == 4
