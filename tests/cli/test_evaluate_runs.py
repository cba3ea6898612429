"""`tubedet evaluate-curve` and `evaluate-table` on files that `tubedet evaluate` wrote."""

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.drawn_jhmdb import draw_jhmdb
from tests.synthetic_video import square_xyxy
from tubedet.cli.app import app


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    """Two files of detections scored: boxes that fit, and boxes of half the height."""
    root = draw_jhmdb(tmp_path / "jhmdb", {"walk": ["a"]})
    written = []
    for name, share in (("whole", 1.0), ("half", 0.5)):
        rows = ["video,frame,label,score,x1,y1,x2,y2"]
        for frame in range(4):
            x1, y1, x2, y2 = square_xyxy(frame, 64, 48)
            bottom = y1 + share * (y2 - y1)
            rows.append(f"walk/a_walk_f_cm_np1_ri_med_0,{frame},walk,1,{x1},{y1},{x2},{bottom}")
        (tmp_path / f"{name}.csv").write_text("\n".join(rows))
        data = ["--data", f"jhmdb-21:{root}", "--detections", str(tmp_path / f"{name}.csv")]
        written.append(str(tmp_path / f"{name}.json"))
        result = CliRunner().invoke(app, ["evaluate", *data, "--json", written[-1]])
        assert result.exit_code == 0, result.output
    return written


def test_curves_of_runs_are_drawn_and_written(runs: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate-curve", *runs, "-o", str(tmp_path / "c.png")])

    assert result.exit_code == 0, result.output
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    with (tmp_path / "c.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["iou_threshold", "whole", "half"]
    assert [float(row[0]) for row in rows] == pytest.approx([0.05 * n for n in range(1, 20)])
    assert [float(row[1]) for row in rows] == [1.0] * 19
    assert [float(row[2]) for row in rows] == [1.0] * 10 + [0.0] * 9  # IoU 0.5 exactly
    assert (
        "whole, half: jhmdb-21, split 1, part test; one box a frame; rule tubedet" in result.stdout
    )


@pytest.mark.parametrize(("table", "paper"), [(2, "81.31"), (3, "41.37"), (4, "31")])
def test_runs_stand_beside_the_papers_rows(
    runs: list[str], tmp_path: Path, table: int, paper: str
) -> None:
    words = ["evaluate-table", *runs, "--table", str(table), "-o", str(tmp_path / "t.md")]

    result = CliRunner().invoke(app, words)

    assert result.exit_code == 0, result.output
    text = (tmp_path / "t.md").read_text("utf-8")
    for shown in (text, result.stdout):
        assert paper in shown
        assert "half" in shown
        assert "one box a frame; rule tubedet: VOC all-points area" in shown


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["evaluate-curve", "absent.json", "-o", "c.png"], 5),
        (["evaluate-curve", "absent.json", "-o", "c.jpg"], 2),
        (["evaluate-table", "absent.json", "--table", "3"], 5),
    ],
)
def test_mistakes_are_named_in_one_line(words: list[str], code: int) -> None:
    result = CliRunner().invoke(app, words)

    assert result.exit_code == code
    assert len(result.stderr.splitlines()) == 1
