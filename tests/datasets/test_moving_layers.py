import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tubedet.datasets import moving_layers
from tubedet.datasets.flow_sample import FlowSample, pixel_grid
from tubedet.datasets.moving_layers import MovingLayers, photometric_change


@pytest.fixture
def frames() -> NDArray[np.uint8]:
    """Three smooth, colourful pictures, 96 x 72."""
    coarse = np.random.default_rng(0).integers(0, 256, (3, 9, 12, 3), dtype=np.uint8)
    return np.stack([cv2.resize(c, (96, 72), interpolation=cv2.INTER_CUBIC) for c in coarse])


def _gap(sample: FlowSample) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """|first - second| per pixel inside both frames: along the flow, and straight through."""
    first, second = sample.pair_rgb.astype(np.float32)
    height, width = first.shape[:2]
    x, y = pixel_grid(width, height)
    at_x, at_y = x + sample.flow_uv[0], y + sample.flow_uv[1]
    inside = (at_x >= 0) & (at_x <= width - 1) & (at_y >= 0) & (at_y <= height - 1)
    fetched = cv2.remap(second, at_x, at_y, cv2.INTER_LINEAR)
    along, straight = (np.abs(other - first).mean(axis=2)[inside] for other in (fetched, second))
    return along.astype(np.float32), straight.astype(np.float32)


def test_the_second_frame_fetched_along_the_flow_is_the_first_but_for_hidden_pixels(
    frames: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving_layers, "photometric_change", lambda pair, rng: pair)
    gaps = [_gap(MovingLayers(frames, 96).sample(index)) for index in range(12)]
    along, straight = (np.concatenate(side) for side in zip(*gaps, strict=True))
    assert np.quantile(along, 0.8) < 3
    assert np.quantile(straight, 0.8) > 10


def test_a_sample_depends_on_seed_and_index_alone(frames: NDArray[np.uint8]) -> None:
    one = MovingLayers(frames, 64, seed=1)
    one.sample(0)
    again, other = MovingLayers(frames, 64, seed=1).sample(5), one.sample(6)
    np.testing.assert_array_equal(one.sample(5).pair_rgb, again.pair_rgb)
    np.testing.assert_array_equal(one.sample(5).flow_uv, again.flow_uv)
    assert (again.pair_rgb != other.pair_rgb).any()
    assert (again.pair_rgb != MovingLayers(frames, 64, seed=2).sample(5).pair_rgb).any()


def test_samples_hold_rest_slow_and_fast_motion_and_several_motions_at_once(
    frames: NDArray[np.uint8],
) -> None:
    flows = np.stack([MovingLayers(frames, 64).sample(k).flow_uv for k in range(60)])
    speeds = np.hypot(flows[:, 0], flows[:, 1]) * moving_layers.REFERENCE_SIZE / 64
    assert 0.1 < (speeds == 0).mean() < 0.5
    assert (speeds > 10).mean() > 0.03
    assert np.mean([len(np.unique(np.round(flow[0], 1))) > 1 for flow in flows]) > 0.5


def test_photometric_change_keeps_the_pair_alike_and_leaves_its_input_alone() -> None:
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None], (256, 64))
    pair = np.stack([np.dstack([ramp] * 3)] * 2)
    before = pair.copy()
    changed = [photometric_change(pair, np.random.default_rng(seed)) for seed in range(20)]
    np.testing.assert_array_equal(pair, before)
    own = np.mean([np.abs(c[0].astype(float) - pair[0]).mean() for c in changed])
    between = np.mean([np.abs(c[0].astype(float) - c[1]).mean() for c in changed])
    assert own > 2 * between > 0
