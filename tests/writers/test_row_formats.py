"""CSV, JSON and JSON lines: what is written is what pandas and json read."""

import csv
import io
import json
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.output_targets import RUN_META, finished, found, open_writer, target_for
from tubedet.detections import Detection, FrameDetections
from tubedet.errors import OutputError
from tubedet.video.frame import VideoFrame
from tubedet.writers.csv import as_text, without_mark
from tubedet.writers.formats import ROW_FORMATS
from tubedet.writers.jsonl import StreamClosedError, put_on_stream
from tubedet.writers.target import OutputTarget
from tubedet.writers.writer import FrameResult

COLUMNS = "video frame pts time_s tube label score x1 y1 x2 y2".split()
WALK = Detection("walk", 0, 0.87654321, (1.005, 2.0, 30.126, 40.5))
RUN = Detection('say, "hi"', 1, 1.0, (0.0, 0.0, 7.0, 8.0), tube=3)
FRAMES = (
    (VideoFrame(0, 1001, Fraction(1001, 30000), np.zeros((2, 2, 3), np.uint8)), (WALK, RUN)),
    (VideoFrame(1, 2002, Fraction(2002, 30000), np.zeros((2, 2, 3), np.uint8)), ()),
    (VideoFrame(2, None, Fraction(1, 10), np.zeros((2, 2, 3), np.uint8)), (WALK,)),
)
VIDEO = "sub dir/grüße.mp4"
EXPECTED = [
    (VIDEO, 0, 1001, 0.033367, None, "walk", 0.8765, 1.0, 2.0, 30.13, 40.5),
    (VIDEO, 0, 1001, 0.033367, 3, "say, \"hi\"", 1.0, 0.0, 0.0, 7.0, 8.0),
    (VIDEO, 2, None, 0.1, None, "walk", 0.8765, 1.0, 2.0, 30.13, 40.5),
]  # fmt: skip


def written(name: str, target: OutputTarget) -> Path:
    writer = open_writer(name, target)
    for frame, detections in FRAMES:
        writer.write(FrameResult(frame, found(frame, detections)))
    return finished(writer)


def cells(path: Path) -> list[list[str]]:
    """What any reader of CSV finds, the header first."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def csv_of(folder: Path, label: str, video: str, *, safe: bool) -> list[str]:
    """The only row of a CSV."""
    target = target_for(folder, Path("a.mp4"), video=video, spreadsheet_safe=safe)
    writer = open_writer("csv", target)
    frame = FRAMES[0][0]
    writer.write(FrameResult(frame, found(frame, [Detection(label, 0, 0.5, (1, 2, 3, 4))])))
    _, row = cells(finished(writer))
    return row


@pytest.fixture
def target(tmp_path: Path) -> OutputTarget:
    return target_for(tmp_path / "new" / "folder", Path("a.b.mp4"), video=VIDEO)


def test_csv_has_full_decimals_and_empty_cells_for_what_is_unknown(target: OutputTarget) -> None:
    lines = written("csv", target).read_text("utf-8").split("\n")

    assert lines == [
        ",".join(COLUMNS),
        f"{VIDEO},0,1001,0.033367,,walk,0.8765,1.00,2.00,30.13,40.50",
        f'{VIDEO},0,1001,0.033367,3,"say, ""hi""",1.0000,0.00,0.00,7.00,8.00',
        f"{VIDEO},2,,0.100000,,walk,0.8765,1.00,2.00,30.13,40.50",
        "",
    ]


def test_pandas_reads_the_rows_back_from_csv_and_from_json_lines(target: OutputTarget) -> None:
    integers = {"pts": "Int64", "tube": "Int64"}
    from_csv = pd.read_csv(written("csv", target), dtype=integers)
    from_lines = pd.read_json(written("jsonl", target), lines=True, dtype=integers)

    expected = pd.DataFrame(EXPECTED, columns=COLUMNS).astype(integers)
    pd.testing.assert_frame_equal(from_csv, expected)
    pd.testing.assert_frame_equal(from_lines, expected, check_dtype=False)


def test_json_lists_the_same_rows_and_closes_with_the_meta(target: OutputTarget) -> None:
    path = written("json", target)
    whole = json.loads(path.read_text("utf-8"))

    assert list(whole) == ["detections", "meta"]
    assert whole["meta"] == json.loads(json.dumps(asdict(RUN_META)))
    assert [tuple(row.values()) for row in whole["detections"]] == EXPECTED
    assert list(whole["detections"][0]) == COLUMNS
    assert [entry.name for entry in path.parent.iterdir()] == ["a.b.json"]


@pytest.mark.parametrize("name", ROW_FORMATS)
def test_a_video_without_detections_gives_a_valid_file_without_rows(
    target: OutputTarget, name: str
) -> None:
    text = finished(open_writer(name, target)).read_text("utf-8")

    if name == "json":
        assert json.loads(text)["detections"] == []
    else:
        assert text == ("" if name == "jsonl" else ",".join(COLUMNS) + "\n")


@pytest.mark.parametrize("name", ROW_FORMATS)
def test_an_interrupted_run_has_the_same_content(target: OutputTarget, name: str) -> None:
    writer = open_writer(name, target)
    for frame, detections in FRAMES:
        writer.write(FrameResult(frame, found(frame, detections)))
    writer.close(complete=False)
    partial = target.partial_path(f".{name}")
    writer.rename(partial)

    assert [entry.name for entry in target.folder.iterdir()] == [f"a.b.partial.{name}"]
    whole = written(name, target)
    if name == "json":  # whose meta says that it is not all
        rows = [json.loads(path.read_text("utf-8"))["detections"] for path in (partial, whole)]
        assert rows[0] == rows[1]
    else:
        assert partial.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("name", ROW_FORMATS)
def test_nothing_stands_under_the_final_name_until_the_end(target: OutputTarget, name: str) -> None:
    writer = open_writer(name, target)
    frame, detections = FRAMES[0]
    writer.write(FrameResult(frame, found(frame, detections)))

    assert [entry.name for entry in target.folder.iterdir()] == [f".a.b.{name}.part"]

    assert finished(writer) == target.folder / f"a.b.{name}"


@pytest.mark.parametrize("name", ["csv", "jsonl"])
def test_every_frame_reaches_the_disk_as_soon_as_it_is_written(
    target: OutputTarget, name: str
) -> None:
    writer = open_writer(name, target)
    before = len(writer.path.read_text("utf-8").splitlines())
    for (frame, detections), lines in zip(FRAMES, (2, 2, 3), strict=True):
        writer.write(FrameResult(frame, found(frame, detections)))
        assert len(writer.path.read_text("utf-8").splitlines()) == before + lines
    writer.abandon()


@pytest.mark.parametrize("name", ROW_FORMATS)
def test_a_file_name_that_is_not_utf8_still_gives_a_file_that_is(tmp_path: Path, name: str) -> None:
    target = target_for(tmp_path, Path("a.mp4"), video="caf\udce9.mp4")

    assert "caf\\udce9.mp4" in written(name, target).read_text("utf-8")


@pytest.mark.parametrize("video", ["two\nlines.mp4", 'say "hi", now.mp4', "a,b.mp4", "cr\rlf.mp4"])
@pytest.mark.parametrize("safe", [False, True])
def test_names_with_line_ends_quotes_and_commas_stay_one_cell(
    tmp_path: Path, video: str, safe: bool
) -> None:
    row = csv_of(tmp_path, video, video, safe=safe)

    assert [row[0], row[5]] == [video, video]
    assert len(row) == len(COLUMNS)


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r"])
def test_text_that_begins_a_formula_is_marked_on_request_alone(tmp_path: Path, sign: str) -> None:
    name = f"{sign}cmd|' /C calc'!A0"

    plain = csv_of(tmp_path / "plain", name, f"{name}.mp4", safe=False)
    safe = csv_of(tmp_path / "safe", name, f"{name}.mp4", safe=True)

    assert [plain[0], plain[5]] == [f"{name}.mp4", name]
    assert [safe[0], safe[5]] == [f"'{name}.mp4", f"'{name}"]


def test_numbers_stay_numbers_and_harmless_text_stays_as_it_is(tmp_path: Path) -> None:
    row = csv_of(tmp_path, "walk = run", "a=b -c.mp4", safe=True)

    assert row == ["a=b -c.mp4", "0", "1001", "0.033367", "", "walk = run", "0.5000",
                   "1.00", "2.00", "3.00", "4.00"]  # fmt: skip


def test_negative_times_and_timestamps_are_not_marked(tmp_path: Path) -> None:
    target = target_for(tmp_path, Path("a.mp4"), spreadsheet_safe=True)
    writer = open_writer("csv", target)
    early = FrameDetections(0, -512, -0.5, (Detection("walk", 0, 0.5, (-1, -2, 3, 4)),))
    writer.write(FrameResult(FRAMES[0][0], early))

    _, row = cells(finished(writer))
    assert (row[2], row[3], row[7:9]) == ("-512", "-0.500000", ["-1.00", "-2.00"])


def test_segments_are_marked_as_rows_are(tmp_path: Path) -> None:
    target = target_for(tmp_path, Path("a.mp4"), video="=a.mp4", spreadsheet_safe=True)
    writer = open_writer("segments", target)
    frame = FRAMES[0][0]
    box = Detection("@walk", 0, 0.5, (1, 2, 3, 4), tube=0)
    writer.write(FrameResult(frame, found(frame, [box])))

    _, row = cells(finished(writer))
    assert (row[0], row[2]) == ("'=a.mp4", "'@walk")


@pytest.mark.parametrize("name", ["jsonl", "json"])
def test_only_csv_is_marked(tmp_path: Path, name: str) -> None:
    target = target_for(tmp_path, Path("a.mp4"), video="=a.mp4", spreadsheet_safe=True)

    assert '"=a.mp4"' in written(name, target).read_text("utf-8")


@pytest.mark.parametrize(
    "text", ["=1+1", "+x", "-x", "@x", "\tx", "\rx", "-", "'=x", "'", "''", "x"]
)
def test_a_mark_is_taken_off_again(text: str) -> None:
    assert without_mark(as_text(text)) == text


def test_the_stream_gets_a_line_a_row_as_soon_as_its_frame_is_written() -> None:
    stream = io.StringIO()
    frame, detections = FRAMES[0]
    put_on_stream(stream, VIDEO, found(frame, detections))

    rows = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [tuple(row.values()) for row in rows] == EXPECTED[:2]
    assert stream.getvalue().isascii()


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (BrokenPipeError(32, "Broken pipe"), StreamClosedError, "nobody reads"),
        (OSError(28, "No space left"), OutputError, "cannot write to the output stream: No space"),
    ],
)
def test_a_stream_that_takes_no_more_is_an_output_error(
    error: OSError, kind: type[OutputError], words: str
) -> None:
    class Closed(io.StringIO):
        def flush(self) -> None:
            raise error

    frame, detections = FRAMES[0]
    with pytest.raises(OutputError, match=words) as raised:
        put_on_stream(Closed(), VIDEO, found(frame, detections))
    assert type(raised.value) is kind
