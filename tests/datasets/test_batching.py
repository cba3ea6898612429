"""Samples and batches from videos made here: a white square on grey, labelled as the actor."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.light_augmentation import LIGHT
from tests.synthetic_video import square_xyxy, write_video
from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset, LabelledBox
from tubedet.datasets.augmentation import View
from tubedet.datasets.batching import BatchShare, TrainingSamples, make_sample
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.datasets.frame_pair_sampling import pair_at
from tubedet.datasets.ignore_regions import IgnoreRegions

FRAMES, WIDTH, HEIGHT, SIZE = 5, 160, 120, 96


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> AnnotatedDataset:
    folder = tmp_path_factory.mktemp("clips")
    clips = []
    for class_index, label in enumerate(("walk", "run")):
        path = write_video(folder / f"{label}.avi", frames=FRAMES, width=WIDTH, height=HEIGHT)
        squares = (square_xyxy(t, WIDTH, HEIGHT) for t in range(FRAMES))
        boxes = tuple((LabelledBox(class_index, square),) for square in squares)
        clips.append(AnnotatedClip(label, path, class_index, label, WIDTH, HEIGHT, boxes))
    return AnnotatedDataset("d", 1, "train", ("walk", "run"), tuple(clips))


@pytest.fixture(scope="module")
def frames() -> ClipFrames:
    return ClipFrames()


def samples_of(data: AnnotatedDataset, frames: ClipFrames, **changes: Any) -> TrainingSamples:
    arguments: dict[str, Any] = {"seed": 0, "input_size": SIZE, "share": BatchShare(4), **changes}
    return TrainingSamples(data, frames, **arguments)


def test_a_sample_shows_the_actor_inside_its_box(
    data: AnnotatedDataset, frames: ClipFrames
) -> None:
    recipe = replace(
        LIGHT,
        background_chance=0,
        blank_chance=0,
        hue=0,
        saturation=1,
        exposure=1,
        max_widening=1.6,
    )
    samples = samples_of(data, frames, recipe=recipe)
    for index in range(20):
        sample = samples.sample(index)
        assert sample.clip.shape == (3, 2, SIZE, SIZE)
        assert sample.clip.dtype == torch.uint8
        assert sample.class_indices.dtype == torch.int64
        (x1, y1, x2, y2) = (sample.boxes_xyxy[0] * SIZE).round().int().tolist()
        # The box is that of one of the frames; squares move by 2 px only.
        inside = sample.clip[:, :, y1 + 5 : y2 - 5, x1 + 6 : x2 - 6]
        assert inside.numel() > 0
        assert inside.min() > 180


def test_the_box_of_the_last_frame_belongs_to_the_second_of_the_pair(
    data: AnnotatedDataset, frames: ClipFrames
) -> None:
    clip = data.clips[0]
    whole = View((0, 0, WIDTH, HEIGHT))
    last = make_sample(pair_at(clip, FRAMES - 1), whole, SIZE, frames, IgnoreRegions({}))
    before = make_sample(pair_at(clip, FRAMES - 2), whole, SIZE, frames, IgnoreRegions({}))

    assert torch.equal(last.clip, before.clip)
    scale = np.array([WIDTH, HEIGHT] * 2)
    assert (last.boxes_xyxy[0].numpy() * scale).tolist() == pytest.approx(
        square_xyxy(FRAMES - 1, WIDTH, HEIGHT), abs=1e-4
    )


def test_a_drifting_camera_takes_the_box_of_the_second_frame_along(
    data: AnnotatedDataset, frames: ClipFrames
) -> None:
    clip = data.clips[0]
    view = View((10, 10, 110, 110), drift_xyxy=(-5, 0, -5, 0))

    last = make_sample(pair_at(clip, FRAMES - 1), view, SIZE, frames, IgnoreRegions({}))

    x1, y1, x2, y2 = square_xyxy(FRAMES - 1, WIDTH, HEIGHT)
    expected = [(x1 - 5) / 100, (y1 - 10) / 100, (x2 - 5) / 100, (y2 - 10) / 100]
    torch.testing.assert_close(last.boxes_xyxy, torch.tensor([expected]))


def test_an_actor_free_sample_shows_no_actor_and_has_no_box(
    data: AnnotatedDataset, frames: ClipFrames
) -> None:
    recipe = replace(LIGHT, background_chance=1, hue=0, saturation=1, exposure=1, grey_chance=0)
    samples = samples_of(data, frames, recipe=recipe)
    for index in range(20):
        sample = samples.sample(index)
        assert (len(sample.boxes_xyxy), len(sample.class_indices)) == (0, 0)
        assert sample.clip.amin(dim=0).max() < 200  # nowhere white


def test_ignore_regions_follow_the_crop_and_hidden_ones_are_left_out(
    data: AnnotatedDataset, frames: ClipFrames
) -> None:
    regions = IgnoreRegions({"walk": {0: np.array([[80.0, 60, 120, 90], [0, 0, 20, 20]])}})
    view = View((60, 40, 160, 120), flip=True)

    sample = make_sample(pair_at(data.clips[0], 2), view, SIZE, frames, regions)

    torch.testing.assert_close(sample.ignore_xyxy, torch.tensor([[0.4, 0.25, 0.8, 0.625]]))


def test_a_frame_that_a_video_lacks_gives_way_to_the_last_annotated_one(
    data: AnnotatedDataset,
) -> None:
    clip = data.clips[0]
    boxes = clip.boxes_by_frame
    longer = replace(clip, boxes_by_frame=(*boxes[:-1], (), boxes[-1], boxes[-1]))
    samples = samples_of(data, ClipFrames())

    pairs = [samples._existing(pair_at(longer, frame)) for frame in range(FRAMES + 2)]

    # Frames 5 and 6 are not in the video, in frame 4 nobody is annotated.
    assert [pair.at for pair in pairs] == [0, 1, 2, 3, 4, 3, 3]
    assert [pair.first for pair in pairs] == [0, 1, 2, 3, 3, 3, 3]
    assert len(samples.notes) == 1


def test_the_samples_of_processes_together_are_those_of_one() -> None:
    both = [BatchShare(6, rank, count=2).samples_of(5) for rank in (0, 1)]

    assert [list(share) for share in both] == [[30, 31, 32], [33, 34, 35]]
    assert BatchShare(6).samples_of(5) == range(30, 36)


def test_another_seed_gives_other_samples(data: AnnotatedDataset, frames: ClipFrames) -> None:
    one, other = (samples_of(data, frames, seed=seed).sample(0) for seed in (0, 1))

    assert not torch.equal(one.clip, other.clip)


def test_a_batch_keeps_boxes_by_sample(data: AnnotatedDataset, frames: ClipFrames) -> None:
    samples = samples_of(data, frames, share=BatchShare(16, rank=1, count=2))

    batch = samples.batch(step=2)

    assert batch.clip.shape == (8, 3, 2, SIZE, SIZE)
    for place, index in enumerate(range(40, 48)):
        boxes = samples.sample(index).boxes_xyxy
        assert torch.equal(batch.boxes_xyxy[place, : len(boxes)], boxes)
