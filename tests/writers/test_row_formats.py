"""CSV, JSON, JSON lines and the meta: what is written is what pandas and json read."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.output_targets import RUN_META, target_for
from tubedet.detections import Detection, FrameDetections
from tubedet.errors import OutputError
from tubedet.video.frame import VideoFrame
from tubedet.writers.jsonl import JsonlStream
from tubedet.writers.output_target import OutputTarget
from tubedet.writers.run_meta import RunMetaWriter
from tubedet.writers.writer import open_writer

COLUMNS = "video frame pts time_s tube label score x1 y1 x2 y2".split()
WALK = Detection("walk", 0, 0.87654321, (1.005, 2.0, 30.126, 40.5))
RUN = Detection('say, "hi"', 1, 1.0, (0.0, 0.0, 7.0, 8.0), tube=3)
FRAMES = (
    FrameDetections(0, 1001, 1001 / 30000, (WALK, RUN)),
    FrameDetections(1, 2002, 2002 / 30000, ()),
    FrameDetections(2, None, None, (WALK,)),
)
VIDEO = "sub dir/grüße.mp4"
EXPECTED = [
    (VIDEO, 0, 1001, 0.033367, None, "walk", 0.8765, 1.0, 2.0, 30.13, 40.5),
    (VIDEO, 0, 1001, 0.033367, 3, "say, \"hi\"", 1.0, 0.0, 0.0, 7.0, 8.0),
    (VIDEO, 2, None, None, None, "walk", 0.8765, 1.0, 2.0, 30.13, 40.5),
]  # fmt: skip


def picture(frame: int) -> VideoFrame:
    return VideoFrame(frame, None, None, np.zeros((2, 2, 3), np.uint8))


def written(name: str, target: OutputTarget, *, partial: bool = False) -> Path:
    writer = open_writer(name, target)
    for found in FRAMES:
        writer.write(picture(found.frame), found)
    return writer.finish_partial() if partial else writer.finish()


@pytest.fixture
def target(tmp_path: Path) -> OutputTarget:
    return target_for(tmp_path / "new" / "folder", Path("a.b.mp4"), video=VIDEO)


def test_csv_has_full_decimals_and_empty_cells_for_what_is_unknown(target: OutputTarget) -> None:
    lines = written("csv", target).read_text("utf-8").split("\n")

    assert lines == [
        ",".join(COLUMNS),
        f"{VIDEO},0,1001,0.033367,,walk,0.8765,1.00,2.00,30.13,40.50",
        f'{VIDEO},0,1001,0.033367,3,"say, ""hi""",1.0000,0.00,0.00,7.00,8.00',
        f"{VIDEO},2,,,,walk,0.8765,1.00,2.00,30.13,40.50",
        "",
    ]


def test_pandas_reads_the_rows_back_from_csv_and_from_json_lines(target: OutputTarget) -> None:
    integers = {"pts": "Int64", "tube": "Int64"}
    from_csv = pd.read_csv(written("csv", target), dtype=integers)
    from_lines = pd.read_json(written("jsonl", target), lines=True, dtype=integers)

    expected = pd.DataFrame(EXPECTED, columns=COLUMNS).astype(integers)
    pd.testing.assert_frame_equal(from_csv, expected)
    pd.testing.assert_frame_equal(from_lines, expected, check_dtype=False)


def test_json_opens_with_the_meta_and_lists_the_same_rows(target: OutputTarget) -> None:
    path = written("json", target)
    whole = json.loads(path.read_text("utf-8"))

    assert list(whole) == ["meta", "detections"]
    assert whole["meta"] == RUN_META.to_dict()
    assert [tuple(row.values()) for row in whole["detections"]] == EXPECTED
    assert list(whole["detections"][0]) == COLUMNS
    assert [entry.name for entry in path.parent.iterdir()] == ["a.b.json"]


@pytest.mark.parametrize("name", ["csv", "json", "jsonl"])
def test_a_video_without_detections_gives_a_valid_file_without_rows(
    target: OutputTarget, name: str
) -> None:
    text = open_writer(name, target).finish().read_text("utf-8")

    if name == "json":
        assert json.loads(text)["detections"] == []
    else:
        assert text == ("" if name == "jsonl" else ",".join(COLUMNS) + "\n")


@pytest.mark.parametrize("name", ["csv", "json", "jsonl"])
def test_an_interrupted_run_leaves_the_same_content_under_the_partial_name(
    target: OutputTarget, name: str
) -> None:
    partial = written(name, target, partial=True)

    assert [entry.name for entry in target.folder.iterdir()] == [f"a.b.partial.{name}"]
    assert partial.read_bytes() == written(name, target).read_bytes()


@pytest.mark.parametrize("name", ["csv", "json", "jsonl"])
def test_nothing_stands_under_the_final_name_until_the_end_and_nothing_at_all_when_discarded(
    target: OutputTarget, name: str
) -> None:
    writer = open_writer(name, target)
    writer.write(picture(0), FRAMES[0])
    assert not target.path(f".{name}").exists()

    writer.discard()
    writer.discard()

    assert list(target.folder.iterdir()) == []


def test_discarding_after_the_end_keeps_the_finished_file(target: OutputTarget) -> None:
    writer = open_writer("csv", target)
    path = writer.finish()
    writer.discard()

    assert path.exists()


@pytest.mark.parametrize("name", ["csv", "json", "jsonl"])
def test_a_file_name_that_is_not_utf8_still_gives_a_file_that_is(tmp_path: Path, name: str) -> None:
    target = target_for(tmp_path, Path("a.mp4"), video="caf\udce9.mp4")

    assert "caf\\udce9.mp4" in written(name, target).read_text("utf-8")


def test_the_stream_gets_a_line_a_row_as_soon_as_its_frame_is_written() -> None:
    stream = io.StringIO()
    writer = JsonlStream(VIDEO, stream)
    writer.write(picture(0), FRAMES[0])

    rows = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [tuple(row.values()) for row in rows] == EXPECTED[:2]
    assert stream.getvalue().isascii()
    assert writer.finish() == Path("-")


def test_a_reader_that_closed_the_stream_is_an_output_error() -> None:
    class Closed(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(OutputError, match="cannot write to the output stream: Broken pipe"):
        JsonlStream(VIDEO, Closed()).write(picture(0), FRAMES[0])


@pytest.mark.parametrize("partial", [False, True])
def test_the_meta_is_asked_for_at_the_end_and_read_back_whole(
    target: OutputTarget, partial: bool
) -> None:
    writer = RunMetaWriter(target)
    writer.write(picture(0), FRAMES[0])
    path = writer.finish_partial() if partial else writer.finish()

    assert path.name == ("a.b.partial.meta.json" if partial else "a.b.meta.json")
    assert json.loads(path.read_text("utf-8")) == RUN_META.to_dict()
    assert [entry.name for entry in target.folder.iterdir()] == [path.name]
