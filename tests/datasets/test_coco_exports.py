"""COCO as CVAT writes it, and what else its files hold beside boxes."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.synthetic_video import write_video
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.named_datasets import load_named_dataset
from tubedet.errors import DatasetError

FRAMES, WIDTH, HEIGHT = 6, 64, 48


def coco(
    frames: list[int], annotations: list[dict[str, Any]], name: str = "frame_{:06d}.PNG"
) -> dict[str, Any]:
    """Images of these frames; an annotation names one by its number in that list, from 1."""
    return {
        "licenses": [{"name": "", "id": 0, "url": ""}],
        "info": {"contributor": "", "date_created": "", "description": "", "version": ""},
        "categories": [{"id": 1, "name": "walk", "supercategory": ""}],
        "images": [
            {"id": n, "width": WIDTH, "height": HEIGHT, "file_name": name.format(frame)}
            for n, frame in enumerate(frames, start=1)
        ],
        "annotations": [
            {"id": n, "category_id": 1, "segmentation": [], "iscrowd": 0, **annotation}
            for n, annotation in enumerate(annotations, start=1)
        ],
    }


def box(image: int, **more: Any) -> dict[str, Any]:
    attributes = {"occluded": False, "rotation": 0.0, "track_id": 3, "keyframe": True}
    return {"image_id": image, "bbox": [10.0, 10.0, 20.0, 10.0], "attributes": attributes, **more}


def load(root: Path) -> AnnotatedDataset:
    return load_named_dataset(f"coco:{root}", 1, "all")


def texts(data: AnnotatedDataset) -> list[str]:
    return [note.text for note in data.notes]


def written(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def video(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames=FRAMES, width=WIDTH, height=HEIGHT)


@pytest.mark.parametrize(
    ("annotations", "beside", "name", "is_guess"),
    [
        ("instances_default.json", "a.mp4", "a", True),
        ("annotations/instances_default.json", "a.mp4", "a", True),
        ("day/annotations/instances_default.json", "day/a.mp4", "day/a", True),
        ("a/annotations/instances_default.json", "a.mp4", "a", False),
        ("a.json", "a.mp4", "a", False),
        ("a/instances_default.json", "a/b.mp4", "a/b", True),
        ("a.zip", "a.mp4", "a", False),
        ("day/task_5_coco 1.0.zip", "day/a.MKV", "day/a", True),
    ],
)
def test_frames_of_cvat_count_from_0_in_the_video_beside_them(
    tmp_path: Path, annotations: str, beside: str, name: str, is_guess: bool
) -> None:
    video(tmp_path / beside)
    content = coco([0, 2, 5], [box(2)])
    if annotations.endswith(".zip"):
        with zipfile.ZipFile(tmp_path / annotations, "w") as archive:
            archive.writestr("annotations/instances_default.json", json.dumps(content))
            archive.writestr("images/frame_000000.PNG", "")
    else:
        written(tmp_path / annotations, content)

    data = load(tmp_path)

    (clip,) = data.clips
    assert (clip.video, clip.examined_frames) == (name, frozenset({0, 2, 5}))
    assert clip.boxes_by_frame[2] == ((0, (10.0, 10.0, 30.0, 20.0), 3),)
    assert any("names no video" in text for text in texts(data)) == is_guess


def test_one_folder_a_video_is_several_videos(tmp_path: Path) -> None:
    for name in "ab":
        video(tmp_path / name / f"{name}.mp4")
        written(tmp_path / name / "annotations" / "instances_default.json", coco([0], [box(1)]))

    assert [clip.video for clip in load(tmp_path).clips] == ["a/a", "b/b"]


def test_the_folder_of_annotations_may_be_the_data_set(tmp_path: Path) -> None:
    video(tmp_path / "annotations.mp4")  # not of this data set
    video(tmp_path / "annotations" / "a.mp4")
    written(tmp_path / "annotations" / "instances_default.json", coco([0], [box(1)]))

    assert [clip.video for clip in load(tmp_path / "annotations").clips] == ["a"]


def test_a_named_video_may_lie_beside_its_own_annotation(tmp_path: Path) -> None:
    video(tmp_path / "day" / "a.mp4")
    content = coco([1], [box(1)], "a/frame_{:06d}.PNG")
    written(tmp_path / "day" / "annotations" / "instances_default.json", content)

    assert [clip.video for clip in load(tmp_path).clips] == ["day/a"]


@pytest.mark.parametrize("folder", ["a", "images/a", "images/default/a", "a.mp4"])
def test_images_in_folders_are_named_by_them(tmp_path: Path, folder: str) -> None:
    video(tmp_path / "a.mp4")
    video(tmp_path / "b.mp4")
    written(tmp_path / "all.json", coco([1], [box(1)], folder + "/frame_{:06d}.PNG"))

    (clip,) = load(tmp_path).clips

    assert clip.video == "a"
    assert clip.boxes_by_frame[1]


@pytest.mark.parametrize("name", ["img_{}.png", "{}.png", "a/frame-{}.png", "a/b"])
def test_other_names_of_images_are_refused_in_words(tmp_path: Path, name: str) -> None:
    video(tmp_path / "a.mp4")
    path = written(tmp_path / "all.json", coco([1], [box(1)], name))

    with pytest.raises(DatasetError) as raised:
        load(tmp_path)

    assert str(raised.value).startswith(f"{path}: ")
    assert f"frame_<number>.png from 0 on as CVAT writes them, found {name.format(1)}" in str(
        raised.value
    )


def test_what_is_no_box_is_left_out_and_counted(tmp_path: Path) -> None:
    video(tmp_path / "a.mp4")
    outline = {"image_id": 2, "segmentation": [[1, 1, 9, 1, 9, 9]], "area": 32.0}
    crowd = box(3, iscrowd=1)
    turned = box(4, attributes={"rotation": 90.0})  # 20x10 about (20, 15)
    written(tmp_path / "a.json", coco(list(range(6)), [box(1), outline, crowd, turned]))

    data = load(tmp_path)

    (clip,) = data.clips
    assert clip.boxes_by_frame[3][0].box_xyxy == pytest.approx((15, 5, 25, 25))
    assert [bool(boxes) for boxes in clip.boxes_by_frame] == [
        True,
        False,
        False,
        True,
        *[False] * 2,
    ]
    assert clip.background_frames == [4, 5]
    assert texts(data) == [
        "a: annotated otherwise than by boxes, left out: annotation without bbox (1), "
        "crowd or mask (1)",
        "a: turned boxes, replaced by the upright ones around them (1)",
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"annotations": [box(9)]}, "an annotation is of image 9, which is not listed"),
        ({"categories": []}, "an annotation is of category 1, which is not listed"),
        ({"categories": [{"id": 1, "name": n} for n in "ab"]}, "two categories or images have one"),
        ({"annotations": [{**box(1), "category_id": 1, "bbox": [30, 1, 40, 9]}]}, "inside 64x48"),
        ({"annotations": [{**box(1), "category_id": 1, "bbox": [30, 1, -9, 9]}]}, "inside 64x48"),
    ],
)
def test_what_makes_the_truth_wrong_is_refused(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    video(tmp_path / "a.mp4")
    written(tmp_path / "a.json", {**coco([0], [box(1)]), **change})

    with pytest.raises(DatasetError, match=said):
        load(tmp_path)


def test_images_of_two_sizes_are_no_video(tmp_path: Path) -> None:
    video(tmp_path / "a.mp4")
    content = coco([0, 1], [box(1)])
    content["images"][1]["width"] = 2 * WIDTH
    written(tmp_path / "a.json", content)

    with pytest.raises(DatasetError, match=r"images of one video are \(64, 48\) and \(128, 48\)"):
        load(tmp_path)


def test_an_absent_video_is_named_with_the_place_where_it_should_be(tmp_path: Path) -> None:
    written(tmp_path / "instances_default.json", coco([0], [box(1)]))

    with pytest.raises(DatasetError) as raised:
        load(tmp_path)

    assert f"({tmp_path / 'instances_default.mp4'})" in str(raised.value)
