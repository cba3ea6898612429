"""Windows of steps from clips whose frames are numbered by their grey."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.light_augmentation import LIGHT
from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset, LabelledBox
from tubedet.datasets.augmentation import STILL, AugmentationRecipe, View
from tubedet.datasets.batching import NO_CLASS, BatchShare
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.datasets.step_windows import StepWindows, _kept_empty, frames_a_step

FRAMES, WIDTH, HEIGHT, SIZE = 40, 64, 48, 32
UNCHANGED = replace(AugmentationRecipe(), max_scale=1.0, flip_chance=0.0, hue=0.0)
UNCHANGED = replace(UNCHANGED, saturation=1.0, exposure=1.0)
BOX = (16.0, 12.0, 48.0, 36.0)


def grey_of(frame: int) -> int:
    return 40 + 4 * frame


class GreyFrames(ClipFrames):
    """30 frames a second, none of them in a file."""

    def length(self, clip: AnnotatedClip) -> int:
        """As annotated."""
        return clip.frames

    def rate(self, clip: AnnotatedClip) -> float:
        """Of all clips."""
        return 30.0

    def window(self, clip: AnnotatedClip, frames: range) -> NDArray[np.uint8]:
        """Each in its grey."""
        return np.stack([np.full((HEIGHT, WIDTH, 3), grey_of(f), np.uint8) for f in frames])


@pytest.fixture
def data() -> AnnotatedDataset:
    """A clip of 40 and one of 20 frames, of two classes."""
    clips = []
    for class_index, (label, frames) in enumerate((("walk", FRAMES), ("run", FRAMES // 2))):
        boxes = ((LabelledBox(class_index, BOX),),) * frames
        clips.append(AnnotatedClip(label, Path(label), class_index, label, WIDTH, HEIGHT, boxes))
    return AnnotatedDataset("d", 1, "train", ("walk", "run"), tuple(clips))


def windows_of(data: AnnotatedDataset, **changes: Any) -> StepWindows:
    arguments: dict[str, Any] = {
        "seed": 0,
        "input_size": SIZE,
        "share": BatchShare(2),
        "recipe": UNCHANGED,
        **changes,
    }
    return StepWindows(data, GreyFrames(), **arguments)


def numbers(pictures: torch.Tensor) -> list[int]:
    """Which frames pictures (N, 3, S, S) show."""
    return ((pictures.float().mean(dim=(1, 2, 3)) - grey_of(0)) / 4).round().int().tolist()


def test_steps_are_a_fifteenth_of_a_second_apart_and_end_with_the_pair_of_the_last_judged(
    data: AnnotatedDataset,
) -> None:
    windows = windows_of(data, judged=3, lengths={8: 1.0})
    last_judged = set()
    for index in range(40):
        sample = windows.sample(index)
        steps = numbers(sample.steps)
        assert np.diff(steps).tolist() == [2] * 7
        for number, judged in zip(sample.step_of_judged, sample.judged, strict=True):
            first, second = numbers(judged.clip.transpose(0, 1))
            # Its pair ends at the step, or one frame behind it.
            assert second == first + 1
            assert steps[number] in (first, second)
            assert 4 <= number < 8
            torch.testing.assert_close(judged.boxes_xyxy, torch.tensor([[0.25, 0.25, 0.75, 0.75]]))
        assert sample.step_of_judged[0] == 7
        last_judged.add(steps[7] - numbers(sample.judged[0].clip.transpose(0, 1))[0])
        assert sample.seconds == pytest.approx(1 / 30)
    assert last_judged == {0, 1}


@pytest.mark.parametrize(("rate", "spacing"), [(5, 1), (15, 1), (24, 2), (30, 2), (50, 3), (60, 4)])
def test_frames_a_step_make_up_about_a_fifteenth_of_a_second(rate: float, spacing: int) -> None:
    assert frames_a_step(rate) == spacing


def test_only_clips_that_are_long_enough_are_drawn_if_there_are_any(
    data: AnnotatedDataset,
) -> None:
    # Twelve steps take 23 frames, and the clip of running has 20.
    windows = windows_of(data, lengths={12: 1.0})
    classes = {int(frame.class_indices) for i in range(30) for frame in windows.sample(i).judged}
    assert classes == {0}


def test_a_clip_that_is_too_short_stands_still_before_it_begins(data: AnnotatedDataset) -> None:
    short = replace(data, class_names=("run",), clips=(with_class(data.clips[1], 0),))
    steps = numbers(windows_of(short, lengths={12: 1.0}).sample(0).steps)
    assert steps[0] == 0
    assert all(step in (0, 1, 2) for step in np.diff(steps))
    assert np.diff(steps).tolist() == sorted(np.diff(steps).tolist())


def with_class(clip: AnnotatedClip, class_index: int) -> AnnotatedClip:
    boxes = tuple(
        tuple(box._replace(class_index=class_index) for box in frame)
        for frame in clip.boxes_by_frame
    )
    return replace(clip, class_index=class_index, boxes_by_frame=boxes)


def test_frames_of_which_nothing_is_known_are_not_judged(data: AnnotatedDataset) -> None:
    boxes = data.clips[0].boxes_by_frame
    sparse = tuple(each if frame % 10 == 9 else () for frame, each in enumerate(boxes))
    clips = (replace(data.clips[0], boxes_by_frame=sparse), data.clips[1])
    windows = windows_of(replace(data, clips=clips), lengths={4: 1.0}, judged=3)
    for index in range(30):
        for frame in windows.sample(index).judged:
            assert len(frame.boxes_xyxy) == 1


def test_a_sample_is_a_function_of_the_seed_and_its_number(data: AnnotatedDataset) -> None:
    recipe = LIGHT
    first, again = (windows_of(data, recipe=recipe) for _ in range(2))
    again.sample(0)
    for index in (7, 3):
        one, other = first.sample(index), again.sample(index)
        assert torch.equal(one.steps, other.steps)
        assert torch.equal(one.judged[1].clip, other.judged[1].clip)
    another = windows_of(data, recipe=recipe, seed=1).sample(3)
    assert another.steps.shape != one.steps.shape or not torch.equal(another.steps, one.steps)


def test_lengths_are_drawn_by_batch_and_as_often_as_said(data: AnnotatedDataset) -> None:
    windows = windows_of(data, lengths={8: 0.75, 1: 0.25})
    lengths = [windows.length(index) for index in range(4000)]
    assert lengths[::2] == lengths[1::2]
    assert np.mean(np.array(lengths) == 8) == pytest.approx(0.75, abs=0.03)


def test_a_batch_keeps_windows_and_their_judged_frames_together(data: AnnotatedDataset) -> None:
    recipe = replace(LIGHT, background_chance=0.5)
    windows = windows_of(data, recipe=recipe, share=BatchShare(6, rank=1, count=2))
    batch = windows.batch(step=4)
    judged = batch.judged()
    assert batch.steps.dtype == batch.clip.dtype == torch.uint8
    assert batch.clip.shape == (3, 2, 3, 2, SIZE, SIZE)
    for place, index in enumerate(range(27, 30)):
        sample = windows.sample(index)
        assert torch.equal(batch.steps[place], sample.steps)
        assert batch.step_of_judged[place].tolist() == sample.step_of_judged
        for number, frame in enumerate(sample.judged):
            row = 2 * place + number
            count = len(frame.boxes_xyxy)
            assert torch.equal(judged.clip[row], frame.clip)
            assert torch.equal(judged.boxes_xyxy[row, :count], frame.boxes_xyxy)
            assert (judged.class_indices[row, count:] == NO_CLASS).all()


def test_one_flip_and_colour_is_drawn_for_a_window(data: AnnotatedDataset) -> None:
    recipe = replace(UNCHANGED, exposure=1.5)
    for index in range(10):
        sample = windows_of(data, recipe=recipe, lengths={4: 1.0}).sample(index)
        greys = sample.steps.float().mean(dim=(1, 2, 3)).clamp(max=250)
        # Frames grow brighter by 8 times one factor, as long as they aren't white.
        assert greys.diff().max() - greys.diff()[greys[1:] < 250].min() < 2.0


def test_an_actor_free_window_is_free_of_the_boxes_of_all_its_frames(
    data: AnnotatedDataset,
) -> None:
    walk = tuple((LabelledBox(0, (f, 0.0, f + 8.0, 48.0)),) for f in range(FRAMES))
    clips = (replace(data.clips[0], boxes_by_frame=walk), data.clips[1])
    recipe = replace(LIGHT, background_chance=1.0, min_side=0.2, drift_chance=1.0)
    windows = windows_of(replace(data, clips=clips), recipe=recipe, lengths={12: 1.0})
    for index in range(10):
        assert [len(frame.boxes_xyxy) for frame in windows.sample(index).judged] == [0, 0]


def test_an_actor_free_window_drifts_as_far_as_it_stays_empty_and_inside() -> None:
    steps, frame_wh, actor = [0, 20], (320, 240), np.array([[200.0, 0.0, 320.0, 240.0]])
    right, left = (1, 0, 1, 0), (-1, 0, -1, 0)
    for window, drift, kept in [
        ((20, 0, 100, 100), right, right),
        ((19, 0, 100, 100), right, STILL),  # 20 frames earlier it would begin at -1
        ((20, 0, 199, 100), right, right),
        ((20, 0, 200, 100), right, STILL),  # the second frame of the last pair would show an actor
        ((20, 0, 180, 100), left, left),
        ((20, 0, 181, 100), left, STILL),
        ((100, 100, 140, 140), (1, 1, -1, -1), (1, 1, -1, -1)),
        ((100, 100, 140, 140), (-1, -1, 1, 1), STILL),  # it would have had no size
    ]:
        view = _kept_empty(View(window, drift_xyxy=drift), steps, actor, frame_wh)
        assert view == View(window, drift_xyxy=kept)


def test_a_mosaic_shows_four_windows_at_half_the_size_each_with_its_boxes(
    data: AnnotatedDataset,
) -> None:
    recipe = replace(UNCHANGED, mosaic_chance=1.0)
    windows = windows_of(data, recipe=recipe, lengths={8: 1.0}, judged=3)
    quarter = torch.tensor([0.125, 0.125, 0.375, 0.375])
    corners = [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5)]
    expected = torch.stack([quarter + torch.tensor([x, y, x, y]) for x, y in corners])
    for index in range(20):
        sample = windows.sample(index)
        assert sample.steps.shape == (8, 3, SIZE, SIZE)
        for place, (x, y) in enumerate(corners):
            across = slice(round(x * SIZE), round(x * SIZE) + SIZE // 2)
            down = slice(round(y * SIZE), round(y * SIZE) + SIZE // 2)
            steps = numbers(sample.steps[..., down, across])
            assert np.diff(steps).tolist() == [2] * 7
            for number, judged in zip(sample.step_of_judged, sample.judged, strict=True):
                first, second = numbers(judged.clip.transpose(0, 1)[..., down, across])
                assert second == first + 1
                assert steps[number] in (first, second)
                # The shorter clip, of running, has 20 frames.
                assert int(judged.class_indices[place]) == 0 or second < 20
                torch.testing.assert_close(judged.boxes_xyxy, expected)


def test_about_as_many_samples_are_mosaics_as_asked(data: AnnotatedDataset) -> None:
    windows = windows_of(data, recipe=replace(UNCHANGED, mosaic_chance=0.25), lengths={1: 1.0})
    boxes = [len(windows.sample(index).judged[0].boxes_xyxy) for index in range(400)]
    assert set(boxes) == {1, 4}
    assert np.mean(np.array(boxes) == 4) == pytest.approx(0.25, abs=0.07)
