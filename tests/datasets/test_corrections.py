"""What is saved in the page of a video, as a data set: it counts in the place of what was found."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.synthetic_video import write_video
from tubedet.cli.app import app
from tubedet.datasets.annotated_clips import AnnotatedClip
from tubedet.datasets.named_datasets import load_named_dataset
from tubedet.errors import DatasetError

FRAMES, WIDTH, HEIGHT = 6, 64, 48
HEADER = "video,frame,pts,time_s,tube,label,score,x1,y1,x2,y2\n"
FOUND = "a.mp4,0,0,0.000000,0,walk,0.9000,1.00,2.00,21.00,32.00\n"
CORRECTED = "a.mp4,1,512,0.041667,0,run,1.0000,3.00,4.00,23.00,34.00\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A video in which something was found in one frame of six."""
    write_video(tmp_path / "a.mp4", frames=FRAMES, width=WIDTH, height=HEIGHT)
    (tmp_path / "a.csv").write_text(HEADER + FOUND, "utf-8")
    (tmp_path / "a.meta.json").write_text(json.dumps(meta()), "utf-8")
    return tmp_path


def meta(**changes: object) -> dict[str, object]:
    told = {"width": WIDTH, "height": HEIGHT, "first_frame": 0, "stride": 1,
            "processed_frames": FRAMES, "decoded_frames": FRAMES}  # fmt: skip
    return {**told, **changes}


def correct(root: Path, reviewed: Sequence[object], rows: str = CORRECTED, stem: str = "a") -> Path:
    (root / f"{stem}.corrected.csv").write_text(HEADER + rows, "utf-8")
    path = root / f"{stem}.corrected.meta.json"
    path.write_text(json.dumps(meta(reviewed_frames=reviewed)), "utf-8")
    return path


def only_clip(root: Path) -> AnnotatedClip:
    (clip,) = load_named_dataset(f"folder:{root}", 1, "all").clips
    return clip


def test_corrected_rows_take_the_place_of_those_that_were_found(root: Path) -> None:
    correct(root, [])

    clip = only_clip(root)

    assert (clip.video, clip.path.name) == ("a", "a.mp4")
    assert [len(boxes) for boxes in clip.boxes_by_frame] == [0, 1, 0, 0, 0, 0]
    assert clip.boxes_by_frame[1][0].box_xyxy == (3, 4, 23, 34)


def test_only_reviewed_frames_without_a_box_are_background(root: Path) -> None:
    assert only_clip(root).background_frames == [1, 2, 3, 4, 5]

    correct(root, [1, 2, 4])

    assert only_clip(root).background_frames == [2, 4]


def test_a_video_whose_name_ends_so_is_no_correction_of_another(root: Path) -> None:
    write_video(root / "a.corrected.mp4", frames=FRAMES, width=WIDTH, height=HEIGHT)
    (root / "a.corrected.csv").write_text(HEADER + FOUND, "utf-8")
    (root / "a.corrected.meta.json").write_text(json.dumps(meta()), "utf-8")

    clips = load_named_dataset(f"folder:{root}", 1, "all").clips

    assert {clip.video: clip.path.name for clip in clips} == {
        "a": "a.mp4", "a.corrected": "a.corrected.mp4",
    }  # fmt: skip


def test_corrected_rows_without_their_meta_are_named(root: Path) -> None:
    correct(root, []).unlink()

    data = load_named_dataset(f"folder:{root}", 1, "all")

    assert data.clips[0].boxes_by_frame[0]
    assert [note.text for note in data.notes] == [
        f"{root / 'a.corrected.csv'}: left out, since a.corrected.meta.json is not beside it"
    ]
    assert data.notes[0].loss


def test_a_corrected_meta_without_its_rows_is_an_error(root: Path) -> None:
    correct(root, [])
    (root / "a.corrected.csv").unlink()

    with pytest.raises(DatasetError, match=r"a\.corrected\.csv beside it"):
        load_named_dataset(f"folder:{root}", 1, "all")


@pytest.mark.parametrize(
    ("reviewed", "said"),
    [([-1], "expected numbers of frames in reviewed_frames"),
     (["1"], "expected numbers of frames in reviewed_frames"),
     ([9], "speaks of frame 9: expected frames 0 to 5")],
)  # fmt: skip
def test_reviewed_frames_that_cannot_be_are_problems_of_the_data(
    root: Path, reviewed: list[object], said: str
) -> None:
    correct(root, reviewed)

    result = CliRunner().invoke(app, ["data", "check", f"folder:{root}"])

    assert result.exit_code == 5
    assert said in " ".join(result.output.split())
