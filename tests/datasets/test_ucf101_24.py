"""The UCF101-24 reader, on a tiny layout made here and on the published annotations."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.synthetic_video import write_video
from tests.ucf_layout import BIKING, real_ucf_root, tube, video_record, write_layout
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.datasets.ucf101_24 import VideoAnnotation, load_ucf101_24, read_annotations
from tubedet.errors import DatasetError


def write_biking(root: Path, name: str, **options: Any) -> None:
    write_video(root / "videos" / "Biking" / name, frames=3, **options)


@pytest.fixture(scope="module")
def published() -> dict[str, VideoAnnotation]:
    return read_annotations(real_ucf_root() / "annotations" / "pyannot.pkl")


def test_boxes_are_corners_beyond_the_range_of_their_stored_type(tmp_path: Path) -> None:
    record = video_record(3, tube(1, [[200, 40, 100, 80]]))
    root = write_layout(tmp_path, {"Biking/a_g01_c01": record}, ["Biking/a_g01_c01"])
    write_biking(root, "a_g01_c01.avi")

    (clip,) = load_ucf101_24(root).clips

    assert [[box.box_xyxy for box in boxes] for boxes in clip.boxes_by_frame] == [
        [],
        [(200, 40, 300, 120)],
        [],
    ]
    assert (clip.class_index, clip.group, clip.frames) == (BIKING, "Biking/a_g01", 3)


def test_boxes_are_scaled_to_a_video_of_another_size(tmp_path: Path) -> None:
    record = video_record(3, tube(0, [[32, 24, 160, 120]]), tube(0, [[0, 0, 64, 60]]))
    root = write_layout(tmp_path, {"Biking/a_g01_c01": record}, ["Biking/a_g01_c01"])
    write_biking(root, "a_g01_c01.mp4", width=640, height=256, container="m4v", codec="mpeg4")

    (clip,) = load_ucf101_24(root).clips

    assert (clip.width, clip.height) == (640, 256)
    boxes = [box.box_xyxy for box in clip.boxes_by_frame[0]]
    assert boxes == [pytest.approx((64, 25.6, 384, 153.6)), pytest.approx((0, 0, 128, 64))]


def test_the_list_divides_the_videos_into_test_and_training(tmp_path: Path) -> None:
    records = {f"Biking/{name}": video_record(3) for name in ("a_g01_c01", "b_g08_c01")}
    root = write_layout(tmp_path, records, ["Biking/a_g01_c01"])
    write_biking(root, "a_g01_c01.avi")
    write_biking(root, "b_g08_c01.avi")

    found = {part: load_ucf101_24(root, 1, part).clips for part in ("train", "test", "all")}
    assert {part: [clip.video for clip in clips] for part, clips in found.items()} == {
        "train": ["Biking/b_g08_c01"],
        "test": ["Biking/a_g01_c01"],
        "all": ["Biking/a_g01_c01", "Biking/b_g08_c01"],
    }


def test_absent_videos_are_named_and_not_fatal(tmp_path: Path) -> None:
    records = {f"Biking/{name}": video_record(3) for name in ("a_g01_c01", "b_g01_c02")}
    root = write_layout(tmp_path, records, list(records))
    write_biking(root, "b_g01_c02.avi")

    assert load_ucf101_24(root).missing_videos == ("Biking/a_g01_c01",)


def test_a_part_without_any_video_is_refused(tmp_path: Path) -> None:
    root = write_layout(tmp_path, {"Biking/a_g01_c01": video_record(3)}, ["Biking/a_g01_c01"])

    with pytest.raises(DatasetError, match="none of the 1 videos of part test is there"):
        load_ucf101_24(root)


def test_an_unreadable_video_is_named(tmp_path: Path) -> None:
    root = write_layout(tmp_path, {"Biking/a_g01_c01": video_record(3)}, ["Biking/a_g01_c01"])
    (root / "videos" / "Biking" / "a_g01_c01.avi").write_bytes(b"this is no video")

    with pytest.raises(DatasetError, match="a_g01_c01: a video of the data set is bad"):
        load_ucf101_24(root)


def test_a_tube_longer_than_its_video_is_refused(tmp_path: Path) -> None:
    record = video_record(3, tube(2, [[0, 0, 9, 9], [0, 0, 9, 9]]))
    root = write_layout(tmp_path, {"Biking/a_g01_c01": record}, ["Biking/a_g01_c01"])
    write_biking(root, "a_g01_c01.avi")

    with pytest.raises(DatasetError, match="a_g01_c01: a tube leaves its 3 frames"):
        load_ucf101_24(root)


def test_a_listed_video_without_annotation_is_named(tmp_path: Path) -> None:
    root = write_layout(tmp_path, {"Biking/a_g01_c01": video_record(3)}, ["Biking/z_g01_c01"])

    with pytest.raises(DatasetError, match=r"testlist01\.txt: no annotation of Biking/z_g01_c01"):
        load_ucf101_24(root)


@pytest.mark.parametrize(("split", "part"), [(2, "test"), (1, "validation")])
def test_an_unknown_split_or_part_is_refused(tmp_path: Path, split: int, part: str) -> None:
    with pytest.raises(DatasetError, match="there is split 1 with parts train, test, all"):
        load_ucf101_24(tmp_path, split, part)


class _Malice:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return shutil.rmtree, (str(self.victim),)


def test_a_pickle_that_wants_to_run_code_is_refused_and_runs_none(tmp_path: Path) -> None:
    victim = tmp_path / "precious"
    victim.mkdir()
    file = tmp_path / "pyannot.pkl"
    file.write_bytes(pickle.dumps({"Biking/a": _Malice(victim)}))

    with pytest.raises(DatasetError, match=r"it asks for shutil\.rmtree"):
        read_annotations(file)

    assert victim.is_dir()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"this is no pickle",
        pickle.dumps([1, 2]),
        pickle.dumps({"Biking/a": {"annotations": []}}),
        pickle.dumps({"Biking/a": {"annotations": [{"sf": 0, "ef": 2, "boxes": [1]}]}}),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "pyannot.pkl"
    file.write_bytes(content)

    with pytest.raises(DatasetError, match=r"pyannot\.pkl: .* annotations of UCF101-24"):
        read_annotations(file)


def test_the_published_test_part_has_the_known_counts(
    published: dict[str, VideoAnnotation],
) -> None:
    listed = (real_ucf_root() / "annotations" / "testlist01.txt").read_text().split()
    test = [published[video] for video in listed]
    annotated = [
        {t for first, boxes in video.tubes for t in range(first, first + len(boxes))}
        for video in test
    ]

    assert (len(published), len(test)) == (3194, 910)
    assert sum(video.frames for video in test) == 159_289
    assert sum(map(len, annotated)) == 138_527
    assert sum(len(video.tubes) for video in test) == 1315
    assert sum(len(boxes) for video in test for _, boxes in video.tubes) == 170_580


def test_the_published_boxes_lie_in_frames_of_320_by_240(
    published: dict[str, VideoAnnotation],
) -> None:
    tubes = [boxes for video in published.values() for _, boxes in video.tubes]
    x1, y1, x2, y2 = np.concatenate(tubes).T

    assert len(x1) == 573_862
    assert ((x1 >= 0) & (x1 < x2) & (x2 <= 320)).all()
    assert ((y1 >= 0) & (y1 < y2) & (y2 <= 240)).all()


def test_real_clips_are_as_long_as_their_annotation_and_raw_streams_have_scaled_boxes(
    published: dict[str, VideoAnnotation],
) -> None:
    clips = {clip.video: clip for clip in load_ucf101_24(real_ucf_root()).clips}

    assert len(clips) == 8
    diving = clips["CliffDiving/v_CliffDiving_g03_c01"]
    assert (diving.width, diving.height, diving.frames) == (340, 256, 92)
    stored = published[diving.video].tubes[0].boxes_xyxy[0] * np.array([340, 256, 340, 256])
    (box,) = diving.boxes_by_frame[23]
    assert box.box_xyxy == pytest.approx(stored / np.array([320, 240, 320, 240]))


def test_extracted_frames_stand_for_a_video_and_show_what_it_shows(tmp_path: Path) -> None:
    record = video_record(3, tube(0, [[32, 24, 160, 120]]))
    name = "Biking/a_g01_c01"
    root = write_layout(tmp_path / "100%", {name: record}, [name])
    write_biking(root, "a_g01_c01.avi", width=64, height=48, codec="ffv1", pixel_format="bgr0")
    (video,) = load_ucf101_24(root).clips
    decoded = ClipFrames().of(video)
    folder = root / "rgb-images" / name
    folder.mkdir(parents=True)
    for number, rgb in enumerate(decoded, start=1):
        assert cv2.imwrite(str(folder / f"{number:05d}.jpg"), rgb[..., ::-1])
    video.path.unlink()

    (extracted,) = load_ucf101_24(root).clips

    assert (extracted.width, extracted.height) == (64, 48)
    assert extracted.boxes_by_frame == video.boxes_by_frame
    seen = ClipFrames(tmp_path / "kept").of(extracted)
    assert np.abs(seen.astype(int) - decoded).mean() < 6  # what JPEG loses
    nearest = [np.abs(seen.astype(int) - frame).mean(axis=(1, 2, 3)).argmin() for frame in decoded]
    assert nearest == [0, 1, 2]
