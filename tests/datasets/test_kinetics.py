"""The list of Kinetics and its videos on disk, and what is drawn from them."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.kinetics_layout import HEADER, lay_out_as_kinetics
from tests.synthetic_video import draw_picture, write_video
from tubedet.datasets.augmentation import AugmentationRecipe
from tubedet.datasets.batching import BatchShare
from tubedet.datasets.kinetics import ActionClip, load_kinetics
from tubedet.datasets.kinetics_samples import KineticsSamples, read_pair
from tubedet.errors import DatasetError

ROWS = [
    "pushing cart,-a_B1c2D3e4,12,22,train",
    "abseiling,xxxxxxxxxxx,0,10,train",  # gone from YouTube
    '"bending, back",yyyyyyyyyyy,3,13,train',
    "abseiling,zzzzzzzzzzz,100,110,validate",
    ",wwwwwwwwwww,5,15,test",  # no label is published
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "kinetics.csv").write_text("\n".join([HEADER, *ROWS]) + "\n")
    for name in (
        "train/pushing cart/-a_B1c2D3e4_000012_000022.mp4",
        "yyyyyyyyyyy_000003_000013.mp4",
        "val/zzzzzzzzzzz_000100_000110.mp4",
        "unlisted_000000_000010.mp4",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_videos_are_found_in_folders_or_flat_and_missing_ones_counted(root: Path) -> None:
    data = load_kinetics(root)

    assert data.class_names == ("abseiling", "bending, back", "pushing cart")
    assert [(clip.video, clip.class_index) for clip in data.clips] == [
        ("-a_B1c2D3e4_000012_000022", 2),
        ("yyyyyyyyyyy_000003_000013", 1),
    ]
    assert data.clips[0].path == root / "train" / "pushing cart" / "-a_B1c2D3e4_000012_000022.mp4"
    assert data.missing_videos == ("xxxxxxxxxxx_000000_000010",)


def test_a_video_without_a_label_is_left_out_and_noted(root: Path) -> None:
    with (root / "kinetics.csv").open("a") as file:
        file.write(",vvvvvvvvvvv,0,10,train\n")
    (root / "vvvvvvvvvvv_000000_000010.mp4").touch()

    data = load_kinetics(root)

    assert len(data.clips) == 2
    (note,) = data.notes
    assert note.text.endswith("left out: 1 videos, the first is vvvvvvvvvvv_000000_000010")


def test_a_part_is_what_the_list_says_of_it(root: Path) -> None:
    validation, both = load_kinetics(root, "validation"), load_kinetics(root, "trainval")
    assert [clip.video for clip in validation.clips] == ["zzzzzzzzzzz_000100_000110"]
    assert validation.class_names == both.class_names
    assert len(both.clips) == 3
    assert len({load_kinetics(root).sha256, validation.sha256, both.sha256}) == 3


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("label,youtube_id\n", "lacks split, time_end, time_start"),
        (f"{HEADER}\na,b,1\n", r"list\.csv:2: expected label,youtube_id"),
        (f"{HEADER}\na,b,soon,2,train\n", "expected seconds, found 'soon' and '2'"),
        (f"{HEADER}\na,b,1,2,train\n", "none of the 1 videos of part train is there"),
        (f"{HEADER}\n\xff", "cannot be read"),
    ],
)
def test_a_bad_list_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "list.csv").write_text(text, encoding="latin-1")
    with pytest.raises(DatasetError, match=complaint):
        load_kinetics(tmp_path)


def test_a_folder_without_a_list_and_an_unknown_part_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"expected lists of Kinetics, \*\.csv"):
        load_kinetics(tmp_path)
    with pytest.raises(DatasetError, match="no part 'test'; there are train"):
        load_kinetics(tmp_path, "test")


@pytest.mark.parametrize(("where", "first"), [(0.0, 0), (0.5, 3), (0.999, 6)])
def test_a_pair_is_two_frames_in_a_row(tmp_path: Path, where: float, first: int) -> None:
    path = write_video(tmp_path / "v.mkv", frames=8, width=64, height=48, codec="ffv1")

    pair = read_pair(ActionClip("v", path, 0), where)

    for frame, rgb in zip((first, first + 1), pair, strict=True):
        difference = np.abs(rgb.astype(int) - draw_picture(frame, 64, 48))
        assert difference.mean() < 4, frame  # lossless but for the colours' subsampling


def test_a_single_frame_is_paired_with_itself(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mkv", frames=1, width=64, height=48, codec="ffv1")
    pair = read_pair(ActionClip("v", path, 0), 0.9)
    assert np.array_equal(pair[0], pair[1])


def samples_of(folder: Path, *, broken: int) -> KineticsSamples:
    """One good video, and some of the other action that are none."""
    good = write_video(folder / "good.mp4", frames=5, width=64, height=48)
    bad = folder / "bad.mp4"
    bad.write_bytes(b"this is no video")
    labels = {"juggling": [good] if broken < 20 else [], "archery": [bad] * broken}
    data = load_kinetics(lay_out_as_kinetics(folder / "kinetics", labels))
    return KineticsSamples(
        data, seed=0, input_size=32, share=BatchShare(4), recipe=AugmentationRecipe()
    )


def test_every_clip_comes_once_an_epoch_and_the_same_again_from_the_same_seed(
    tmp_path: Path,
) -> None:
    path = write_video(tmp_path / "v.mp4", frames=5, width=64, height=48)
    root = lay_out_as_kinetics(tmp_path / "k", {label: [path] for label in "abcde"})
    samples, again = (
        KineticsSamples(
            load_kinetics(root),
            seed=3,
            input_size=32,
            share=BatchShare(5),
            recipe=AugmentationRecipe(),
        )
        for _ in range(2)
    )

    first, second = (each.batch(0) for each in (samples, again))

    assert sorted(first.class_indices.tolist()) == [0, 1, 2, 3, 4]
    assert first.clip.shape == (5, 3, 2, 32, 32)
    assert torch.equal(first.clip, second.clip)
    assert torch.equal(samples.sample(3)[0], first.clip[3])


def test_another_video_takes_the_place_of_a_broken_one(tmp_path: Path) -> None:
    samples = samples_of(tmp_path, broken=1)
    classes = [samples.sample(index)[1] for index in range(4)]
    assert classes == [1, 1, 1, 1]  # "juggling" is the second of the classes
    (note,) = samples.notes
    assert re.search(r"left out.*arch0000000_000000_000010\.mp4: expected a video file", note.text)


def test_nothing_but_broken_videos_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="10 videos in a row cannot be read"):
        samples_of(tmp_path, broken=20).sample(0)
