"""`tubedet convert` from outside: names, exit codes, what is said."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.output_targets import RUN_META
from tubedet.cli.app import app

HEADER = "video,frame,pts,time_s,tube,label,score,x1,y1,x2,y2\n"
ROW = "clips/a.mp4,0,0,0.000000,0,walk,0.9000,1.00,2.00,30.00,40.00\n"


def convert(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["convert", *map(str, arguments)])


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "a.csv"
    path.write_text(HEADER + ROW)
    (tmp_path / "a.meta.json").write_text(RUN_META.to_json())
    return path


def test_it_names_what_it_has_written(rows: Path, tmp_path: Path) -> None:
    done = convert(rows, "-f", "cvat,SRT", "-o", tmp_path / "out")

    assert done.exit_code == 0
    names = [Path(line).name for line in done.stdout.replace("\n/", "\n\n/").split("\n\n")]
    assert sorted(name.strip() for name in names) == ["a.cvat.xml", "a.meta.json", "a.srt"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["-f", "avi"], 2, "unknown format 'avi'"),
        (["-f", "mp4"], 2, "-f mp4 takes the video's pictures"),
        (["-f", "srt", "--from", "srt"], 2, "--from srt: choose from csv"),
        (["-f", "csv"], 6, "exists already; give --overwrite"),
    ],
)
def test_what_cannot_be_is_one_line_and_its_exit_code(
    rows: Path, arguments: list[str], code: int, said: str
) -> None:
    done = convert(rows, *arguments)

    assert done.exit_code == code
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    done = convert(tmp_path / "none.csv", "-f", "srt")

    assert (done.exit_code, "none.csv: expected a file or folder" in done.stderr) == (5, True)


def test_a_name_that_says_no_format_is_asked_for_and_can_be_given(
    rows: Path, tmp_path: Path
) -> None:
    table = rows.rename(tmp_path / "a.txt")
    refused = convert(table, "-f", "jsonl")
    assert (refused.exit_code, "say with --from what it is" in refused.stderr) == (2, True)
    table = table.rename(tmp_path / "a.xml")
    assert convert(table, "-f", "jsonl", "--from", "csv").exit_code == 5


def test_a_bad_file_of_several_is_named_and_the_others_are_converted(
    rows: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "b.csv"
    bad.write_text("one,two\n")
    (tmp_path / "b.meta.json").write_text(RUN_META.to_json())

    done = convert(bad, rows, "-f", "jsonl")

    assert done.exit_code == 7
    assert "b.csv: expected" in done.stderr
    assert "1 of 2 files failed" in done.stderr
    assert (tmp_path / "a.jsonl").exists()
    assert not (tmp_path / "b.jsonl").exists()
