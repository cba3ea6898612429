"""The motion stream of `light`: what its histograms say of motions whose answer is known."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.small_detector import learn_statistics
from tubedet.models.light.flow_histograms import (
    DIRECTIONS,
    MOTION_MAPS,
    FlowHistogramStream,
    cell_motion_maps,
    motion_maps,
    neighbourhood_histograms,
)


def moving_square(u: float, v: float, camera: tuple[float, float] = (0.0, 0.0)) -> Tensor:
    """Flow (1, 2, 32, 32) of a square of 10x10 before a background that the camera moves."""
    flow = torch.tensor(camera).view(1, 2, 1, 1).repeat(1, 1, 32, 32)
    flow[:, :, 11:21, 11:21] += torch.tensor([u, v]).view(1, 2, 1, 1)
    return flow


@pytest.mark.parametrize("direction", range(DIRECTIONS))
def test_flow_along_an_axis_falls_into_one_direction_with_its_length(direction: int) -> None:
    angle = 2 * math.pi * direction / DIRECTIONS
    maps = motion_maps(moving_square(3 * math.cos(angle), 3 * math.sin(angle)))
    expected = torch.zeros(DIRECTIONS)
    expected[direction] = 3.0
    torch.testing.assert_close(maps[0, :DIRECTIONS, 15, 15], expected, atol=1e-4, rtol=0)
    assert maps[0, DIRECTIONS, 15, 15] < 1e-3  # far from still
    assert maps[0, DIRECTIONS, 2, 2] > 0.98


def test_a_moving_camera_changes_nothing() -> None:
    still, panned = (motion_maps(moving_square(2.0, 1.0, by)) for by in ((0.0, 0.0), (5.0, -3.0)))
    torch.testing.assert_close(still, panned, atol=1e-4, rtol=1e-4)


def test_gradients_are_those_of_the_flow_at_the_edges_of_what_moves() -> None:
    maps = motion_maps(moving_square(4.0, 0.0))
    of_u = maps[0, DIRECTIONS + 1 : 2 * DIRECTIONS + 1]
    of_v = maps[0, 2 * (DIRECTIONS + 1) : 3 * DIRECTIONS + 2]
    # Sobel / 8 spreads a step of 4 px over two vectors: 2 px a vector, rightwards at the left edge.
    torch.testing.assert_close(of_u[0, 15, 10], torch.tensor(2.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(of_u[4, 15, 21], torch.tensor(2.0), atol=1e-3, rtol=0)
    assert of_u[:, 15, 15].sum() < 0.01
    assert of_v.sum() < 0.01 * of_u.sum()


def test_neighbourhood_is_the_shares_around_a_cell() -> None:
    maps = torch.zeros(1, MOTION_MAPS, 7, 7)
    maps[0, 2, 3, 3], maps[0, 5, 4, 3] = 9.0, 3.0
    out = neighbourhood_histograms(maps)[0, :, 3, 3]
    in_cells = out[: 3 * DIRECTIONS * 25].view(3, DIRECTIONS, 5, 5)
    torch.testing.assert_close(in_cells[0, 2, 2, 2], torch.tensor(0.75).sqrt(), atol=1e-3, rtol=0)
    torch.testing.assert_close(in_cells[0, 5, 3, 2], torch.tensor(0.5), atol=1e-3, rtol=0)
    together = out[3 * DIRECTIONS * 25 :][: 3 * DIRECTIONS].view(3, DIRECTIONS)
    torch.testing.assert_close(together[0, 2], torch.tensor(0.75).sqrt(), atol=1e-3, rtol=0)
    # Twice as fast is the same pattern; only the last three numbers say how fast.
    faster = neighbourhood_histograms(2 * maps)[0, :, 3, 3]
    torch.testing.assert_close(faster[:-3], out[:-3], atol=1e-3, rtol=0)
    torch.testing.assert_close(faster[-3] - out[-3], torch.tensor(2.0).log(), atol=1e-2, rtol=0)


def test_the_context_of_a_stream_is_the_histograms_of_its_flow() -> None:
    # A square of 5x5 cells moves 3 px to the right; two cells beyond its middle all moves.
    flow_uv = torch.zeros(1, 2, 352, 352)
    flow_uv[:, 0, 96:256, 96:256] = 3.0

    last, (context,) = FlowHistogramStream().eval()(flow_uv)

    assert last.shape == (1, 128, 11, 11)
    assert context.shape == (1, 702, 11, 11)
    of_flow = context[0, : DIRECTIONS * 25].view(DIRECTIONS, 25, 11, 11)
    to_the_right = torch.full((25,), 1 / 25).sqrt()
    torch.testing.assert_close(of_flow[0, :, 5, 5], to_the_right, atol=0.02, rtol=0)
    torch.testing.assert_close(of_flow[4, :, 5, 5], torch.full((25,), 0.01), atol=0.02, rtol=0)
    still = context[0, -3 - 75 : -3].view(3, 25, 11, 11)[0]
    torch.testing.assert_close(still[:, 5, 5], torch.zeros(25), atol=0.02, rtol=0)
    torch.testing.assert_close(still[12, 0, 0], torch.tensor(0.98), atol=0.02, rtol=0)


def test_boxes_are_predicted_from_the_motion_maps_at_half_a_cell() -> None:
    torch.manual_seed(0)
    stream = FlowHistogramStream()
    flow_uv = 3 * torch.randn(2, 2, 12, 20).repeat_interleave(16, 2).repeat_interleave(16, 3)
    learn_statistics(stream, flow_uv)

    (last, _), maps = stream.with_motion_maps(flow_uv)

    # Flow is constant over 16 px: of the maps of flow, pooling and differences leave the middle.
    fine = F.avg_pool2d(motion_maps(F.avg_pool2d(flow_uv, 4)), 4)
    torch.testing.assert_close(maps, F.avg_pool2d(fine, 2))
    expected = stream.join((fine + 1e-4).sqrt())
    assert expected.std() > 0.1
    torch.testing.assert_close(last, expected, atol=1e-5, rtol=1e-5)


def test_motion_maps_of_a_half_precision_flow_are_computed_in_single_precision() -> None:
    flow_uv = (5 * torch.randn(1, 2, 64, 64)).half()
    assert torch.equal(cell_motion_maps(flow_uv), cell_motion_maps(flow_uv.float()))
