import pytest
import torch
from torch import nn

from tubedet.training.weight_average import WeightAverage


@pytest.fixture
def layer() -> nn.BatchNorm1d:
    """One weight, one bias, statistics, and a counter that is no floating-point number."""
    return nn.BatchNorm1d(1)


def set_weight(layer: nn.BatchNorm1d, value: float) -> None:
    layer.weight.data.fill_(value)


def test_the_average_follows_quickly_at_first_and_by_its_decay_later(
    layer: nn.BatchNorm1d,
) -> None:
    average = WeightAverage(layer, decay=0.5)  # starts at the weight, 1
    found = []
    for step, weight in ((0, 11.0), (1, 4.0), (100, 5.0)):
        set_weight(layer, weight)
        average.update(step)
        found.append(average.tensors["weight"].item())

    # Kept: 1/10, then 2/11, then one half.
    second = 2 / 11 * 10 + 9 / 11 * 4
    assert found == pytest.approx([0.1 * 1 + 0.9 * 11, second, (second + 5) / 2])


def test_the_average_is_in_the_network_inside_the_block_only(layer: nn.BatchNorm1d) -> None:
    average = WeightAverage(layer, decay=0.5)
    set_weight(layer, 0.1)

    with average.swapped_in():
        inside = layer.weight.item()

    assert inside == 1.0
    assert torch.equal(layer.weight.detach(), torch.tensor([0.1]))


def test_the_own_weights_come_back_after_an_error(layer: nn.BatchNorm1d) -> None:
    average = WeightAverage(layer, decay=0.5)
    set_weight(layer, 3.0)

    with pytest.raises(ZeroDivisionError), average.swapped_in():
        _ = 1 / 0

    assert layer.weight.item() == 3.0


def test_a_restored_average_goes_on(layer: nn.BatchNorm1d) -> None:
    average = WeightAverage(layer, decay=0.5)
    stored = {name: torch.full_like(value, 7.0) for name, value in average.tensors.items()}

    average.restore(stored)
    average.update(step=100)

    assert average.tensors["weight"].item() == pytest.approx((7 + 1) / 2)
    assert "num_batches_tracked" not in average.tensors


def test_without_decay_there_is_no_average(layer: nn.BatchNorm1d) -> None:
    average = WeightAverage(layer, decay=0.0)
    set_weight(layer, 3.0)
    average.update(step=5)
    with average.swapped_in():
        assert layer.weight.item() == 3.0
    average.restore({})
    assert average.tensors == {}
