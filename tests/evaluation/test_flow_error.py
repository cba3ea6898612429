import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tubedet.datasets.flow_sample import FlowSample
from tubedet.datasets.procedural_flow import procedural_samples
from tubedet.evaluation.flow_error import (
    compare_flow,
    dis_estimator,
    end_point_error,
    network_estimator,
    photometric_error,
    zero_flow,
)


def _sample(flow_uv: tuple[float, float], known: NDArray[np.bool_] | None = None) -> FlowSample:
    flow = np.empty((2, 4, 4), dtype=np.float32)
    flow[0], flow[1] = flow_uv
    pair = np.zeros((2, 4, 4, 3), dtype=np.uint8)
    return FlowSample(pair, flow, np.ones((4, 4), dtype=np.bool_) if known is None else known)


def test_end_point_error_is_the_mean_length_of_the_error_by_speed() -> None:
    error = end_point_error(zero_flow, [_sample((3, 4)), _sample((0, 0.5))])
    assert error.mean_px == pytest.approx(2.75)
    assert error.by_speed_px == pytest.approx({0.0: 0.5, 5.0: 5.0})
    assert error.pixels == 32


def test_unknown_flow_is_not_measured() -> None:
    known = np.zeros((4, 4), dtype=np.bool_)
    assert end_point_error(zero_flow, [_sample((3, 4)), _sample((9, 9), known)]).mean_px == 5
    with pytest.raises(ValueError, match="no pixel"):
        end_point_error(zero_flow, [_sample((9, 9), known)])


def test_photometric_error_compares_the_first_frame_with_what_the_flow_fetches() -> None:
    ramp = np.broadcast_to(10 * np.arange(8, dtype=np.uint8)[:, None], (5, 8, 3))
    pair = np.stack([ramp, np.roll(ramp, 2, axis=1)])
    pair[1, :, :2] = 0  # moved right by 2: fetched two to the right, but for the last two columns

    def right_by_two(pair_rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        return zero_flow(pair_rgb) + np.array([2, 0], dtype=np.float32).reshape(2, 1, 1)

    assert photometric_error(right_by_two, [pair]) == pytest.approx((10 + 20) / 8, abs=1e-3)
    assert photometric_error(zero_flow, [pair]) == pytest.approx((10 + 6 * 20) / 8, abs=1e-3)
    with pytest.raises(ValueError, match="no pair"):
        photometric_error(zero_flow, [])


class _DifferenceOfFrames(nn.Module):
    """u = red of frame 2 minus red of frame 1; v = blue of frame 1."""

    def forward(self, clip: Tensor) -> Tensor:
        return torch.stack([clip[:, 0, 1] - clip[:, 0, 0], clip[:, 2, 0]], dim=1)


def test_a_network_sees_rgb_channel_by_channel_and_frame_by_frame() -> None:
    pair = np.zeros((2, 3, 4, 3), dtype=np.uint8)
    pair[1, 1, 2, 0], pair[0, 1, 2, 2] = 9, 7
    flow = network_estimator(_DifferenceOfFrames())(pair)
    assert flow.shape == (2, 3, 4)
    assert flow[:, 1, 2].tolist() == [9, 7]
    assert np.count_nonzero(flow) == 2


def test_dis_beats_no_motion_in_both_errors() -> None:
    samples = list(procedural_samples(4, size=64))
    rows = compare_flow(
        {"zero": zero_flow, "DIS": dis_estimator("fast")}, samples, [s.pair_rgb for s in samples]
    )
    zero, dis = rows
    assert (zero.estimator, dis.estimator) == ("zero", "DIS")
    assert dis.end_point_error.mean_px < 0.6 * zero.end_point_error.mean_px
    assert dis.photometric_error < 0.6 * zero.photometric_error
