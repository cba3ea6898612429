"""What the context window tells of the frames around one."""

import torch
from torch import Tensor

from tubedet.checkpoints.native import lay_out
from tubedet.models.light.context_window import ContextWindow
from tubedet.models.light.flow_histograms import (
    DIRECTIONS,
    cell_motion_maps,
    flow_maps,
    neighbourhood_histograms,
)


def fitted_window() -> ContextWindow:
    """One whose layers have learned something."""
    torch.manual_seed(0)
    window = ContextWindow(num_classes=2)
    for parameter in window.parameters():
        torch.nn.init.normal_(parameter)
    return window


def moving_right(*speeds_px: float) -> Tensor:
    """Maps of pairs in which a square of 96x96 px, a ninth of the frame, moves so fast."""
    flow_uv = torch.zeros(len(speeds_px), 2, 288, 288)
    flow_uv[:, 0, 96:192, 96:192] = torch.tensor(speeds_px).view(-1, 1, 1)
    return flow_maps(cell_motion_maps(flow_uv))


def test_logits_are_the_mean_of_the_frames_and_what_the_mean_motion_adds() -> None:
    window = fitted_window()
    logits, maps = torch.randn(3, 2, 4, 5), torch.rand(3, 9, 4, 5)

    found = window(logits, maps)

    histograms = neighbourhood_histograms(((maps[0] + maps[1] + maps[2]) / 3)[None])[0]
    weight, bias = window.motion.weight[:, :, 0, 0], window.motion.bias
    assert bias is not None
    for row in range(4):
        for column in range(5):
            motion = weight @ histograms[:, row, column] + bias
            expected = (logits[0] + logits[1] + logits[2])[:, row, column] / 3 + motion
            torch.testing.assert_close(found[:, row, column], expected, atol=1e-4, rtol=1e-4)


def test_a_window_of_one_frame_is_that_frame() -> None:
    window = fitted_window()
    logits, maps = torch.randn(1, 2, 4, 4), torch.rand(1, 9, 4, 4)
    alone = window(logits, maps)
    torch.testing.assert_close(window(logits.expand(5, -1, -1, -1), maps.repeat(5, 1, 1, 1)), alone)
    motion = window.motion(neighbourhood_histograms(maps))[0]
    torch.testing.assert_close(alone, logits[0] + motion)


def test_a_fresh_window_says_nothing_of_any_frame() -> None:
    window = ContextWindow(num_classes=3)
    logits = window.appearance(torch.randn(2, 960, 4, 4))
    assert torch.equal(window(logits, torch.rand(2, 9, 4, 4)), torch.zeros(3, 4, 4))


def test_to_and_fro_is_told_from_one_way_by_a_window_but_not_by_a_pair() -> None:
    one_way, to_and_fro = moving_right(3.0, 3.0, 3.0, 3.0), moving_right(3.0, -3.0, 3.0, -3.0)
    assert torch.equal(one_way[0], to_and_fro[0])
    window = ContextWindow(num_classes=2)
    # Class 0 is told by motion to the right near the cell, class 1 by motion to the left.
    first = DIRECTIONS * 25  # behind the shares by direction and cell
    window.motion.weight.data[0, first] = window.motion.weight.data[1, first + 4] = 1.0
    nothing = torch.zeros(4, 2, 9, 9)

    steady, waving = (window(nothing, m)[:, 4, 4].square() for m in (one_way, to_and_fro))

    torch.testing.assert_close(steady, torch.tensor([1.0, 0.0]), atol=0.01, rtol=0)
    torch.testing.assert_close(waving, torch.tensor([0.5, 0.5]), atol=0.01, rtol=0)


def test_it_can_be_laid_out_without_memory() -> None:
    window = lay_out(lambda: ContextWindow(num_classes=3))
    logits = window.appearance(torch.empty(2, 960, 4, 5, device="meta"))
    found = window(logits, torch.empty(2, 9, 4, 5, device="meta"))
    assert (found.shape, found.is_meta) == ((3, 4, 5), True)
