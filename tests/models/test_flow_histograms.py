"""The motion stream of `light`: what its histograms say of motions whose answer is known."""

import math

import pytest
import torch
from torch import Tensor

from tubedet.models.flow_histograms import (
    CHANNELS,
    DIRECTIONS,
    FlowHistogramStream,
    motion_energies,
    neighbourhood_histograms,
)
from tubedet.models.motion_input import decode_motion, encode_motion


def moving_square(u: float, v: float, camera: tuple[float, float] = (0.0, 0.0)) -> Tensor:
    """Flow (1, 2, 32, 32) of a square of 10x10 before a background that the camera moves."""
    flow = torch.tensor(camera).view(1, 2, 1, 1).repeat(1, 1, 32, 32)
    flow[:, :, 11:21, 11:21] += torch.tensor([u, v]).view(1, 2, 1, 1)
    return flow


@pytest.mark.parametrize("direction", range(DIRECTIONS))
def test_flow_along_an_axis_falls_into_one_direction_with_its_length(direction: int) -> None:
    angle = 2 * math.pi * direction / DIRECTIONS
    energies = motion_energies(moving_square(3 * math.cos(angle), 3 * math.sin(angle)))
    expected = torch.zeros(DIRECTIONS)
    expected[direction] = 3.0
    torch.testing.assert_close(energies[0, :DIRECTIONS, 15, 15], expected, atol=1e-4, rtol=0)
    assert energies[0, DIRECTIONS, 15, 15] < 1e-3  # far from still
    assert energies[0, DIRECTIONS, 2, 2] > 0.98


def test_a_moving_camera_changes_nothing() -> None:
    still, panned = (
        motion_energies(moving_square(2.0, 1.0, by)) for by in ((0.0, 0.0), (5.0, -3.0))
    )
    torch.testing.assert_close(still, panned, atol=1e-4, rtol=1e-4)


def test_gradients_are_those_of_the_flow_at_the_edges_of_what_moves() -> None:
    energies = motion_energies(moving_square(4.0, 0.0))
    of_u = energies[0, DIRECTIONS + 1 : 2 * DIRECTIONS + 1]
    of_v = energies[0, 2 * (DIRECTIONS + 1) : 3 * DIRECTIONS + 2]
    # Sobel / 8 spreads a step of 4 px over two vectors: 2 px a vector, rightwards at the left edge.
    torch.testing.assert_close(of_u[0, 15, 10], torch.tensor(2.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(of_u[4, 15, 21], torch.tensor(2.0), atol=1e-3, rtol=0)
    assert of_u[:, 15, 15].sum() < 0.01
    assert of_v.sum() < 0.01 * of_u.sum()


def test_neighbourhood_is_the_shares_around_a_cell() -> None:
    energies = torch.zeros(1, CHANNELS, 7, 7)
    energies[0, 2, 3, 3], energies[0, 5, 4, 3] = 9.0, 3.0
    out = neighbourhood_histograms(energies)[0, :, 3, 3]
    in_cells = out[: 3 * DIRECTIONS * 25].view(3, DIRECTIONS, 5, 5)
    torch.testing.assert_close(in_cells[0, 2, 2, 2], torch.tensor(0.75).sqrt(), atol=1e-3, rtol=0)
    torch.testing.assert_close(in_cells[0, 5, 3, 2], torch.tensor(0.5), atol=1e-3, rtol=0)
    together = out[3 * DIRECTIONS * 25 :][: 3 * DIRECTIONS].view(3, DIRECTIONS)
    torch.testing.assert_close(together[0, 2], torch.tensor(0.75).sqrt(), atol=1e-3, rtol=0)
    # Twice as fast is the same pattern; only the last three numbers say how fast.
    faster = neighbourhood_histograms(2 * energies)[0, :, 3, 3]
    torch.testing.assert_close(faster[:-3], out[:-3], atol=1e-3, rtol=0)
    torch.testing.assert_close(faster[-3] - out[-3], torch.tensor(2.0).log(), atol=1e-2, rtol=0)


def test_stream_reads_the_encoding_of_the_flow() -> None:
    flow = torch.randn(1, 2, 64, 96) * 5
    torch.testing.assert_close(decode_motion(encode_motion(flow)), flow, atol=1e-4, rtol=1e-4)
    stream = FlowHistogramStream().eval()
    features = stream(encode_motion(flow))
    assert features.shape == (1, 128 + 702, 2, 3)
    assert torch.isfinite(features).all()
