"""The colour wheel, at vectors whose colours follow from the paper's segment lengths."""

import numpy as np
import pytest

from tubedet.render.flow_color import SteadyScale, flow_to_rgb

# The wheel has 15+6+4+11+13+6 = 55 steps; a quarter turn is step 13.75 of the red-yellow segment,
# half a turn step 27.5, 2.5 of 11 behind cyan, three quarters step 41.25, 5.25 of 13 behind blue.
RIGHT, DOWN, LEFT, UP = (
    (255, 0, 0),
    (255, round(255 * 13.75 / 15), 0),
    (0, round(255 * (1 - 2.5 / 11)), 255),
    (round(255 * 5.25 / 13), 0, 255),
)


@pytest.mark.parametrize(
    ("uv", "color"), [((2, 0), RIGHT), ((0, 2), DOWN), ((-2, 0), LEFT), ((0, -2), UP)]
)
def test_a_direction_has_its_colour_on_the_wheel(
    uv: tuple[float, float], color: tuple[int, int, int]
) -> None:
    flow = np.zeros((2, 3, 4))
    flow[:, 1, 2] = uv

    picture = flow_to_rgb(flow)

    assert picture.shape == (3, 4, 3)
    np.testing.assert_allclose(picture[1, 2].astype(int), color, atol=1)
    assert (picture[0, 0] == 255).all()


def test_half_the_speed_is_half_way_to_white_and_above_the_scale_is_darker() -> None:
    flow = np.array([[[0.5, 1.0, 2.0]], [[0.0, 0.0, 0.0]]])

    half, full, above = flow_to_rgb(flow, max_magnitude=1.0)[0]

    assert half.tolist() == [255, 128, 128]
    assert full.tolist() == [255, 0, 0]
    assert above.tolist() == [191, 0, 0]


def test_both_layouts_give_the_same_picture_and_what_is_not_finite_is_black() -> None:
    flow = np.random.default_rng(0).normal(size=(2, 5, 6))
    flow[0, 1, 1], flow[1, 2, 2] = np.nan, np.inf

    picture = flow_to_rgb(flow)

    np.testing.assert_array_equal(picture, flow_to_rgb(flow.transpose(1, 2, 0)))
    assert picture[1, 1].tolist() == picture[2, 2].tolist() == [0, 0, 0]


def test_a_flow_without_motion_is_white_and_a_wrong_shape_is_refused() -> None:
    assert (flow_to_rgb(np.zeros((2, 4, 4))) == 255).all()
    with pytest.raises(ValueError, match=r"not \(3, 4, 4\)"):
        flow_to_rgb(np.zeros((3, 4, 4)))


def test_the_colour_scale_follows_a_faster_move_at_once_and_calms_down_slowly() -> None:
    scale = SteadyScale()
    still, fast = np.zeros((2, 8, 8)), np.stack([np.full((8, 8), 3.0), np.full((8, 8), 4.0)])
    assert scale.follow(still) == 1.0  # noise below a pixel stays pale
    assert scale.follow(fast) == 5.0
    calm = [scale.follow(still) for _ in range(100)]
    assert calm[0] == pytest.approx(5 * 0.98)
    assert calm[-1] == 1.0


def test_a_few_wild_vectors_do_not_set_the_colour_scale() -> None:
    flow = np.full((2, 80, 100), 2.0) * np.array([1.0, 0.0])[:, None, None]
    flow[0, 0, :7] = 500.0
    assert SteadyScale().follow(flow) == 2.0
