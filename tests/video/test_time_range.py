from fractions import Fraction

import pytest

from tubedet.errors import UsageError
from tubedet.video.time_range import (
    FrameNumber,
    Moment,
    Seconds,
    TimeRange,
    has_reached,
    parse_moment,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", Seconds(Fraction(0))),
        ("12", Seconds(Fraction(12))),
        ("12.5", Seconds(Fraction(25, 2))),
        ("0.1", Seconds(Fraction(1, 10))),
        ("0f", FrameNumber(0)),
        ("300f", FrameNumber(300)),
        ("01:30", Seconds(Fraction(90))),
        ("1:02.25", Seconds(Fraction(249, 4))),
        ("01:02:03.004", Seconds(Fraction(3_723_004, 1000))),
        ("100:00:00", Seconds(Fraction(360_000))),
    ],
)
def test_a_moment_is_read_exactly(text: str, expected: Moment) -> None:
    assert parse_moment(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1s", "-1", "-3f", "1.5f", "1e3", ".", "1,5", "00:60", "60:00", "1:2:3:4", "٣"],
)
def test_anything_else_is_a_usage_error_that_shows_the_text(text: str) -> None:
    with pytest.raises(UsageError, match="expected seconds") as caught:
        parse_moment(text)
    assert repr(text) in str(caught.value)


def test_a_frame_number_is_reached_by_that_frame_whatever_its_time() -> None:
    reached = [has_reached(FrameNumber(3), frame, Fraction(0)) for frame in (2, 3, 4)]
    assert reached == [False, True, True]


def test_seconds_are_reached_by_the_frame_that_stands_exactly_there() -> None:
    third = Seconds(Fraction("0.3"))
    reached = [has_reached(third, 0, Fraction(frame, 10)) for frame in (2, 3, 4)]
    assert reached == [False, True, True]


def test_nothing_reaches_no_moment() -> None:
    assert not has_reached(None, 99, Fraction(99))


@pytest.mark.parametrize(
    ("start", "end", "duration", "expected"),
    [
        (None, None, None, TimeRange(None, None)),
        ("12", "00:20", None, TimeRange(Seconds(Fraction(12)), Seconds(Fraction(20)))),
        ("30f", "2.5", None, TimeRange(FrameNumber(30), Seconds(Fraction(5, 2)))),
        ("12.5", None, "0.1", TimeRange(Seconds(Fraction(25, 2)), Seconds(Fraction(63, 5)))),
        ("30f", None, "10f", TimeRange(FrameNumber(30), FrameNumber(40))),
        (None, None, "3", TimeRange(Seconds(Fraction(0)), Seconds(Fraction(3)))),
        (None, None, "3f", TimeRange(FrameNumber(0), FrameNumber(3))),
    ],
)
def test_options_become_a_start_and_an_end(
    start: str | None, end: str | None, duration: str | None, expected: TimeRange
) -> None:
    assert TimeRange.from_options(start, end, duration) == expected


@pytest.mark.parametrize(
    ("start", "end", "duration", "message"),
    [
        ("1", "2", "3", "--end or --duration, found both"),
        ("30f", None, "2", "both in seconds or both in frames, found 30f and 2"),
        ("2", None, "30f", "both in seconds or both in frames, found 2 and 30f"),
        ("2", "2", None, "found from 2 s up to 2 s"),
        ("40f", "30f", None, "found from frame 40 up to frame 30"),
        ("1", None, "0", "found from 1 s up to 1 s"),
        (None, "0", None, "found up to 0 s"),
        (None, "0f", None, "found up to frame 0"),
        ("5f", "0", None, "found from frame 5 up to 0 s"),
    ],
)
def test_options_that_contradict_each_other_are_a_usage_error(
    start: str | None, end: str | None, duration: str | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        TimeRange.from_options(start, end, duration)


def test_a_range_says_in_words_what_it_covers() -> None:
    assert (
        str(TimeRange(Seconds(Fraction(25, 2)), FrameNumber(300))) == "from 12.5 s up to frame 300"
    )
    assert str(TimeRange()) == "the whole video"
