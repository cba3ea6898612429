"""What the context window tells beyond the pair, and which networks have one."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.small_detector import small_config
from tubedet.models.light.context_window import ContextWindow, window_histograms
from tubedet.models.light.flow_histograms import (
    DIRECTIONS,
    HISTOGRAM_CHANNELS,
    cell_motion_maps,
    neighbourhood_histograms,
)
from tubedet.models.presets import build_detector, config_from_dict

STEADY, WAVING = [3.0, 3.0, 3.0, 3.0], [3.0, -3.0, 3.0, -3.0]  # px to the right


def maps_of(speeds: list[float]) -> Tensor:
    """Of pairs in which a square of 96x96 px, a ninth of the frame, moves to the right so fast."""
    flow_uv = torch.zeros(len(speeds), 2, 288, 288)
    flow_uv[:, 0, 96:192, 96:192] = torch.tensor(speeds).view(-1, 1, 1)
    return cell_motion_maps(flow_uv)


def shares_of_directions(histograms: Tensor) -> Tensor:
    """Of the flow near the middle cell: of its mean (8,), then of its deviation (8,)."""
    first = 3 * DIRECTIONS * 25  # behind the shares by direction and cell
    halves = histograms.view(2, HISTOGRAM_CHANNELS, 9, 9)[:, :, 4, 4]
    return halves[:, first : first + DIRECTIONS].square()


def test_to_and_fro_is_told_from_one_way_by_a_window_but_not_by_a_pair() -> None:
    steady, waving = maps_of(STEADY), maps_of(WAVING)
    assert torch.equal(steady[0], waving[0])

    one_way, to_and_fro = (shares_of_directions(window_histograms(m)) for m in (steady, waving))

    # Direction 0 is to the right, 4 to the left.
    torch.testing.assert_close(one_way[0, [0, 4]], torch.tensor([1.0, 0.0]), atol=0.01, rtol=0)
    torch.testing.assert_close(to_and_fro[0, [0, 4]], torch.tensor([0.5, 0.5]), atol=0.01, rtol=0)
    assert one_way[1].sum() < 0.01  # what goes on evenly does not deviate
    torch.testing.assert_close(to_and_fro[1, [0, 4]], torch.tensor([0.5, 0.5]), atol=0.01, rtol=0)


def test_a_window_is_its_mean_and_its_deviation() -> None:
    maps = torch.rand(5, 27, 4, 4, generator=torch.Generator().manual_seed(0))
    mean = sum(maps) / 5
    deviation = (sum((e - mean) ** 2 for e in maps) / 5) ** 0.5

    histograms = window_histograms(maps)

    for half, of in zip(histograms.chunk(2), (mean, deviation), strict=True):
        torch.testing.assert_close(half, neighbourhood_histograms(of[None])[0])


def test_logits_of_the_window_are_added_to_the_actions_of_all_boxes_and_to_nothing_else() -> None:
    window = ContextWindow(num_classes=2)
    raw, maps = torch.rand(3 * 7, 4, 4), torch.rand(3, 27, 4, 4)
    assert torch.equal(window(raw, maps), raw)  # before it has been fitted

    torch.nn.init.normal_(window.action.weight)
    change = (window(raw, maps) - raw).view(3, 7, 4, 4)

    weight = window.action.weight[:, :, 0, 0]
    logits = torch.einsum("ck,khw->chw", weight, window_histograms(maps))
    assert logits.std() > 0.1
    torch.testing.assert_close(change[:, 5:], logits.expand(3, 2, 4, 4), atol=1e-3, rtol=1e-4)
    assert not change[:, :5].any()


def test_only_a_network_of_flow_histograms_has_a_context_window() -> None:
    assert build_detector(replace(small_config("light"), context_frames=2)).over_time is not None
    assert build_detector(small_config("light")).over_time is None
    for preset, settings in (
        ("flownet2-sd", {"context_frames": 1}),
        ("light", {"context_frames": 1, "streams": "rgb"}),
        ("light", {"context_frames": 65}),
        ("light", {"context_frames": -1}),
    ):
        with pytest.raises(ValueError, match=r"context.frames"):
            config_from_dict({**small_config(preset).to_dict(), **settings})
