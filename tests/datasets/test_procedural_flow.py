import cv2
import numpy as np
from numpy.typing import NDArray

from tubedet.datasets.flow_sample import pixel_grid
from tubedet.datasets.procedural_flow import FASTEST_PX, procedural_sample, procedural_samples


def test_frames_follow_the_flow_they_come_with() -> None:
    along: list[NDArray[np.float32]] = []
    straight: list[NDArray[np.float32]] = []
    for sample in procedural_samples(8, size=96):
        first, second = sample.pair_rgb.astype(np.float32)
        x, y = pixel_grid(96, 96)
        fetched = cv2.remap(second, x + sample.flow_uv[0], y + sample.flow_uv[1], cv2.INTER_LINEAR)
        for gaps, other in ((along, fetched), (straight, second)):
            gaps.append(np.abs(other - first)[20:-20, 20:-20].ravel())
    assert np.median(along) < 0.5 * np.median(straight)


def test_no_pixel_is_faster_than_promised_and_some_are_nearly_so() -> None:
    speeds = [np.hypot(*sample.flow_uv).max() for sample in procedural_samples(30, size=64)]
    assert 0.7 * FASTEST_PX < max(speeds) <= FASTEST_PX


def test_scenes_turn_zoom_and_hold_independent_objects() -> None:
    flows = [sample.flow_uv for sample in procedural_samples(30, size=64)]
    turning = [np.gradient(flow[1], axis=1)[:3].mean() for flow in flows]
    zooming = [np.gradient(flow[0], axis=1)[:3].mean() for flow in flows]
    edges = [np.abs(np.diff(flow[0], axis=0)).max() for flow in flows]
    assert np.std(turning) > 0.005
    assert np.std(zooming) > 0.005
    assert np.mean(np.array(edges) > 1) > 0.4


def test_a_sample_depends_on_seed_and_index_alone() -> None:
    one, again = procedural_sample(4, 64, seed=1), procedural_sample(4, 64, seed=1)
    np.testing.assert_array_equal(one.pair_rgb, again.pair_rgb)
    np.testing.assert_array_equal(one.flow_uv, again.flow_uv)
    assert (one.pair_rgb != procedural_sample(4, 64, seed=2).pair_rgb).any()
