"""Crops, flips and colours: the boxes follow, the actor stays, both frames change alike."""

import colorsys
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.light_augmentation import LIGHT
from tubedet.boxes import iou_xyxy
from tubedet.datasets.augmentation import (
    ACTOR_MARGIN,
    BLANK,
    AugmentationRecipe,
    ColourChange,
    View,
    draw_actor_free_window,
    draw_actor_window,
    draw_crop,
    draw_view,
    draw_wider_window,
)

RECIPE = LIGHT
FRAME_WH = (320, 240)
DRAWS = 200
NO_BOXES = np.zeros((0, 4))


def boxes_of(*boxes: tuple[float, float, float, float]) -> NDArray[np.float64]:
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def picture_with(box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Two black frames with the same white rectangle."""
    rgb = np.zeros((2, 240, 320, 3), dtype=np.uint8)
    x1, y1, x2, y2 = box
    rgb[:, y1:y2, x1:x2] = 255
    return rgb


@pytest.mark.parametrize("box", [(100, 60, 180, 200), (0, 0, 320, 240), (300, 0, 320, 20)])
def test_a_crop_keeps_seventy_percent_of_the_actor(box: tuple[float, ...]) -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([box])
    area = (box[2] - box[0]) * (box[3] - box[1])
    for _ in range(DRAWS):
        x1, y1, x2, y2 = draw_actor_window(rng, RECIPE, boxes, FRAME_WH)
        assert 0 <= x1 < x2 <= 320
        assert 0 <= y1 < y2 <= 240
        width = min(x2, box[2]) - max(x1, box[0])
        height = min(y2, box[3]) - max(y1, box[1])
        assert width * height >= 0.7 * area


def test_crops_keep_every_one_of_several_actors() -> None:
    rng = np.random.default_rng(0)
    boxes = boxes_of((10, 10, 60, 100), (200, 120, 290, 230))
    for _ in range(DRAWS):
        view = View(draw_actor_window(rng, RECIPE, boxes, FRAME_WH))
        x1, y1, x2, y2 = view.window
        kept = view.boxes(boxes)
        sides = (kept[:, 2:] - kept[:, :2]) * (x2 - x1, y2 - y1)
        assert (sides.prod(axis=1) > 0.699 * np.array([50 * 90, 90 * 110])).all()


def test_crops_differ_in_size_and_place() -> None:
    rng = np.random.default_rng(0)
    boxes = boxes_of((140, 100, 180, 140))
    windows = {draw_actor_window(rng, RECIPE, boxes, FRAME_WH) for _ in range(DRAWS)}
    assert len(windows) > DRAWS / 2


def test_a_camera_that_drifts_shows_earlier_frames_from_the_other_side() -> None:
    view = View((10, 20, 110, 80), drift_xyxy=(2, 0, 4, -1))
    assert view.later(3).window == (16, 20, 122, 77)
    assert view.later(-2).window == (6, 20, 102, 82)
    assert view.later(0) == view


def test_crops_of_the_paper_are_those_of_yolo2_pytorch() -> None:
    """scale = uniform(1, 1.1); offset = int(uniform() * (scale - 1) * side) px of the enlarged."""
    rng, twin = np.random.default_rng(0), np.random.default_rng(1)
    frame_wh = (3200, 2400)
    scales = twin.uniform(1, 1.1, 4000)
    offsets = (twin.random((4000, 2)) * (scales - 1)[:, None] * frame_wh).astype(int)
    expected = np.stack([1 / scales, *(offsets / scales[:, None] / frame_wh).T])

    drawn = np.array(
        [draw_crop(rng, AugmentationRecipe(), NO_BOXES, frame_wh) for _ in range(4000)]
    )

    x1, y1, x2, y2 = drawn.T / np.tile(frame_wh, 2)[:, None]
    np.testing.assert_allclose(x2 - x1, y2 - y1, atol=5e-4)
    assert (drawn.min(), (x2.max(), y2.max()) <= (1, 1)) == (0, True)
    for found, twins in zip((x2 - x1, x1, y1), expected, strict=True):
        for share in (0.05, 0.25, 0.5, 0.75, 0.95):
            assert np.quantile(found, share) == pytest.approx(np.quantile(twins, share), abs=0.003)


def test_crops_of_the_paper_cut_through_actors_and_lose_those_at_the_edge() -> None:
    boxes = boxes_of((0, 0, 160, 240), (310, 100, 320, 140))
    rng = np.random.default_rng(0)

    views = [View(draw_crop(rng, AugmentationRecipe(), boxes, FRAME_WH)) for _ in range(DRAWS)]

    seen = [view.boxes(boxes) for view in views]
    assert any(left > 0 for left, _, _, _ in (view.window for view in views))
    assert any(second[0] == second[2] for _, second in seen)  # nothing of it is left
    assert all(first[2] > first[0] for first, _ in seen)


def test_a_wider_window_holds_the_whole_frame() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for _ in range(DRAWS):
        x1, y1, x2, y2 = draw_wider_window(rng, replace(LIGHT, max_widening=1.5), FRAME_WH)
        assert max(x1, y1) <= 0
        assert x2 >= 320
        assert y2 >= 240
        widths.append(x2 - x1)
    assert max(widths) <= 480
    assert np.ptp(widths) > 100


def test_beyond_the_frame_and_in_the_blanked_part_there_is_nothing() -> None:
    white = np.full((2, 60, 80, 3), 255, dtype=np.uint8)
    view = View((-80, -60, 80, 60), blank_xyxy=(0.75, 0.5, 1.0, 1.0))

    seen = view.frames(white, 64)

    assert (seen[:, :31] == BLANK).all()
    assert (seen[:, 33:, :31] == BLANK).all()
    assert (seen[:, 33:, 33:48] == 255).all()
    assert (seen[:, 33:, 48:] == BLANK).all()


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("window", [(40, 30, 300, 230), (-100, -20, 340, 310)])
def test_boxes_follow_the_picture(window: tuple[int, int, int, int], flip: bool) -> None:
    box = (100, 60, 180, 200)
    view = View(window, flip=flip)

    seen = view.frames(picture_with(box), 256)
    (found,) = view.boxes(boxes_of(box)) * 256

    rows, columns = np.nonzero(seen[0, :, :, 0] > 200)
    drawn = boxes_of((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
    assert iou_xyxy(drawn, boxes_of(found))[0, 0] > 0.97


def test_a_box_beyond_the_window_is_cut_off_or_left_empty() -> None:
    boxes = View((100, 100, 200, 200)).boxes(boxes_of((50, 150, 150, 250), (0, 0, 50, 50)))
    np.testing.assert_allclose(boxes, boxes_of((0, 0.5, 0.5, 1), (0, 0, 0, 0)))


def test_a_drifting_camera_shows_the_second_frame_from_elsewhere() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (1, 240, 320, 3), dtype=np.uint8)
    view = View((40, 30, 200, 150), flip=True, drift_xyxy=(3, -2, 5, 2))

    seen = view.frames(np.concatenate([frame, frame]), 96)

    for window, shown in zip(((40, 30, 200, 150), (43, 28, 205, 152)), seen, strict=True):
        np.testing.assert_array_equal(shown, View(window, flip=True).frames(frame, 96)[0])


def test_drifts_pan_and_zoom_by_a_hundredth_of_the_window() -> None:
    rng = np.random.default_rng(0)
    recipe = replace(LIGHT, drift_chance=1, drift=0.01)
    drifts = np.array(
        [draw_view(rng, recipe, (0, 0, 1000, 500)).drift_xyxy for _ in range(10 * DRAWS)]
    )
    pans, zooms = drifts[:, :2] + drifts[:, 2:], drifts[:, 2:] - drifts[:, :2]
    np.testing.assert_allclose(pans.std(axis=0) / 2, (10, 5), rtol=0.1)
    np.testing.assert_allclose(zooms.std(axis=0) / 2, (5, 2.5), rtol=0.1)
    assert abs(pans.mean()) < 1


def test_both_frames_change_alike_under_a_camera_that_does_not_drift() -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (1, 240, 320, 3), dtype=np.uint8)
    view = draw_view(rng, replace(LIGHT, drift_chance=0), (10, 20, 300, 200))

    seen = view.frames(np.concatenate([frame, frame]), 96)

    np.testing.assert_array_equal(seen[0], seen[1])


def test_the_whole_frame_unchanged_is_the_plain_stretch() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(View((0, 0, 64, 64)).frames(frame, 64), frame)


def test_colours_change_as_the_definition_of_hsv_says() -> None:
    rgb = np.random.default_rng(0).integers(30, 160, (4, 5, 3), dtype=np.uint8)
    change = ColourChange(hue=0.08, saturation=0.7, value=1.4, grey=False)

    changed = change.apply(rgb)

    for pixel, found in zip(rgb.reshape(-1, 3) / 255, changed.reshape(-1, 3) / 255, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        expected = colorsys.hsv_to_rgb((hue + 0.08) % 1, saturation * 0.7, value * 1.4)
        np.testing.assert_allclose(found, expected, atol=0.03)  # 8-bit hue has 2-degree steps


def test_grey_takes_all_colour_away() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    grey = ColourChange(hue=0.05, saturation=1.2, value=0.9, grey=True).apply(rgb)
    assert (grey == grey[..., :1]).all()
    assert np.ptp(grey) > 0


def test_an_actor_free_window_keeps_clear_of_all_actors() -> None:
    rng = np.random.default_rng(0)
    boxes = boxes_of((120, 90, 160, 150), (150, 100, 190, 160))
    around = boxes + np.array([-1, -1, 1, 1]) * ACTOR_MARGIN
    sides = set()
    for _ in range(DRAWS):
        window = draw_actor_free_window(rng, RECIPE, boxes, FRAME_WH)
        assert window is not None
        assert not iou_xyxy(boxes_of(window), around).any()
        assert 0 <= window[0] < window[2] <= 320
        assert 0 <= window[1] < window[3] <= 240
        sides.add((window[2] <= 120, window[0] >= 190, window[3] <= 90, window[1] >= 160))
    assert {True} == {any(side[i] for side in sides) for i in range(4)}


def test_there_is_no_actor_free_window_when_the_actor_fills_the_frame() -> None:
    rng = np.random.default_rng(0)
    assert draw_actor_free_window(rng, RECIPE, boxes_of((30, 20, 290, 240)), FRAME_WH) is None
