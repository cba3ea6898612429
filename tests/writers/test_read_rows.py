"""Rows that were written are read back as they were."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.output_targets import finished, open_writer, plain_frame, target_for
from tubedet.detections import Detection, FrameDetections
from tubedet.errors import OutputError
from tubedet.writers.formats import ROW_FORMATS
from tubedet.writers.read_rows import read_rows
from tubedet.writers.track_rows import Row
from tubedet.writers.writer import FrameResult

BIG_PTS = 2**60 + 1  # more than a float holds
LABELS = ["nan", "NaN", "NA", "null", "None", "true", "1", "007", "1e5", "-1", "=x", "+x", "-x",
          "@x", "\tx", "'=x", "'quoted'", "'", "say, \"hi\"", "two\nlines", "crlf\r\nx", " walk ",
          "", "grüße", "手", "2020-01-01", "1_000"]  # fmt: skip
VIDEOS = ["a.mp4", "nan", "1", "=1+1.mp4", "two\nlines.mp4", 'say "hi", now.mp4', "-x.mp4"]


def expected_row(video: str, label: str, frame: int, pts: int | None, tube: int | None) -> Row:
    return Row(video, frame, pts, frame / 8, tube, label, 0.125, 1.5, -2.25, 3.0, 4.75)


def write_rows(name: str, folder: Path, rows: Sequence[Row], *, safe: bool = False) -> Path:
    """A file of rows, which are one a frame and of one video."""
    target = target_for(folder, Path("a.mp4"), video=rows[0].video, spreadsheet_safe=safe)
    writer = open_writer(name, target)
    for row in rows:
        box = Detection(row.label, 0, row.score, (row.x1, row.y1, row.x2, row.y2), tube=row.tube)
        found = FrameDetections(row.frame, row.pts, row.time_s, (box,))
        writer.write(FrameResult(plain_frame(row.frame), found))
    return finished(writer)


@pytest.mark.parametrize("safe", [False, True], ids=["plain", "safe"])
@pytest.mark.parametrize("name", ROW_FORMATS)
def test_any_label_is_read_back_as_it_was(tmp_path: Path, name: str, safe: bool) -> None:
    # A CSV does not say whether its texts are marked.
    ambiguous = {"'=x"} if (name, safe) == ("csv", False) else set()
    labels = [label for label in LABELS if label not in ambiguous]
    rows = [expected_row("a.mp4", label, n, n * 512, n) for n, label in enumerate(labels)]

    assert list(read_rows(write_rows(name, tmp_path, rows, safe=safe))) == rows


@pytest.mark.parametrize("video", VIDEOS)
@pytest.mark.parametrize("safe", [False, True], ids=["plain", "safe"])
@pytest.mark.parametrize("name", ROW_FORMATS)
def test_any_name_of_a_video_is_read_back_as_it_was(
    tmp_path: Path, name: str, safe: bool, video: str
) -> None:
    rows = [expected_row(video, "walk", 0, 0, None)]

    assert list(read_rows(write_rows(name, tmp_path, rows, safe=safe))) == rows


@pytest.mark.parametrize(
    ("pts", "tubes"),
    [
        ([None, None], [None, None]),
        ([None, 512], [3, None]),
        ([-512, 0], [0, 1]),
        ([BIG_PTS, None], [None, 0]),
        ([BIG_PTS, BIG_PTS + 1], [0, 0]),
        ([-BIG_PTS, 0], [0, 0]),
    ],
)
@pytest.mark.parametrize("name", ROW_FORMATS)
def test_whole_numbers_are_exact_and_what_is_unknown_stays_so(
    tmp_path: Path, name: str, pts: list[int | None], tubes: list[int | None]
) -> None:
    rows = [
        expected_row("a.mp4", "walk", n, *known)
        for n, known in enumerate(zip(pts, tubes, strict=True))
    ]

    read = list(read_rows(write_rows(name, tmp_path, rows)))

    assert read == rows
    assert all(isinstance(cell, int | None) for row in read for cell in (row.pts, row.tube))


@pytest.mark.parametrize("name", ROW_FORMATS)
def test_times_scores_and_edges_are_read_back_to_the_last_bit(tmp_path: Path, name: str) -> None:
    rows = [
        Row("a.mp4", n, n, round(n / 29.97 + 12345, 6), n, "walk", round(n / 997, 4),
            round(n / 7, 2), round(n / 11, 2), round(n / 3 + 100, 2), round(n / 13 + 100, 2))
        for n in range(997)
    ]  # fmt: skip

    assert list(read_rows(write_rows(name, tmp_path, rows))) == rows


@pytest.mark.parametrize("name", ROW_FORMATS)
def test_a_file_of_no_rows_is_read_as_none(tmp_path: Path, name: str) -> None:
    path = finished(open_writer(name, target_for(tmp_path, Path("a.mp4"))))

    assert list(read_rows(path)) == []


@pytest.mark.parametrize("name", ["csv", "jsonl"])
def test_more_rows_than_are_held_at_once_are_all_read(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tubedet.writers.read_rows.ROWS_AT_ONCE", 3)
    pts = [None, None, None, None, BIG_PTS, 1, 2, None]
    rows = [expected_row("a.mp4", str(n), n, each, None) for n, each in enumerate(pts)]

    assert list(read_rows(write_rows(name, tmp_path, rows))) == rows


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "one,two\n1,2\n"),
        ("a.csv", ""),
        ("a.csv", "video,frame,pts,time_s,tube,label,score,x1,y1,x2,y2\na,zero,,0,,w,1,1,1,1,1\n"),
        ("a.jsonl", "no json\n"),
        ("a.jsonl", '{"video": "a.mp4"}\n'),
        ("a.json", '{"detections": ['),
        ("a.json", "[]"),
        ("a.json", '{"detections": [{"video": "a.mp4"}]}'),
        ("a.csv", b"\xff\xfe\x00"),
    ],
)
def test_a_file_of_another_kind_is_an_output_error_of_one_line(
    tmp_path: Path, name: str, content: str | bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)

    with pytest.raises(OutputError, match=rf"{name}: expected rows of tubedet's") as error:
        list(read_rows(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ROW_FORMATS)
def test_a_file_that_is_gone_is_an_output_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="expected rows of tubedet's"):
        list(read_rows(tmp_path / f"absent.{name}"))
