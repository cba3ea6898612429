"""Many videos one after the other: what becomes of each, and what is said of it."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from tests.scripted_detector import ScriptedDetector
from tests.scripted_run import job_of, meta_of, names_in
from tests.synthetic_video import write_video
from tubedet.batch.earlier_results import Existing
from tubedet.batch.many_videos import Batch, check_readable, process_videos, refuse_existing
from tubedet.errors import OutputError, UsageError, VideoError, WeightsError
from tubedet.pipeline import process_video
from tubedet.run.detection import DetectionWork
from tubedet.run.earlier_rows import EarlierRows
from tubedet.run.events import Event, FrameDone, VideoDone, VideoFailed, VideoSkipped, VideoStarted
from tubedet.run.jobs import VideoJob
from tubedet.run.plan import RunPlan
from tubedet.run.stop import StopRequest
from tubedet.writers.jsonl import StreamClosedError

FORMATS = ("mp4", "csv")


def small_video(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_video(path, frames=3, width=64, height=48)


def jobs_for(folder: Path, *names: str) -> list[VideoJob]:
    """Small videos, on their way to one folder."""
    return [job_of(small_video(folder / name), folder / "out") for name in names]


def batch_of(
    jobs: Sequence[VideoJob], detector: ScriptedDetector | None = None, **options: Any
) -> Batch:
    detector = detector or ScriptedDetector()

    def new_work(job: VideoJob, earlier: EarlierRows | None) -> DetectionWork:
        return DetectionWork(detector, RunPlan(), earlier=earlier)

    options = {"formats": FORMATS, **options}
    return Batch(jobs=jobs, new_work=new_work, **options)


def process(
    jobs: Sequence[VideoJob], detector: ScriptedDetector | None = None, **options: Any
) -> list[Event]:
    return list(process_videos(batch_of(jobs, detector, **options), StopRequest()))


def outcomes(events: Sequence[Event]) -> list[type[Event]]:
    return [type(event) for event in events if not isinstance(event, FrameDone | VideoStarted)]


SKIP = Existing(skip=True)


def test_existing_outputs_are_refused_before_anything_is_done(tmp_path: Path) -> None:
    jobs = jobs_for(tmp_path, "a.mp4", "b.mp4")
    out = tmp_path / "out"
    refuse_existing(batch_of(jobs))
    out.mkdir()
    for name in ("a.json", "a.partial.csv"):  # nobody asked for these
        (out / name).touch()
    refuse_existing(batch_of(jobs))
    for name in ("b.csv", "b.tubedet.mp4"):
        (out / name).touch()
    with pytest.raises(OutputError, match=r"out/b\.\w+(\.mp4)?: exists already \(and 1 more\)"):
        refuse_existing(batch_of(jobs))
    refuse_existing(batch_of(jobs, existing=Existing(overwrite=True)))
    # With these the others can be processed; the video itself fails when it is its turn.
    refuse_existing(batch_of(jobs, existing=SKIP))
    refuse_existing(batch_of(jobs, existing=Existing(resume=True)))


def test_an_own_result_is_refused_too(tmp_path: Path) -> None:
    jobs = jobs_for(tmp_path, "a.mp4")
    process(jobs)
    with pytest.raises(OutputError, match=r"out/a\.tubedet\.mp4: exists already \(and 1 more\)"):
        refuse_existing(batch_of(jobs))


def test_nothing_is_in_the_way_of_a_stream(tmp_path: Path) -> None:
    jobs = jobs_for(tmp_path, "a.mp4")
    process(jobs)
    refuse_existing(batch_of(jobs, rows_to=StringIO()))


def test_a_name_too_long_for_a_file_is_not_an_existing_output(tmp_path: Path) -> None:
    refuse_existing(batch_of([job_of(tmp_path / ("x" * 250 + ".mp4"), tmp_path)]))


def test_a_source_is_readable_or_said_not_to_be(tmp_path: Path) -> None:
    check_readable(job_of(small_video(tmp_path / "a.mp4")))
    with pytest.raises(VideoError, match="nothing there"):
        check_readable(job_of(tmp_path / "b.mp4"))


def test_a_video_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "2.mp4").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.txt").touch()
    middle = ["2.mp4", "absent.mp4", "empty"]
    jobs = jobs_for(tmp_path, "1.mp4", "3.mp4")
    jobs[1:1] = [job_of(tmp_path / name, tmp_path / "out") for name in middle]
    events = process(jobs)
    assert outcomes(events) == [VideoDone, VideoFailed, VideoFailed, VideoFailed, VideoDone]
    failed = [event for event in events if isinstance(event, VideoFailed)]
    assert [event.job.video for event in failed] == middle
    assert all(isinstance(event.error, VideoError) for event in failed)
    assert set(names_in(tmp_path / "out")) == {
        f"{stem}{suffix}" for stem in "13" for suffix in (".tubedet.mp4", ".csv", ".meta.json")
    }


def test_every_video_is_announced_with_its_number(tmp_path: Path) -> None:
    jobs = [*jobs_for(tmp_path, "1.mp4"), job_of(tmp_path / "absent.mp4", tmp_path / "out")]
    started = [event for event in process(jobs) if isinstance(event, VideoStarted)]
    assert [(event.number, event.of) for event in started] == [(1, 2), (2, 2)]


@pytest.mark.parametrize("error", [WeightsError("bad"), UsageError("bad")])
def test_an_error_that_concerns_every_video_ends_the_batch(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    detector = ScriptedDetector()
    monkeypatch.setattr(detector, "predict", fail)
    jobs = jobs_for(tmp_path, "1.mp4", "2.mp4")
    events = process_videos(batch_of(jobs, detector), StopRequest())
    assert isinstance(next(events), VideoStarted)
    with pytest.raises(type(error)):
        list(events)


def test_what_was_done_before_such_an_error_is_told_and_kept(tmp_path: Path) -> None:
    class Exhausted(ScriptedDetector):
        def decode(self, *arguments: Any) -> Any:
            if len(self.batch_sizes) == 3:
                raise UsageError("out of memory")
            return super().decode(*arguments)

    jobs = jobs_for(tmp_path, "1.mp4", "2.mp4")
    events: list[Event] = []
    with pytest.raises(UsageError, match="out of memory"):
        events.extend(process_videos(batch_of(jobs, Exhausted()), StopRequest()))
    assert names_in(tmp_path / "out") == [
        "1.partial.csv",
        "1.partial.meta.json",
        "1.partial.mp4",
    ]


def test_a_video_with_a_bug_is_reported_like_any_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = ScriptedDetector()
    monkeypatch.setattr(detector, "predict", lambda *_: 1 / 0)
    events = process(jobs_for(tmp_path, "1.mp4", "2.mp4"), detector)
    assert outcomes(events) == [VideoFailed, VideoFailed]
    errors = [event.error for event in events if isinstance(event, VideoFailed)]
    assert [type(error) for error in errors] == [ZeroDivisionError] * 2
    assert names_in(tmp_path / "out") == []


def test_stopping_ends_the_video_at_work_and_begins_no_other(tmp_path: Path) -> None:
    jobs = jobs_for(tmp_path, "1.mp4", "2.mp4")
    stop, events = StopRequest(), []
    for event in process_videos(batch_of(jobs, formats=["csv"]), stop):
        events.append(event)
        stop.asked |= event == FrameDone(2, 3)
    assert [type(event) for event in events] == [VideoStarted, FrameDone, FrameDone, VideoDone]
    (done,) = [event for event in events if isinstance(event, VideoDone)]
    assert (done.job.video, done.partial, done.frames) == ("1.mp4", True, 2)


def test_a_stop_between_two_videos_leaves_the_first_whole(tmp_path: Path) -> None:
    jobs = jobs_for(tmp_path, "1.mp4", "2.mp4")
    stop, events = StopRequest(), []
    for event in process_videos(batch_of(jobs, formats=["csv"]), stop):
        events.append(event)
        stop.asked |= isinstance(event, VideoDone)
    assert outcomes(events) == [VideoDone]
    assert names_in(tmp_path / "out") == ["1.csv", "1.meta.json"]


def test_a_batch_that_is_left_alone_keeps_what_it_has(tmp_path: Path) -> None:
    events = process_videos(
        batch_of(jobs_for(tmp_path, "1.mp4", "2.mp4"), formats=["csv"]), StopRequest()
    )
    next(event for event in events if event == FrameDone(2, 3))
    events.close()
    assert names_in(tmp_path / "out") == ["1.partial.csv", "1.partial.meta.json"]


def test_a_video_that_another_run_is_writing_is_skipped(tmp_path: Path) -> None:
    jobs = jobs_for(tmp_path, "1.mp4", "2.mp4")
    other = process_video(jobs[0], DetectionWork(ScriptedDetector(), RunPlan()), FORMATS)
    next(other)
    events = process(jobs, existing=SKIP)
    assert outcomes(events) == [VideoDone, VideoSkipped]  # it is tried once more at the end
    skipped = next(event for event in events if isinstance(event, VideoSkipped))
    assert (skipped.job, skipped.reason) == (jobs[0], "another run is writing it")
    assert outcomes(process(jobs[:1], existing=SKIP)) == [VideoSkipped]
    (failed,) = [event for event in process(jobs[:1]) if isinstance(event, VideoFailed)]
    assert "another run is writing it" in str(failed.error), "it alone was asked for"
    assert isinstance([*other][-1], VideoDone)


def test_a_video_that_another_run_has_done_meanwhile_is_skipped(tmp_path: Path) -> None:
    jobs = jobs_for(tmp_path, "1.mp4", "2.mp4")
    events = process_videos(batch_of(jobs), StopRequest())
    next(event for event in events if isinstance(event, VideoDone))
    process(jobs[1:])
    assert outcomes(list(events)) == [VideoSkipped]


def test_rows_of_all_videos_go_to_one_stream_and_no_file_is_written(tmp_path: Path) -> None:
    stream = StringIO()
    jobs = jobs_for(tmp_path, "1.mp4", "2.mp4")
    events = process(jobs, formats=["jsonl"], rows_to=stream)
    assert outcomes(events) == [VideoDone, VideoDone]
    rows = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(row["video"], row["frame"]) for row in rows] == [
        (video, frame) for video in ("1.mp4", "2.mp4") for frame in range(3)
    ]
    assert names_in(tmp_path) == ["1.mp4", "2.mp4"]


class ClosedStream(StringIO):
    """Whoever reads it goes away after two rows, as `head -2` does."""

    error: OSError = BrokenPipeError()

    def flush(self) -> None:
        if self.getvalue().count("\n") > 2:
            raise self.error


def test_a_stream_that_nobody_reads_ends_the_batch_without_an_error(tmp_path: Path) -> None:
    events = process(
        jobs_for(tmp_path, "1.mp4", "2.mp4"), formats=["jsonl"], rows_to=ClosedStream()
    )
    assert [type(event) for event in events] == [VideoStarted, FrameDone, FrameDone]


def test_a_stream_that_cannot_be_written_is_an_error_of_the_batch(tmp_path: Path) -> None:
    stream = ClosedStream()
    stream.error = OSError(28, os.strerror(28))
    with pytest.raises(OutputError, match="No space left") as failure:
        process(jobs_for(tmp_path, "1.mp4", "2.mp4"), formats=["jsonl"], rows_to=stream)
    assert not isinstance(failure.value, StreamClosedError)


def test_an_interrupted_batch_is_gone_on_from(tmp_path: Path) -> None:
    jobs = jobs_for(tmp_path, "1.mp4", "2.mp4", "3.mp4")
    whole = [replace(job, folder=tmp_path / "whole") for job in jobs]
    process(whole, formats=["csv"])
    stop, number = StopRequest(), 0
    for event in process_videos(batch_of(jobs, formats=["csv"]), stop):
        number += isinstance(event, FrameDone)
        stop.asked |= number == 5
    detector = ScriptedDetector()
    events = process(jobs, detector, formats=["csv"], existing=Existing(resume=True))
    assert outcomes(events) == [VideoSkipped, VideoDone, VideoDone]
    assert sum(detector.batch_sizes) == 1 + 3
    assert names_in(tmp_path / "out") == names_in(tmp_path / "whole")
    for stem in "123":
        mine, theirs = (tmp_path / each / f"{stem}.csv" for each in ("out", "whole"))
        assert mine.read_bytes() == theirs.read_bytes()
        assert meta_of(tmp_path / f"out/{stem}.meta.json")["complete"]


def test_a_video_without_the_stream_that_was_asked_for_does_not_stop_the_others(
    tmp_path: Path,
) -> None:
    jobs = jobs_for(tmp_path, "1.mp4", "2.mp4")
    plan = RunPlan(video_stream=2)
    batch = Batch(
        jobs=jobs,
        new_work=lambda job, earlier: DetectionWork(ScriptedDetector(), plan, earlier=earlier),
        formats=FORMATS,
    )
    events = list(process_videos(batch, StopRequest()))
    assert outcomes(events) == [VideoFailed, VideoFailed]
    (error,) = {str(event.error) for event in events if isinstance(event, VideoFailed)
                and event.job == jobs[0]}  # fmt: skip
    assert "1.mp4: expected a video stream of the file, found 2" in error


def test_a_video_that_another_run_is_writing_is_put_off_to_the_end(tmp_path: Path) -> None:
    """Two runs over one folder, one for CSV and one for JSON, leave both of every video."""
    jobs = jobs_for(tmp_path, "1.mp4", "2.mp4")
    other = process_video(jobs[0], DetectionWork(ScriptedDetector(), RunPlan()), ["csv"])
    next(other)
    events = []
    for event in process_videos(batch_of(jobs, formats=["json"]), StopRequest()):
        events.append(event)
        if isinstance(event, VideoDone):  # the second video
            list(other)
    assert outcomes(events) == [VideoDone, VideoDone]
    assert names_in(tmp_path / "out") == [
        "1.csv", "1.json", "1.meta.json", "2.json", "2.meta.json"
    ]  # fmt: skip
