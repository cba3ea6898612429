"""Stored flow of a clip, cut and mirrored as its frame is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.small_training import HEIGHT, WIDTH, two_clips
from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset, LabelledBox
from tubedet.datasets.augmentation import AugmentationRecipe, ColourChange, View
from tubedet.datasets.batching import BatchShare, TrainingSamples
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.datasets.flow_images import FlowImages, flow_folder
from tubedet.errors import DatasetError
from tubedet.video.preprocess import encode_flow_image

WHOLE = (0, 0, WIDTH, HEIGHT)
LEFT, RIGHT = (160, 128, 160), (64, 144, 200)  # 2 px to the right; 4 px to the left, 1 down


@pytest.fixture
def data(tmp_path: Path) -> AnnotatedDataset:
    return two_clips(tmp_path)


@pytest.fixture
def clip() -> AnnotatedClip:
    boxes = ((LabelledBox(0, (0, 0, 8, 8)),),) * 3
    return AnnotatedClip("walk/v", Path("walk/v.avi"), 0, "v", WIDTH, HEIGHT, boxes)


def write_halves(folder: Path, frame: int = 1, scale: int = 1) -> FlowImages:
    """The image of one frame of video "v", its halves of different motion."""
    image = np.zeros((HEIGHT * scale, WIDTH * scale, 3), dtype=np.uint8)
    image[:, : WIDTH * scale // 2], image[:, WIDTH * scale // 2 :] = LEFT, RIGHT
    (folder / "v").mkdir()
    (folder / "v" / f"{frame + 1:05d}.jpg").write_bytes(encode_flow_image(image))
    return FlowImages(folder)


@pytest.mark.parametrize("scale", [1, 2])
def test_values_stay_and_places_move_with_the_window(
    clip: AnnotatedClip, tmp_path: Path, scale: int
) -> None:
    flow = write_halves(tmp_path, scale=scale)
    colour = ColourChange(hue=0.3, saturation=0.5, value=0.5, grey=True)

    right_half = flow.read(clip, 1, View((WIDTH // 2 + 2, 0, WIDTH, HEIGHT), colour=colour), 32)
    whole = flow.read(clip, 1, View(WHOLE), 32)

    assert np.abs(right_half.astype(int) - RIGHT).max() <= 4
    assert np.abs(whole[:, :14].astype(int) - LEFT).max() <= 4
    assert np.abs(whole[:, 18:].astype(int) - RIGHT).max() <= 4


def test_a_mirrored_actor_moves_the_other_way(clip: AnnotatedClip, tmp_path: Path) -> None:
    seen = write_halves(tmp_path).read(clip, 1, View(WHOLE, flip=True), 32)
    # 2 px to the left is 128 - 32, 4 px to the right 128 + 64; down stays down.
    assert np.abs(seen[:, 18:].astype(int) - (96, 128, 160)).max() <= 4
    assert np.abs(seen[:, :14].astype(int) - (192, 144, 200)).max() <= 4


def test_an_absent_image_is_named(clip: AnnotatedClip, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"00001\.jpg: expected a flow image"):
        write_halves(tmp_path, frame=1).read(clip, 0, View(WHOLE), 32)


def test_a_sample_holds_the_frame_of_its_boxes_and_that_frames_flow(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    for clip in data.clips:
        (tmp_path / clip.path.stem).mkdir()
        for frame in range(clip.frames):
            image = np.full((HEIGHT, WIDTH, 3), 100 + 10 * frame, dtype=np.uint8)
            path = tmp_path / clip.path.stem / f"{frame + 1:05d}.jpg"
            path.write_bytes(encode_flow_image(image))
    samples, plain = (
        TrainingSamples(
            data,
            ClipFrames(),
            seed=0,
            input_size=32,
            share=BatchShare(4),
            recipe=AugmentationRecipe(),
            flow_images=flow,
        )
        for flow in (FlowImages(tmp_path), None)
    )
    for index in range(30):
        rng = np.random.default_rng([0, index])
        at = samples._sampler.draw(rng, index).at
        with_flow, pair = samples.sample(index), plain.sample(index)
        levels = with_flow.clip[1, 1].int()  # green: no flip changes it
        assert ((levels - 100 - 10 * at).abs() <= 2).all()
        # The last frame's pair is that of the frame before it.
        place = 1 if at == data.clips[0].frames - 1 else 0
        assert with_flow.clip[:, 0].equal(pair.clip[:, place])


def test_folders_of_the_data_set_tell_videos_of_one_name_apart(
    clip: AnnotatedClip, tmp_path: Path
) -> None:
    named = replace(clip, video=f"night/{clip.path.stem}")
    assert flow_folder(tmp_path, named) == tmp_path / clip.path.stem

    (tmp_path / "night" / clip.path.stem).mkdir(parents=True)

    assert flow_folder(tmp_path, named) == tmp_path / "night" / clip.path.stem
