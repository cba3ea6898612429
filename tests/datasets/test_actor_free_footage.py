from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.drawn_jhmdb import draw_jhmdb
from tests.synthetic_video import write_video
from tubedet.datasets.actor_free_footage import (
    MARGIN_PX,
    actor_free_shots,
    fades,
    gliding_view,
    noise,
    still_view,
    titles,
)
from tubedet.datasets.annotated_clips import AnnotatedClip, LabelledBox
from tubedet.datasets.ignore_regions import IgnoreRegions
from tubedet.datasets.jhmdb_21 import load_jhmdb_21

WIDTH, HEIGHT, FRAMES = 100, 80, 5
NOBODY_ELSE = IgnoreRegions({})


def clip_of(*boxes: tuple[float, float, float, float]) -> AnnotatedClip:
    """A clip whose actor is in one box after the other, the last one for the rest of it."""
    placed = [*boxes, *[boxes[-1]] * (FRAMES - len(boxes))]
    labelled = tuple((LabelledBox(0, box),) for box in placed)
    return AnnotatedClip("c", Path("c"), 0, "c", WIDTH, HEIGHT, labelled)


def coordinates() -> NDArray[np.uint8]:
    """Frames whose every pixel says x, y and the frame number."""
    frames = np.zeros((FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8)
    frames[..., 0] = np.arange(WIDTH)
    frames[..., 1] = np.arange(HEIGHT)[:, None]
    frames[..., 2] = np.arange(FRAMES)[:, None, None]
    return frames


def test_the_still_window_is_the_largest_that_nobody_ever_enters() -> None:
    # The actor walks from columns 60..70 to 80..100: with the margin, 52 columns stay free.
    clip = clip_of((60, 10, 70, 70), (80, 10, 100, 70))

    seen = still_view(clip, coordinates(), NOBODY_ELSE)

    assert seen is not None
    assert seen.shape == (FRAMES, 40, 50, 3)  # half of the frame, in its aspect
    assert seen[..., 0].max() < 60 - MARGIN_PX
    assert seen[:, 0, 0, 2].tolist() == [0, 1, 2, 3, 4]
    assert (seen[:, :, :, :2] == seen[0, :, :, :2]).all()


def test_bystanders_are_kept_out_too() -> None:
    clip = clip_of((60, 10, 100, 70))
    regions = IgnoreRegions({"c": {3: np.array([[0.0, 0.0, 12.0, 80.0]])}})

    seen = still_view(clip, coordinates(), regions)

    assert seen is not None
    assert seen.shape == (FRAMES, 24, 30, 3)
    assert 12 + MARGIN_PX <= seen[..., 0].min() <= seen[..., 0].max() < 60 - MARGIN_PX


@pytest.mark.parametrize(
    ("actor", "axis", "edge"),
    [((60, 0, 100, 80), 1, 60), ((0, 50, 100, 80), 0, 50)],
    ids=["down", "across"],
)
def test_the_gliding_window_moves_evenly_one_way_and_stays_clear(
    actor: tuple[float, float, float, float], axis: int, edge: int
) -> None:
    seen = gliding_view(clip_of(actor), coordinates(), NOBODY_ELSE)

    assert seen is not None
    corners = seen[:, 0, 0].astype(int)
    steps = np.diff(corners[:, axis])
    assert steps.min() >= 1
    assert np.ptp(steps) <= 1
    assert np.ptp(corners[:, 1 - axis]) == 0
    assert corners[:, 2].tolist() == [0, 1, 2, 3, 4]
    assert seen[..., 1 - axis].max() < edge - MARGIN_PX


def test_a_clip_full_of_its_actor_has_no_window() -> None:
    clip = clip_of((10, 10, 90, 70))

    assert still_view(clip, coordinates(), NOBODY_ELSE) is None
    assert gliding_view(clip, coordinates(), NOBODY_ELSE) is None


@pytest.mark.parametrize("make", [noise, titles, fades])
def test_made_footage_has_the_length_asked_for_and_is_not_blank(
    make: Callable[[int], Iterator[NDArray[np.uint8]]],
) -> None:
    pictures = list(make(70))

    assert len(pictures) == 70
    assert {picture.shape for picture in pictures} == {(240, 320, 3)}
    assert {picture.dtype for picture in pictures} == {np.dtype(np.uint8)}
    assert min(float(picture.std()) for picture in pictures[:30]) > 5


def test_titles_roll_and_fades_hold_the_next_scene() -> None:
    rolling = list(titles(2))
    assert (rolling[1][:-3] == rolling[0][3:]).all()

    fading = list(fades(60))
    assert (fading[59] == fading[30]).all()
    assert (fading[29] != fading[30]).any()


def test_all_footage_comes_shot_by_shot(tmp_path: Path) -> None:
    root = draw_jhmdb(tmp_path, {"walk": ["a", "b"]}, frames=3, width=96, height=72)
    video = write_video(tmp_path / "street.mp4", frames=2)

    clips = load_jhmdb_21(root, part="test").clips
    shots = actor_free_shots(clips, NOBODY_ELSE, [video], made_frames=4)

    assert [(shot.footage, len(list(shot.frames_rgb))) for shot in shots] == [
        ("still windows", 3),
        ("gliding windows", 3),
        ("still windows", 3),
        ("gliding windows", 3),
        ("street.mp4", 2),
        ("noise", 4),
        ("titles", 4),
        ("fades between drawn scenes", 4),
    ]
