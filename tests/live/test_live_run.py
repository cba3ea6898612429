"""A stream's rows, segments and endings; it is a file, whose own run says what is right."""

import gc
import io
import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from tests.live.file_stream import FileOutage, FileStream
from tests.live.recorded_stream import FPS, FRAMES, STEMS, VIDEO, Outcome, write_stream
from tests.scripted_detector import ScriptedDetector
from tubedet.errors import OutputError
from tubedet.live.event_hooks import EventHook, delivery_to
from tubedet.live.killed_segments import notes_on_killed
from tubedet.live.live_run import LiveRun
from tubedet.live.live_status import LiveStatus
from tubedet.notes import Note
from tubedet.pipeline import detect_video
from tubedet.run.detection import DetectionWork
from tubedet.run.plan import RunPlan
from tubedet.run.stop import StopRequest
from tubedet.video.frame import VideoFrame
from tubedet.writers.jsonl import json_lines
from tubedet.writers.mp4 import Mp4Writer
from tubedet.writers.writer import FrameResult


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stream(tmp_path_factory.mktemp("live") / "clip.mp4")


class Closed(io.StringIO):
    """A stdout whose reader goes away after some lines."""

    def __init__(self, lines: int) -> None:
        super().__init__()
        self.lines = lines

    def flush(self) -> None:
        if self.getvalue().count("\n") >= self.lines:
            raise BrokenPipeError


def csv_rows(*paths: Path) -> list[str]:
    return [line for path in paths for line in path.read_text().splitlines()[1:]]


def meta_of(folder: Path, stem: str) -> dict[str, Any]:
    return dict(json.loads((folder / f"{stem}.meta.json").read_text()))


def frames_of(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [
            (picture.pts or 0) * Fraction(picture.time_base or 0)
            for picture in container.decode(video=0)
        ]


def test_rows_on_the_stream_and_in_all_segments_are_those_of_the_file(
    video: Path, tmp_path: Path
) -> None:
    outcome = Outcome(video, tmp_path, formats=("csv", "jsonl"))
    expected = "".join(
        line
        for found in detect_video(video, ScriptedDetector())
        for line in json_lines(VIDEO, found)
    )
    assert outcome.error is None
    assert outcome.rows.getvalue() == expected
    assert "".join((tmp_path / f"{stem}.jsonl").read_text() for stem in STEMS) == expected
    assert [len(csv_rows(tmp_path / f"{stem}.csv")) for stem in STEMS] == [24, 24, 12]
    assert sorted(tmp_path.iterdir()) == sorted(
        tmp_path / f"{stem}{suffix}"
        for stem in STEMS
        for suffix in (".csv", ".jsonl", ".meta.json")
    )


def test_a_segment_is_a_whole_result_that_says_which_frames_it_has(
    video: Path, tmp_path: Path
) -> None:
    outcome = Outcome(video, tmp_path)
    metas = [meta_of(tmp_path, stem) for stem in STEMS]
    assert [meta["first_frame"] for meta in metas] == [0, 24, 48]
    assert [(meta["start"], meta["end"]) for meta in metas] == [
        (None, "24f"),
        ("24f", "48f"),
        ("48f", None),
    ]
    assert [meta["processed_frames"] for meta in metas] == [24, 24, 12]
    assert [meta["mp4_offset_s"] for meta in metas] == [0, -1, -2]
    assert all(meta["complete"] and meta["source"] == {} for meta in metas)
    for stem, frames in zip(STEMS, (24, 24, 12), strict=True):
        times = frames_of(tmp_path / f"{stem}.tubedet.mp4")
        assert times == [Fraction(number, FPS) for number in range(frames)]
    assert [(done.frames, done.found, done.partial) for done in outcome.done] == [
        (24, 24, False),
        (24, 24, False),
        (12, 12, False),
    ]


def test_losses_are_told_where_they_were_and_add_up(video: Path, tmp_path: Path) -> None:
    def lose(stream: FileStream, frame: VideoFrame) -> None:
        stream.dropped_frames += frame.frame in (3, 4, 57)
        if frame.frame == 30:
            stream.outages.append(FileOutage(Fraction(29, FPS), 2.5, "the cable"))

    outcome = Outcome(video, tmp_path, lose)
    metas = [meta_of(tmp_path, stem) for stem in STEMS]
    told = [meta["live"] for meta in metas]
    assert {live["started_at"] for live in told} == {"2026-11-30T05:22:33.120Z"}
    assert sum(live["dropped_frames"] for live in told) == outcome.stream.dropped_frames == 3
    assert [live["outages"] for live in told] == [
        [],
        [{"time_s": 1.208333, "seconds": 2.5, "reason": "the cable"}],
        [],
    ]
    assert metas[1]["notes"] == [
        {"text": "no frames after 1.208 s for 2.5 s: the cable", "loss": True}
    ]
    assert {"text": "frames dropped to keep up with the stream: 2", "loss": True} in metas[0][
        "notes"
    ]


def test_what_is_odd_about_the_stream_is_noted_when_it_is_new(video: Path, tmp_path: Path) -> None:
    def damage(stream: FileStream, frame: VideoFrame) -> None:
        if frame.frame == 34:
            stream.more_notes.append(Note("damaged packets: 1", loss=True))

    Outcome(video, tmp_path, damage, formats=("csv",))
    notes = [meta_of(tmp_path, stem)["notes"] for stem in STEMS]
    assert notes == [[], [{"text": "the stream so far: damaged packets: 1", "loss": True}], []]


def test_asked_to_stop_it_finishes_what_is_decoded_and_ends_whole(
    video: Path, tmp_path: Path
) -> None:
    stop = StopRequest()

    def ask(_: FileStream, frame: VideoFrame) -> None:
        stop.asked = stop.asked or frame.frame == 40

    outcome = Outcome(video, tmp_path, ask, stop=stop)
    assert outcome.error is None
    assert outcome.status.frames == 41
    assert len(csv_rows(*(tmp_path / f"{stem}.csv" for stem in STEMS[:2]))) == 41
    assert [done.partial for done in outcome.done] == [False, False]
    assert meta_of(tmp_path, STEMS[1])["complete"]


def test_a_reader_that_has_enough_of_the_rows_ends_it_whole(video: Path, tmp_path: Path) -> None:
    outcome = Outcome(video, tmp_path, rows=Closed(5))
    assert outcome.error is None
    assert outcome.rows.getvalue().count("\n") == 5
    rows = csv_rows(*sorted(tmp_path.glob("*.csv")))
    assert 5 <= len(rows) < FRAMES
    assert [done.partial for done in outcome.done] == [False]


def test_a_second_signal_keeps_the_segment_at_work_as_partial(video: Path, tmp_path: Path) -> None:
    def interrupt(_: FileStream, frame: VideoFrame) -> None:
        if frame.frame == 40:
            raise KeyboardInterrupt

    outcome = Outcome(video, tmp_path, interrupt)
    assert isinstance(outcome.error, KeyboardInterrupt)
    assert [done.partial for done in outcome.done] == [False, True]
    assert len(csv_rows(tmp_path / f"{STEMS[0]}.csv")) == 24
    partial = csv_rows(tmp_path / f"{STEMS[1]}.partial.csv")
    assert 10 <= len(partial) <= 16
    assert len(frames_of(tmp_path / f"{STEMS[1]}.partial.mp4")) == len(partial)


def test_a_segment_that_cannot_get_its_name_ends_the_run_and_is_kept(
    video: Path, tmp_path: Path
) -> None:
    def take_its_name(_: FileStream, frame: VideoFrame) -> None:
        if frame.frame == 5:
            (tmp_path / f"{STEMS[0]}.csv").write_text("somebody else's")

    outcome = Outcome(video, tmp_path, take_its_name)
    assert isinstance(outcome.error, OutputError)
    assert f"{STEMS[0]}.csv: appeared" in str(outcome.error)
    assert (tmp_path / f"{STEMS[0]}.csv").read_text() == "somebody else's"
    assert len(csv_rows(tmp_path / f"{STEMS[0]}.partial.csv")) == 24
    assert not list(tmp_path.glob(".*"))


def test_two_runs_that_begin_in_the_same_second_do_not_share_a_name(
    video: Path, tmp_path: Path
) -> None:
    def run_another(_: FileStream, frame: VideoFrame) -> None:
        if frame.frame == 5:  # while the first one writes
            Outcome(video, tmp_path, formats=("csv",), plan=RunPlan(max_frames=3))

    Outcome(video, tmp_path, run_another, formats=("csv",), plan=RunPlan(max_frames=20))
    assert len(csv_rows(tmp_path / f"{STEMS[0]}.csv")) == 20
    assert len(csv_rows(tmp_path / f"{STEMS[0]}-2.csv")) == 3
    Outcome(video, tmp_path, formats=("csv",), plan=RunPlan(max_frames=4))
    assert len(csv_rows(tmp_path / f"{STEMS[0]}-3.csv")) == 4


def test_pictures_are_drawn_for_the_page_only_while_somebody_looks(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Page:
        asked = shown = 0

        @property
        def is_watched(self) -> bool:
            self.asked += 1
            return 20 <= self.asked < 30

        def show(self, rgb: Any) -> None:
            assert rgb.shape == (48, 64, 3)
            self.shown += 1

    page: Any = Page()
    drawn: list[int] = []
    original = DetectionWork.drawn

    def counted(work: DetectionWork, result: FrameResult) -> FrameResult:
        drawn.append(result.frame.frame)
        return original(work, result)

    monkeypatch.setattr(DetectionWork, "drawn", counted)
    stream = FileStream(video)
    work = DetectionWork(ScriptedDetector(), RunPlan())
    status = LiveStatus(stream, VIDEO)
    notes: list[Note] = []
    run = LiveRun(
        stream,
        work,
        video=VIDEO,
        rows_to=io.StringIO(),
        told=notes.append,
        status=status,
        page=page,
    )
    assert len(list(run.frames())) == FRAMES
    assert page.shown == len(drawn) == 10


def test_a_stride_goes_on_over_all_segments(video: Path, tmp_path: Path) -> None:
    outcome = Outcome(video, tmp_path, formats=("jsonl",), plan=RunPlan(stride=5))
    written = outcome.rows.getvalue()
    assert [json.loads(line)["frame"] for line in written.splitlines()] == list(range(0, FRAMES, 5))
    assert "".join((tmp_path / f"{stem}.jsonl").read_text() for stem in STEMS) == written
    metas = [meta_of(tmp_path, stem) for stem in STEMS]
    assert [(m["first_frame"], m["processed_frames"]) for m in metas] == [(0, 5), (25, 5), (50, 2)]


def test_what_a_killed_run_left_is_said_once_and_stays(tmp_path: Path) -> None:
    for suffix in ("boxes.lock", "csv"):
        (tmp_path / f".{STEMS[0]}.{suffix}.part").write_text("video,frame\n")
    (note,) = notes_on_killed("boxes", tmp_path, "door")
    assert note.loss
    assert note.text.endswith(f"rows that it had are in .{STEMS[0]}.csv.part")
    assert [path.name for path in tmp_path.iterdir()] == [f".{STEMS[0]}.csv.part"]
    assert not list(notes_on_killed("boxes", tmp_path, "door"))


def test_a_segment_that_has_ended_is_forgotten_at_once(video: Path, tmp_path: Path) -> None:
    """Encoders that wait until Python looks for cycles would take more memory with each segment."""

    def writers() -> list[Mp4Writer]:
        return [each for each in gc.get_objects() if type(each) is Mp4Writer]

    known: list[int] = []

    def count(_: FileStream, frame: VideoFrame) -> None:
        if frame.frame == FRAMES - 1:  # of the third segment, by when the first has long ended
            known.append(len(writers()) - len(before))

    gc.collect()
    before = writers()  # that other tests have left
    gc.disable()
    try:
        Outcome(video, tmp_path, count)
    finally:
        gc.enable()
    assert known in ([1], [2])


@pytest.mark.skipif(os.name == "nt", reason="the command is a POSIX one")
def test_recordings_are_whole_before_slow_commands_are_waited_for(
    video: Path, tmp_path: Path
) -> None:
    whole_then: list[int] = []

    class Hook(EventHook):
        def close(self, deadline: float) -> None:
            whole_then.append(len(list(tmp_path.glob("door-*.meta.json"))))
            super().close(deadline)

    hook = Hook(delivery_to("true"), lambda _: None)
    outcome = Outcome(video, tmp_path, hooks=[hook])
    assert outcome.error is None
    assert whole_then == [len(STEMS)]
