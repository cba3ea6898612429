"""The J-HMDB-21 reader, on a tiny layout made here and on the real data."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.jhmdb_layout import add_clip, empty_layout, list_clip, real_jhmdb_root, video_path
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.jhmdb_21 import load_jhmdb_21, source_of
from tubedet.errors import DatasetError
from tubedet.labels import JHMDB_21


def mask_of(frames: int = 3) -> NDArray[np.uint8]:
    """A body part in columns 2..4 and rows 1..2 of every frame of 8x6."""
    mask = np.zeros((6, 8, frames), dtype=np.uint8)
    mask[1:3, 2:5] = 7
    return mask


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return empty_layout(tmp_path / "jhmdb")


@pytest.fixture(scope="module")
def real_parts() -> dict[str, AnnotatedDataset]:
    root = real_jhmdb_root()
    return {part: load_jhmdb_21(root, 1, part) for part in ("train", "validation")}


def test_a_box_is_the_half_open_extent_of_the_mask(root: Path) -> None:
    mask = mask_of()
    mask[5, 7, 1] = 1  # a second part in the last corner of the second frame
    add_clip(root, "golf", "A_golf_f_cm_np1_ri_med_0", mask)

    (clip,) = load_jhmdb_21(root, part="trainval").clips

    assert (clip.width, clip.height, clip.frames) == (8, 6, 3)
    boxes = [boxes[0].box_xyxy for boxes in clip.boxes_by_frame]
    assert boxes == [(2, 1, 5, 3), (2, 1, 8, 6), (2, 1, 5, 3)]


def test_a_frame_with_an_empty_mask_has_no_box(root: Path) -> None:
    mask = mask_of()
    mask[:, :, 1] = 0
    add_clip(root, "golf", "A_golf_f_cm_np1_ri_med_0", mask)

    (clip,) = load_jhmdb_21(root, part="trainval").clips

    assert [len(boxes) for boxes in clip.boxes_by_frame] == [1, 0, 1]


def test_a_mask_of_one_frame_is_read_though_matlab_drops_its_last_axis(root: Path) -> None:
    add_clip(root, "golf", "A_golf_f_cm_np1_ri_med_0", mask_of()[:, :, 0])

    (clip,) = load_jhmdb_21(root, part="trainval").clips

    assert clip.frames == 1


@pytest.mark.parametrize("source", ["a b [1] (2)!", "Müller_ƒ✓", "my_golf_swing"])
def test_awkward_names_are_read_as_they_are(root: Path, source: str) -> None:
    add_clip(root, "golf", f"{source}_golf_f_cm_np1_ri_med_0", mask_of())

    (clip,) = load_jhmdb_21(root, part="trainval").clips

    assert clip.video == f"golf/{source}_golf_f_cm_np1_ri_med_0"
    assert clip.group == source
    assert clip.path.is_file()


def test_listed_clips_that_are_absent_are_named_and_not_fatal(root: Path) -> None:
    add_clip(root, "golf", "A_golf_f_cm_np1_ri_med_0", mask_of())
    list_clip(root, "golf", "B_golf_f_cm_np1_ri_med_0")
    list_clip(root, "walk", "C_walk_f_cm_np1_ri_med_0")
    video_path(root, "walk", "C_walk_f_cm_np1_ri_med_0").touch()  # its mask is absent

    data = load_jhmdb_21(root, part="trainval")

    assert [clip.video for clip in data.clips] == ["golf/A_golf_f_cm_np1_ri_med_0"]
    assert data.missing_videos == ("golf/B_golf_f_cm_np1_ri_med_0", "walk/C_walk_f_cm_np1_ri_med_0")


def test_absent_clips_of_the_other_part_do_not_matter(root: Path) -> None:
    add_clip(root, "golf", "A_golf_f_cm_np1_ri_med_0", mask_of(), mark=2)
    list_clip(root, "golf", "B_golf_f_cm_np1_ri_med_0", mark=1)

    data = load_jhmdb_21(root, part="test")

    assert (len(data.clips), data.missing_videos) == (1, ())


def test_a_part_without_any_clip_is_refused(root: Path) -> None:
    list_clip(root, "golf", "A_golf_f_cm_np1_ri_med_0", mark=2)

    with pytest.raises(DatasetError, match="none of the 1 clips of part test, split 1, is there"):
        load_jhmdb_21(root, part="test")


def test_a_malformed_split_line_is_named_with_its_number(root: Path) -> None:
    add_clip(root, "golf", "A_golf_f_cm_np1_ri_med_0", mask_of())
    with (root / "splits" / "golf_test_split1.txt").open("a") as file:
        file.write("B_golf_f_cm_np1_ri_med_0.avi\n")

    with pytest.raises(DatasetError, match=r"golf_test_split1\.txt:2: expected '<clip>\.avi 1\|2'"):
        load_jhmdb_21(root, part="trainval")


def test_an_absent_split_list_is_named(root: Path) -> None:
    (root / "splits" / "walk_test_split1.txt").unlink()

    with pytest.raises(DatasetError, match=r"walk_test_split1\.txt: the split list of walk"):
        load_jhmdb_21(root, part="trainval")


@pytest.mark.parametrize("content", [b"", b"not a mat file, though long enough for a header" * 9])
def test_a_damaged_mask_is_named(root: Path, content: bytes) -> None:
    clip = "A_golf_f_cm_np1_ri_med_0"
    add_clip(root, "golf", clip, mask_of())
    (root / "puppet_mask" / "golf" / clip / "puppet_mask.mat").write_bytes(content)

    with pytest.raises(DatasetError, match=r"puppet_mask\.mat: expected a mask"):
        load_jhmdb_21(root, part="trainval")


def test_a_truncated_mask_is_named(root: Path) -> None:
    clip = "A_golf_f_cm_np1_ri_med_0"
    add_clip(root, "golf", clip, np.random.default_rng(0).integers(0, 9, (60, 80, 4), np.uint8))
    path = root / "puppet_mask" / "golf" / clip / "puppet_mask.mat"
    path.write_bytes(path.read_bytes()[:-500])

    with pytest.raises(DatasetError, match=r"puppet_mask\.mat: expected a mask"):
        load_jhmdb_21(root, part="trainval")


@pytest.mark.parametrize(("split", "part"), [(4, "test"), (1, "valid"), (2, "validation")])
def test_an_unknown_part_is_refused(root: Path, split: int, part: str) -> None:
    with pytest.raises(DatasetError, match="jhmdb-21: "):
        load_jhmdb_21(root, split, part)


def test_real_boxes_and_groups_equal_the_published_ones(
    real_parts: dict[str, AnnotatedDataset],
) -> None:
    records = json.loads((real_jhmdb_root() / "boxes.json").read_text())
    expected = {
        record["key"]: (record["group"], record["label"], record["boxes_xyxy"])
        for record in records
    }

    found = {
        clip.video: (
            clip.group,
            JHMDB_21[clip.class_index],
            [list(box.box_xyxy) for (box,) in clip.boxes_by_frame],
        )
        for data in real_parts.values()
        for clip in data.clips
    }

    assert len(found) == 660
    assert found == expected


def test_no_source_lies_on_both_sides_and_every_class_on_each(
    real_parts: dict[str, AnnotatedDataset],
) -> None:
    groups = {part: {clip.group for clip in data.clips} for part, data in real_parts.items()}

    assert not groups["train"] & groups["validation"]
    for data in real_parts.values():
        assert {clip.class_index for clip in data.clips} == set(range(21))
    share = len(groups["validation"]) / sum(map(len, groups.values()))
    assert 0.12 < share < 0.18


def test_a_source_is_the_name_up_to_the_last_mention_of_the_class() -> None:
    assert source_of("snap_clap_(x)_clap_u_nm_np1_fr_med_0", "clap") == "snap_clap_(x)"
