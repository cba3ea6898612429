"""What the time around a pair tells beyond the pair, and which networks listen to it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.small_detector import small_config
from tubedet.models.flow_histograms import (
    DIRECTIONS,
    HISTOGRAM_CHANNELS,
    cell_energies,
    neighbourhood_histograms,
)
from tubedet.models.motion_over_time import MotionOverTime, add_to_actions, volume_histograms
from tubedet.models.presets import build_detector

STEADY, WAVING = [3.0, 3.0, 3.0, 3.0], [3.0, -3.0, 3.0, -3.0]  # px to the right


def energies_of(speeds: list[float]) -> Tensor:
    """Of pairs in which a square of 96x96 px, a ninth of the frame, moves to the right so fast."""
    flow_uv = torch.zeros(len(speeds), 2, 288, 288)
    flow_uv[:, 0, 96:192, 96:192] = torch.tensor(speeds).view(-1, 1, 1)
    return cell_energies(flow_uv)


def shares_of_directions(histograms: Tensor) -> Tensor:
    """Of the flow near the middle cell: of its mean (8,), then of its deviation (8,)."""
    first = 3 * DIRECTIONS * 25  # behind the shares by direction and cell
    halves = histograms.view(2, HISTOGRAM_CHANNELS, 9, 9)[:, :, 4, 4]
    return halves[:, first : first + DIRECTIONS].square()


def test_to_and_fro_is_told_from_one_way_by_a_volume_but_not_by_a_pair() -> None:
    steady, waving = energies_of(STEADY), energies_of(WAVING)
    assert torch.equal(steady[0], waving[0])

    one_way, to_and_fro = (shares_of_directions(volume_histograms(e)) for e in (steady, waving))

    # Direction 0 is to the right, 4 to the left.
    torch.testing.assert_close(one_way[0, [0, 4]], torch.tensor([1.0, 0.0]), atol=0.01, rtol=0)
    torch.testing.assert_close(to_and_fro[0, [0, 4]], torch.tensor([0.5, 0.5]), atol=0.01, rtol=0)
    assert one_way[1].sum() < 0.01  # what goes on evenly does not deviate
    torch.testing.assert_close(to_and_fro[1, [0, 4]], torch.tensor([0.5, 0.5]), atol=0.01, rtol=0)


def test_a_volume_is_its_mean_and_its_deviation() -> None:
    energies = torch.rand(5, 27, 4, 4, generator=torch.Generator().manual_seed(0))
    mean = sum(energies) / 5
    deviation = (sum((e - mean) ** 2 for e in energies) / 5) ** 0.5

    histograms = volume_histograms(energies)

    for half, of in zip(histograms.chunk(2), (mean, deviation), strict=True):
        torch.testing.assert_close(half, neighbourhood_histograms(of[None])[0])


def test_unfitted_it_says_nothing_and_boxes_are_never_touched() -> None:
    over_time = MotionOverTime(num_classes=2, reach=1)
    raw = torch.rand(1, 3 * 7, 4, 4)
    energies = torch.rand(3, 27, 4, 4)
    assert torch.equal(add_to_actions(raw, over_time(energies), 3), raw)

    raised = add_to_actions(raw, torch.ones(2, 4, 4), 3)
    change = (raised - raw).view(3, 7, 4, 4)
    torch.testing.assert_close(change[:, 5:], torch.ones(3, 2, 4, 4))
    assert not change[:, :5].any()


def test_only_a_network_of_flow_histograms_can_look_around() -> None:
    assert build_detector(replace(small_config("light"), motion_reach=2)).over_time is not None
    assert build_detector(small_config("light")).over_time is None
    for preset, settings in (
        ("flownet2-sd", {"motion_reach": 1}),
        ("light", {"motion_reach": 1, "streams": "rgb"}),
        ("light", {"motion_reach": 65}),
        ("light", {"motion_reach": -1}),
    ):
        with pytest.raises(ValueError, match="motion reach"):
            replace(small_config(preset), **settings)
