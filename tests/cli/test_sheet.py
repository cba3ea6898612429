"""`tubedet sheet`: pictures of what was found, where the rows say it was."""

import csv
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from tests.lossless_video import write_lossless
from tubedet.cli.app import app
from tubedet.evaluation.tube_sheet import find_tubes, longest, score_and_motion
from tubedet.render.tube_strip import CAPTION_HEIGHT, CELL_HEIGHT, CELL_WIDTH, GAP, TITLE_HEIGHT

COLUMNS = "video,frame,pts,time_s,tube,label,score,x1,y1,x2,y2".split(",")
STRIP_HEIGHT = TITLE_HEIGHT + CELL_HEIGHT + CAPTION_HEIGHT
FRAMES = 12


def color_of(frame: int) -> tuple[int, int, int]:
    return (20 * frame, 100, 255 - 20 * frame)


def box_of(frame: int) -> tuple[int, int, int, int]:
    """Twenty by forty pixels; each frame four pixels farther right."""
    return (20 + 4 * frame, 10, 40 + 4 * frame, 50)


def write_rows(path: Path, rows: Iterable[tuple[int, object, str]]) -> Path:
    """Rows of frame, tube and label, whose box is that of the frame."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for frame, tube, label in rows:
            writer.writerow(
                ["clip.mkv", frame, frame, frame / 25, tube, label, 0.5, *box_of(frame)]
            )
    return path


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A video whose box has another colour in each frame, with a row for each frame beside it."""
    monkeypatch.chdir(tmp_path)
    pictures = []
    for frame in range(FRAMES):
        picture = np.full((60, 100, 3), 128, np.uint8)
        x1, y1, x2, y2 = box_of(frame)
        picture[y1:y2, x1:x2] = color_of(frame)
        pictures.append(picture)
    write_rows(tmp_path / "clip.csv", [(frame, 0, "run") for frame in range(FRAMES)])
    return write_lossless(tmp_path / "clip.mkv", pictures)


def sheet(*words: object) -> Result:
    return CliRunner().invoke(app, ["sheet", *map(str, words)])


def read_rgb(path: Path) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path))
    assert picture is not None
    return np.asarray(picture[..., ::-1], np.uint8)


def test_a_strip_shows_the_actor_of_evenly_spaced_frames(clip: Path) -> None:
    result = sheet(clip, "-o", "sheet.png", "--pictures", 3)
    assert result.exit_code == 0, result.output
    picture = read_rgb(Path("sheet.png"))
    assert picture.shape == (STRIP_HEIGHT, 3 * (CELL_WIDTH + GAP) - GAP, 3)
    middle = TITLE_HEIGHT + CELL_HEIGHT // 2
    # Frames 0, 6 (5.5 to the even number) and 11.
    for column, frame in enumerate((0, 6, 11)):
        x = column * (CELL_WIDTH + GAP) + CELL_WIDTH // 2
        assert tuple(picture[middle, x]) == color_of(frame)


def test_the_sheet_lies_beside_the_rows_that_detect_wrote(clip: Path) -> None:
    folder = clip.parent / "tubedet-output"
    folder.mkdir()
    clip.with_suffix(".csv").rename(folder / "clip.csv")
    result = sheet(clip)
    assert result.exit_code == 0, result.output
    assert (folder / "clip.sheet.jpg").is_file()


def test_corrected_rows_come_before_those_that_were_found(clip: Path) -> None:
    write_rows(clip.with_name("clip.csv"), [(0, 0, "walk")])
    write_rows(clip.with_name("clip.corrected.csv"), [(0, 0, "run")])

    result = CliRunner().invoke(app, ["sheet", str(clip)])

    assert result.exit_code == 0, result.output
    assert clip.with_name("clip.corrected.sheet.jpg").is_file()


def test_each_tube_has_a_strip_and_those_with_fewest_boxes_are_left_out_with_a_word(
    clip: Path,
) -> None:
    rows = [(frame, 0, "run") for frame in range(3)]
    rows += [(frame, 1, "walk") for frame in range(3, 10)]
    rows += [(frame, 2, "sit") for frame in range(10, 12)]
    write_rows(clip.with_suffix(".csv"), rows)
    result = sheet(clip, "-o", "sheet.png", "--tubes", 2)
    assert "tubes with fewer boxes are not shown: 1" in result.stderr
    assert read_rgb(Path("sheet.png")).shape[0] == 2 * STRIP_HEIGHT + GAP


def test_crops_are_the_pixels_of_the_boxes(clip: Path) -> None:
    result = sheet(clip, "--crops", "crops")
    assert result.exit_code == 0, result.output
    names = sorted(path.relative_to("crops").as_posix() for path in Path("crops").rglob("*.jpg"))
    assert names == [f"tube-0000/{frame:06d}.jpg" for frame in range(FRAMES)]
    for frame, name in enumerate(names):
        crop = read_rgb(Path("crops", name))
        assert crop.shape == (40, 20, 3)
        assert np.abs(crop.astype(int) - color_of(frame)).max() <= 4  # JPEG


def test_rows_without_tubes_have_a_strip_a_label_and_no_crop_in_the_place_of_another(
    clip: Path,
) -> None:
    rows = [(frame, "", label) for frame in range(4) for label in ("run", "walk")]
    write_rows(clip.with_suffix(".csv"), rows)
    result = sheet(clip, "-o", "sheet.png", "--crops", "crops")
    assert result.exit_code == 0, result.output
    assert read_rgb(Path("sheet.png")).shape[0] == 2 * STRIP_HEIGHT + GAP
    assert len(list(Path("crops").rglob("*.jpg"))) == 8


def test_motion_is_in_heights_of_the_box_a_second(clip: Path) -> None:
    rows = clip.with_suffix(".csv")
    curves = score_and_motion(rows, find_tubes(rows))
    assert list(curves) == ["score", "motion, heights of the box a second"]
    (motion,) = curves["motion, heights of the box a second"].values()
    # 4 px a frame at 25 frames a second, and boxes of 40 px.
    assert [value for _, value in motion] == pytest.approx([2.5, 2.5])
    (scores,) = curves["score"].values()
    assert [value for _, value in scores] == pytest.approx([0.5] * FRAMES)


def test_the_plot_is_a_picture(clip: Path) -> None:
    pytest.importorskip("matplotlib")
    result = sheet(clip, "--plot", "plot.png")
    assert result.exit_code == 0, result.output
    assert read_rgb(Path("plot.png")).std() > 1


def test_the_longest_tubes_stay_in_the_order_of_their_beginnings(tmp_path: Path) -> None:
    rows = [(0, 5, "run"), (1, 7, "run"), (2, 9, "run"), (3, 9, "run"), (4, 5, "run")]
    tubes = longest(find_tubes(write_rows(tmp_path / "rows.csv", rows)), 2)
    assert [tube.number for tube in tubes.values()] == [5, 9]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["absent.mkv"], 2, "expected absent.csv, .jsonl or .json beside it"),
        (["clip.mkv", "-o", "sheet.gif"], 2, "sheet.gif: expected a name that ends in"),
        (["clip.mkv", "-o", "there.png"], 6, "there.png: exists already"),
        (["clip.mkv", "--crops", "there"], 6, "there: exists already"),
        (["clip.mkv", "--rows", "empty.csv"], 5, "empty.csv: expected boxes, found none"),
        (["clip.mkv", "--rows", "late.csv"], 5, "found one of frame 12 behind frame 11"),
        (["clip.mkv", "--rows", "back.csv"], 5, "expected rows in the order of frames"),
    ],
)
def test_what_cannot_be_drawn_is_said_and_leaves_nothing(
    clip: Path, words: list[str], code: int, said: str
) -> None:
    Path("there").mkdir()
    Path("there.png").touch()
    write_rows(Path("empty.csv"), [])
    write_rows(Path("late.csv"), [(11, 0, "run"), (12, 0, "run")])
    write_rows(Path("back.csv"), [(3, 0, "run"), (2, 0, "run")])
    before = sorted(path.name for path in clip.parent.iterdir())
    new_crops = [] if "--crops" in words else ["--crops", "crops"]
    result = sheet(*words, *new_crops)
    assert result.exit_code == code
    assert said in result.stderr
    assert sorted(path.name for path in clip.parent.iterdir()) == before
