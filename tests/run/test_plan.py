"""How many frames a run will write, and how it learns that it should end; counted by hand."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest

from tubedet.errors import UsageError
from tubedet.run.plan import FramePlan, RunPlan
from tubedet.run.stop import StopRequest
from tubedet.video.frame import VideoInfo
from tubedet.video.time_range import FrameNumber, Moment, Seconds, TimeRange


def info(frames: int | None, duration_s: float | None = None) -> VideoInfo:
    """A video of 25 frames a second."""
    return VideoInfo(
        width=64,
        height=48,
        rotation=0,
        time_base=Fraction(1, 25),
        fps=Fraction(25),
        frames=frames,
        duration_s=duration_s,
        video_codec="h264",
        audio_codecs=(),
    )


def span(start: Moment | None = None, end: Moment | None = None) -> FramePlan:
    return FramePlan(span=TimeRange(start, end))


WHOLE = 100
CASES: dict[str, tuple[FramePlan, int]] = {
    "whole": (FramePlan(), 100),
    # Frames that the stride passes over are written too, into the video.
    "stride": (FramePlan(stride=3), 100),
    "from frame": (span(FrameNumber(30)), 70),
    "up to frame": (span(None, FrameNumber(30)), 30),
    "from and up to frame": (span(FrameNumber(20), FrameNumber(30)), 10),
    "from second": (span(Seconds(Fraction(1))), 75),
    "up to second": (span(None, Seconds(Fraction(2))), 50),
    "from and up to second": (span(Seconds(Fraction(1)), Seconds(Fraction(3))), 50),
    "from frame up to second": (span(FrameNumber(10), Seconds(Fraction(2))), 40),
    # Half a second is between frame 12, which stands at 0.48 s, and frame 13, at 0.52 s.
    "from between two frames": (span(Seconds(Fraction(1, 2))), 87),
    "up to between two frames": (span(None, Seconds(Fraction(1, 2))), 13),
    "from a little behind a frame": (span(Seconds(Fraction(41, 100))), 89),
    "up to a little behind a frame": (span(None, Seconds(Fraction(41, 100))), 11),
    "beyond the end": (span(FrameNumber(90), FrameNumber(500)), 10),
    "up to beyond the end": (span(None, FrameNumber(500)), 100),
    "maximum": (FramePlan(max_frames=7), 7),
    "maximum of a stride": (FramePlan(max_frames=7, stride=3), 21),
    "maximum beyond the end": (FramePlan(max_frames=70, stride=3), 100),
    "maximum within a range": (
        FramePlan(span=TimeRange(FrameNumber(10), FrameNumber(40)), max_frames=4, stride=5),
        20,
    ),
    "maximum beyond a range": (
        FramePlan(span=TimeRange(FrameNumber(10), FrameNumber(40)), max_frames=9, stride=5),
        30,
    ),
    "start behind the promised end": (span(FrameNumber(150)), 1),
}


@pytest.mark.parametrize("name", CASES)
def test_the_frames_to_be_written_are_those_of_the_plan(name: str) -> None:
    plan, expected = CASES[name]
    assert plan.expected_frames(info(WHOLE)) == expected
    # Without a count the container's duration tells it: 4 s at 25 frames a second.
    assert plan.expected_frames(info(None, duration_s=4.0)) == expected


def test_where_the_container_says_nothing_nothing_is_expected() -> None:
    assert FramePlan().expected_frames(info(None)) is None
    assert FramePlan(max_frames=3).expected_frames(info(None)) is None


@pytest.mark.parametrize(
    ("plan", "is_cut"),
    [
        (FramePlan(), False),
        (FramePlan(stride=3), False),
        (span(FrameNumber(3)), False),
        (span(None, FrameNumber(3)), True),
        (span(FrameNumber(1), Seconds(Fraction(3))), True),
        (FramePlan(max_frames=3), True),
    ],
)
def test_a_run_that_may_end_before_the_video_is_known(plan: FramePlan, is_cut: bool) -> None:
    assert plan.cut_end is is_cut


@pytest.mark.parametrize("name", ["stride", "max_frames", "video_stream", "batch_size"])
@pytest.mark.parametrize("number", [0, -1])
def test_a_number_below_one_is_a_usage_error(name: str, number: int) -> None:
    numbers: dict[str, Any] = {name: number}
    with pytest.raises(
        UsageError, match=f"{name.replace('_', ' ')}: expected 1 or more, found {number}"
    ):
        RunPlan(**numbers)


def test_results_come_until_a_stop_is_asked_for() -> None:
    stop = StopRequest()
    taken = []
    for number in stop.awaited(iter(range(10))):
        taken.append(number)
        stop.asked = number == 3
    assert taken == [0, 1, 2, 3]
    assert stop()


def test_a_stop_that_was_asked_before_lets_nothing_be_made() -> None:
    def results() -> Iterator[int]:
        raise AssertionError("nobody wants it")
        yield 0

    assert list(StopRequest(asked=True).awaited(results())) == []


def test_only_the_making_of_a_result_may_be_interrupted() -> None:
    stop = StopRequest()
    while_making = []

    def results() -> Iterator[int]:
        for number in range(3):
            while_making.append(stop.interruptible)
            yield number

    while_using = [stop.interruptible for _ in stop.awaited(results())]
    assert while_making == [True] * 3
    assert while_using == [False] * 3
    assert not stop.interruptible


def test_nothing_may_be_interrupted_after_a_result_that_failed() -> None:
    stop = StopRequest()

    def results() -> Iterator[int]:
        raise KeyboardInterrupt
        yield 0

    with pytest.raises(KeyboardInterrupt):
        list(stop.awaited(results()))
    assert not stop.interruptible
