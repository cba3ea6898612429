"""`tubedet data check` and `anchors`, on data made here and on the published annotations."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.drawn_jhmdb import draw_jhmdb
from tests.synthetic_video import write_video
from tests.ucf_layout import real_ucf_root
from tubedet.cli.app import app


def data(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)], env={"COLUMNS": "200"})


@pytest.fixture
def ava(tmp_path: Path) -> Path:
    """Three annotated videos, one of them for validation."""
    root = tmp_path / "ava"
    root.mkdir()
    for name in "abc":
        write_video(root / f"{name}.mp4", frames=4, width=64, height=48)
    rows = [f"{name},0.0,0.1,0.1,0.5,0.9,{label},1" for name in "abc" for label in ("walk", "run")]
    (root / "all.csv").write_text("\n".join(rows))
    (root / "validation.txt").write_text("c\n")
    return root


def test_a_sound_data_set_passes_with_its_counts(ava: Path) -> None:
    result = data("check", f"ava:{ava}")

    assert result.exit_code == 0, result.output
    assert [line.split() for line in result.stdout.splitlines() if "walk" in line] == [
        ["train", "walk", "2", "2"],
        ["validation", "walk", "1", "1"],
    ]
    assert "nothing wrong was found" in result.stdout


def test_everything_that_is_wrong_is_named(ava: Path) -> None:
    (ava / "a.mp4").write_bytes(b"not a video")
    (ava / "b.mp4").unlink()
    with (ava / "all.csv").open("a") as file:
        file.write("\nc,0.0,0.1,0.1,0.5,0.9,wakl,1")
    broken = data("check", f"ava:{ava}")
    assert broken.exit_code == 5
    assert "a.mp4: expected a video file" in broken.stderr

    write_video(ava / "a.mp4", frames=4, width=64, height=48)
    result = data("check", f"ava:{ava}")

    assert result.exit_code == 5
    assert "tubedet: train: b is absent" in result.stderr
    assert "labels 'wakl' and 'walk': a typing error?" in result.stderr
    assert f"ava:{ava}: " in result.stderr.splitlines()[-1]


def test_all_misplaced_boxes_are_named_not_the_first_alone(ava: Path) -> None:
    (ava / "classes.txt").write_text("walk\nrun\n")
    rows = ["a,0.0,0.1,0.1,1.5,0.9,1,1", "b,0.1,0.1,0.1,nan,0.9,1,1", "c,0.1,0.5,0.1,0.4,0.9,2,1"]
    (ava / "all.csv").write_text("\n".join(rows))

    result = data("check", f"ava:{ava}")

    assert result.exit_code == 5
    assert result.stderr.count("expected a box inside 64x48") == 3


def test_no_unreadable_file_hides_what_else_is_wrong(ava: Path) -> None:
    write_video(ava / "d.mp4", frames=4, width=64, height=48)
    for name in "ab":
        (ava / f"{name}.mp4").write_bytes(b"not a video")
    (ava / "c.mp4").unlink()
    with (ava / "all.csv").open("a") as file:
        file.write("\nd,0.0,0.1,0.1,1.5,0.9,walk,1")

    result = data("check", f"ava:{ava}")

    assert result.exit_code == 5
    *problems, verdict = result.stderr.splitlines()
    said = ("a.mp4: expected a video", "b.mp4: expected a video", "a box inside 64x48", "c is abs")
    assert [text for text in said if not any(text in problem for problem in problems)] == []
    assert "4 problems" in verdict


def test_an_actor_without_a_box_is_named_and_harmless(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", frames=4, width=64, height=48)
    box = '<box frame="0" outside="{}" xtl="1" ytl="1" xbr="9" ybr="9"/>'
    tracks = "".join(f'<track label="walk">{box.format(outside)}</track>' for outside in (0, 1))
    (tmp_path / "a.xml").write_text(f"<annotations>{tracks}</annotations>")

    result = data("check", f"cvat:{tmp_path}")

    assert result.exit_code == 0
    assert result.stderr.strip() == "tubedet: a: actors without a box in any frame (1)"


def test_what_is_odd_is_named_and_counted_and_the_rest_is_used(ava: Path) -> None:
    (ava / "b.mp4").unlink()
    rows = ["a,0.0,0.5,0.1,0.5,0.9,run,1", "a,0.1,-0.01,0.1,0.5,0.9,run,1"]
    with (ava / "all.csv").open("a") as file:
        file.write("".join(f"\n{row}" for row in rows))

    result = data("check", f"ava:{ava}")

    assert result.exit_code == 0, result.output
    assert result.stderr.strip().splitlines() == [
        "tubedet: a: annotated otherwise than by boxes, left out: box without an area (1)",
        "tubedet: a: boxes that stick out of the frame by a hair, clipped (1)",
        "tubedet: train: b is absent, so left out",
    ]
    assert "nothing wrong was found; put right or left out, as named above: 3" in result.stdout


def test_evaluation_says_what_is_odd_too_but_not_everything(ava: Path, tmp_path: Path) -> None:
    for number in range(7):
        write_video(ava / f"odd{number}.mp4", frames=4, width=64, height=48)
    with (ava / "all.csv").open("a") as file:
        file.write("".join(f"\nodd{n},0.0,0.1,0.1,1.01,0.9,run,1" for n in range(7)))
    (tmp_path / "rows.csv").write_text("video,frame,label,score,x1,y1,x2,y2\na,0,walk,1,6,4,32,43")
    command = ["evaluate", "--data", f"ava:{ava}", "--part", "train", "--detections"]

    result = CliRunner().invoke(app, [*command, str(tmp_path / "rows.csv")])

    assert result.exit_code == 0, result.output
    said = [line for line in result.stderr.splitlines() if "clipped" in line or "more" in line]
    assert len(said) == 6
    assert "odd0: boxes that stick out of the frame by a hair, clipped (1)" in said[0]
    assert "and 2 more such remarks: tubedet data check shows all" in said[-1]


def test_nothing_usable_is_a_failure_that_says_what_is_missing(ava: Path) -> None:
    for name in "abc":
        (ava / f"{name}.mp4").unlink()

    result = data("check", f"ava:{ava}")

    assert result.exit_code == 5
    assert all(f"{ava / name}.mp4 is absent" in result.stderr for name in "abc")


def test_a_part_whose_videos_are_all_absent_is_not_passed_over(ava: Path) -> None:
    (ava / "c.mp4").unlink()

    result = data("check", f"ava:{ava}")

    assert result.exit_code == 5
    assert f"1 of the part are missing ({ava / 'c.mp4'})" in result.stderr


def test_a_source_on_both_sides_of_the_division_is_a_leak(tmp_path: Path) -> None:
    root = draw_jhmdb(tmp_path, {"golf": ["A", "B"]}, part="trainval")
    draw_jhmdb(root, {"walk": ["A"]}, part="test")

    result = data("check", f"jhmdb-21:{root}")

    assert result.exit_code == 5
    assert "source A is in train and in test: what is measured was learned" in result.stderr
    assert "source B" not in result.stderr


def test_a_clip_of_another_length_than_annotated_is_named(tmp_path: Path) -> None:
    root = draw_jhmdb(tmp_path, {"golf": ["A", "B"]}, part="trainval")
    first, second = sorted((root / "ReCompress_Videos" / "golf").iterdir())
    write_video(first, frames=9, width=64, height=48)
    shutil.copy(second, second.with_suffix(".copy"))

    result = data("check", f"jhmdb-21:{root}")

    assert f"golf/{first.stem}: annotated are 4 frames of 64x48, found 9 of 64x48" in result.stderr


def test_anchors_of_ucf101_24_fit_its_boxes_as_published_measurements_say() -> None:
    """0.753 and VOC's 0.532: ../shared/reference/spec.md §3."""
    result = data("anchors", f"ucf101-24:{real_ucf_root()}")

    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    own, voc = (
        next(line for line in lines if name in line).split()[-1] for name in ("k-means", "VOC")
    )
    assert (own, voc) == ("0.753", "0.532")
    assert "403282 boxes" in result.stdout
