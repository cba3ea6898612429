import pytest
import torch
from torch import nn

from tests.small_detector import seeded_clip, small_config, small_network
from tubedet.benchmark.network_cost import counted, gflop_a_frame
from tubedet.models.light.flow_histograms import HISTOGRAM_CHANNELS


def test_a_multiplication_and_its_addition_are_two_operations() -> None:
    layer = nn.Conv2d(3, 8, 3, padding=1)

    answer, gflop = counted(lambda: layer(torch.zeros(1, 3, 10, 10)))

    assert answer.shape == (1, 8, 10, 10)
    # 2 x 3 x 3 x 3 for each of 8 x 10 x 10 numbers.
    assert gflop == pytest.approx(43_200e-9)


def test_a_network_without_numbers_costs_as_much_as_one_that_computes() -> None:
    config = small_config("flownet2-sd", input_size=64)
    network = small_network(config)

    _, gflop = counted(lambda: network(seeded_clip(64)))

    assert gflop_a_frame(config) == pytest.approx(gflop)


def test_of_two_frames_of_light_one_is_a_step() -> None:
    config = small_config("light", input_size=64)
    network = small_network(config)
    clip = seeded_clip(64)

    _, of_two = counted(lambda: network.steps(clip.transpose(1, 2)))
    _, whole = counted(lambda: network(clip))

    # A pair by itself has two steps, and names actions: two classes in 2 x 2 cells.
    of_names = 2 * HISTOGRAM_CHANNELS * 2 * 2 * 2 / 1e9
    assert of_two > 0
    assert gflop_a_frame(config) == pytest.approx(whole - 0.75 * of_two - of_names)
