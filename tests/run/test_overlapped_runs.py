"""Runs whose reading, network and writing go on at the same time, and how they end."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from tests.run.test_ends import ALL, FRAMES, a_box_in_every_frame, check_partial, video, work
from tests.run.test_overlap import own_threads
from tests.scripted_run import TellingDetector, WorkThatFails, ending, job_of, run
from tubedet.errors import OutputError, VideoError
from tubedet.pipeline import process_video
from tubedet.run import overlap
from tubedet.run.events import FrameDone, VideoDone
from tubedet.video.reader import VideoReader
from tubedet.writers.csv import CsvWriter

__all__ = ["a_box_in_every_frame", "video"]
pytestmark = pytest.mark.overlapped


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert own_threads() == []


def test_outputs_are_those_of_a_run_that_goes_frame_by_frame(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(job_of(video, video.parent / "at once"), work(), ["csv", "jsonl", "mp4"])
    monkeypatch.setattr(overlap, "HELD", 0)
    run(job_of(video, video.parent / "in turn"), work(), ["csv", "jsonl", "mp4"])
    for name in ("clip.csv", "clip.jsonl", "clip.tubedet.mp4"):
        at_once, in_turn = (video.parent / each / name for each in ("at once", "in turn"))
        assert at_once.read_bytes() == in_turn.read_bytes(), name


@pytest.mark.parametrize("after", [1, 4])
def test_a_run_that_is_stopped_keeps_what_was_found_until_then(video: Path, after: int) -> None:
    done = run(job_of(video), work(), ALL, after=after)
    assert after <= done.frames <= after + overlap.HELD + 1
    check_partial(video.parent / "out", done.frames)


def test_a_run_that_is_left_alone_keeps_what_was_found_until_then(video: Path) -> None:
    events = process_video(job_of(video), work(), ALL)
    assert next(events) == FrameDone(1, FRAMES)
    events.close()
    check_partial(video.parent / "out", 1 + overlap.HELD)


@pytest.mark.parametrize("at", range(1, FRAMES))
@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyboardInterrupt(), MemoryError()])
def test_an_error_in_the_network_leaves_all_that_was_found_before(
    video: Path, error: BaseException, at: int
) -> None:
    met, _ = ending(job_of(video), WorkThatFails(error, at), ALL, BaseException)
    assert met is error
    check_partial(video.parent / "out", at)


@pytest.mark.parametrize("at", range(1, FRAMES))
def test_an_error_while_reading_leaves_all_frames_before(
    video: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_rgb = VideoReader._rgb

    def failing(reader: VideoReader, picture: Any) -> NDArray[np.uint8]:
        if reader.decoded_frames > at:
            raise VideoError("a picture that cannot be converted")
        return to_rgb(reader, picture)

    monkeypatch.setattr(VideoReader, "_rgb", failing)
    met, events = ending(job_of(video), work(), ALL, VideoError)
    assert "cannot be converted" in str(met)
    # The frame before it waits for it, being paired with it.
    if at > 1:
        assert isinstance(events[-1], VideoDone)
        assert (events[-1].partial, events[-1].frames) == (True, at - 1)
        check_partial(video.parent / "out", at - 1)


@pytest.mark.parametrize("at", range(1, FRAMES))
def test_an_output_that_fails_ends_the_run_with_the_frames_before(
    video: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = CsvWriter.write

    def failing(writer: CsvWriter, result: Any) -> None:
        if result.frame.frame >= at:
            raise OutputError("disk full")
        write(writer, result)

    monkeypatch.setattr(CsvWriter, "write", failing)
    met, events = ending(job_of(video), work(), ["csv", "jsonl"], OutputError)
    assert str(met) == "disk full"
    *frames, done = events
    assert frames == [FrameDone(n, FRAMES) for n in range(1, at + 1)]
    assert isinstance(done, VideoDone)
    assert (done.partial, done.frames) == (True, at)
    check_partial(video.parent / "out", at, ["csv", "jsonl"])


def test_the_network_is_not_waited_for_by_the_outputs_nor_they_by_it(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frame 3 is written while the network is at frame 4, and frame 9 is read by then."""
    written, begun = threading.Event(), threading.Event()
    write = CsvWriter.write

    def told(writer: CsvWriter, result: Any) -> None:
        if result.frame.frame == 3:
            assert begun.wait(20)
        write(writer, result)
        if result.frame.frame == 3:
            written.set()

    class Waiting(TellingDetector):
        def predict(self, clip: Tensor, tasks: Any, state: Any = None) -> Any:
            if len(self.looked) == 4:
                begun.set()
                assert written.wait(20)
            return super().predict(clip, tasks, state)

    monkeypatch.setattr(CsvWriter, "write", told)
    assert run(job_of(video), work(Waiting()), ["csv"]).frames == FRAMES
