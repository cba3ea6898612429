"""Histograms of flow: what they say of motions whose answer is known."""

import math

import pytest
import torch
from torch import Tensor

from tubedet.models.light.flow_histograms import (
    DIRECTIONS,
    cell_motion_maps,
    flow_maps,
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
    maps = torch.zeros(1, 9, 7, 8)
    maps[0, 2, 3, 3], maps[0, 5, 4, 3], maps[0, 8, 1, 1] = 9.0, 3.0, 0.5
    out = neighbourhood_histograms(maps)
    assert out.shape == (1, 234, 7, 8)
    middle, corner, side, far = out[0, :, 3, 3], out[0, :, 0, 0], out[0, :, 3, 5], out[0, :, 3, 6]
    # Of 12 px in all, to the 0.01 that is added so that noise is no pattern.
    shares = torch.zeros(8, 5, 5)
    shares[2, 2, 2], shares[5, 3, 2] = 0.75, 0.25
    assert_shares(middle[:200].view(8, 5, 5), shares)
    assert_shares(middle[200:208], shares.sum(dim=(1, 2)))
    stillness = torch.zeros(5, 5)
    stillness[0, 0] = 0.5
    assert torch.equal(middle[208:233].view(5, 5), stillness)
    torch.testing.assert_close(middle[233], torch.tensor(12.01).log())
    # Two cells to the right what moves is at the left end; a cell further all is still.
    assert_shares(side[:200].view(8, 5, 5), shares.roll(-2, 2))
    assert_shares(far[:208], torch.zeros(208))
    torch.testing.assert_close(far[233], torch.tensor(0.01).log())
    # Beyond the frame's edge nothing moves, and nothing is still.
    assert torch.equal(corner[208:233].view(5, 5), stillness.roll((3, 3), (0, 1)))


def assert_shares(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, (expected + 1e-4).sqrt(), atol=1e-3, rtol=0)


def test_twice_as_fast_is_the_same_pattern_but_for_the_last_number() -> None:
    maps = 5 * torch.rand(1, 9, 6, 6)
    faster = maps.clone()
    faster[:, :8] *= 2
    before, after = neighbourhood_histograms(maps)[0], neighbourhood_histograms(faster)[0]
    torch.testing.assert_close(after[:-1], before[:-1], atol=1e-3, rtol=0)
    ratio = torch.tensor(2.0).log().expand(6, 6)
    torch.testing.assert_close(after[-1] - before[-1], ratio, atol=1e-2, rtol=0)


def test_cells_are_means_and_those_of_the_flow_come_first() -> None:
    # A square of 5x5 cells of 32 px moves 3 px to the right.
    flow_uv = torch.zeros(1, 2, 352, 384)
    flow_uv[:, 0, 96:256, 96:256] = 3.0

    maps = cell_motion_maps(flow_uv)
    of_flow = flow_maps(maps)

    assert (maps.shape, of_flow.shape) == ((1, 27, 22, 24), (1, 9, 11, 12))
    expected = torch.zeros(11, 12)
    expected[3:8, 3:8] = 3.0
    torch.testing.assert_close(of_flow[0, 0], expected, atol=1e-3, rtol=0)
    assert of_flow[0, 4].max() < 1e-3  # to the left
    torch.testing.assert_close(of_flow[0, 8], (expected == 0).float(), atol=0.02, rtol=0)
    context = neighbourhood_histograms(of_flow)[0]
    to_the_right = torch.full((25,), 1 / 25).sqrt()
    torch.testing.assert_close(context[:25, 5, 5], to_the_right, atol=0.02, rtol=0)


def test_motion_maps_of_a_half_precision_flow_are_computed_in_single_precision() -> None:
    flow_uv = (5 * torch.randn(1, 2, 64, 64)).half()
    assert torch.equal(cell_motion_maps(flow_uv), cell_motion_maps(flow_uv.float()))
