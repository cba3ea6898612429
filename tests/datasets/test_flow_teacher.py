import cv2
import numpy as np
from numpy.typing import NDArray

from tubedet.datasets.flow_teacher import TaughtPairs, consistent, dis_flow


def _texture(width: int, height: int) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def _shifted_pair() -> NDArray[np.uint8]:
    """What is at (x, y) in the first frame is at (x + 3, y - 2) in the second."""
    wide = _texture(140, 120)
    return np.stack([wide[10:106, 10:106], wide[12:108, 7:103]])


def test_dis_flow_has_u_to_the_right_and_v_down() -> None:
    flow = dis_flow(_shifted_pair())
    assert flow.shape == (2, 96, 96)
    np.testing.assert_allclose(np.median(flow, axis=(1, 2)), [3, -2], atol=0.1)


def test_flow_is_consistent_where_the_way_back_undoes_it_within_the_frame() -> None:
    forward = np.zeros((2, 4, 8), dtype=np.float32)
    forward[0] = 2
    backward = -forward
    backward[0, 1] = 0  # the second row says that nothing moved
    expected = np.ones((4, 8), dtype=np.bool_)
    expected[:, 6:] = False  # leaves the frame
    expected[1] = False
    np.testing.assert_array_equal(consistent(forward, backward), expected)


def test_a_taught_sample_is_a_stored_pair_with_its_flow_and_always_the_same() -> None:
    teacher = TaughtPairs(_shifted_pair()[None], size=64, seed=3)
    sample, again = teacher.sample(7), teacher.sample(7)
    assert sample.pair_rgb.shape == (2, 64, 64, 3)
    np.testing.assert_array_equal(sample.flow_uv, dis_flow(sample.pair_rgb))
    assert sample.known.mean() > 0.7
    np.testing.assert_array_equal(sample.pair_rgb, again.pair_rgb)


def test_views_come_mirrored_and_backwards_too() -> None:
    teacher = TaughtPairs(_shifted_pair()[None], size=64)
    directions = {tuple(np.sign(np.median(teacher.sample(k).flow_uv, (1, 2)))) for k in range(20)}
    assert directions == {(1, -1), (-1, -1), (-1, 1), (1, 1)}
