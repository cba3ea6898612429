import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np
import pytest

from tubedet.video.cuts import FRAMES_AFTER
from tubedet.video.frame import VideoFrame
from tubedet.video.frame_pairs import FramePair, pair_frames
from tubedet.video.time_range import FrameNumber, Moment, Seconds


def make_frames(count: int, gaps: Iterable[int] = ()) -> Iterator[VideoFrame]:
    """Frames at 10 fps; those numbered in `gaps` have a lost frame before them."""
    for number in range(count):
        rgb = np.zeros((2, 2, 3), np.uint8)
        yield VideoFrame(number, number, Fraction(number, 10), rgb, after_gap=number in gaps)


def make_shots(*lengths: int) -> Iterator[VideoFrame]:
    """Shots of so many still frames each, every one of another pattern."""
    number = 0
    for shot, length in enumerate(lengths):
        rgb = np.random.default_rng(shot).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        for _ in range(length):
            yield VideoFrame(number, number, Fraction(number, 10), rgb.copy())
            number += 1


def shot_beginnings(pairs: Iterable[FramePair]) -> list[int]:
    return [pair.at.frame for pair in pairs if pair.shot_begins]


def numbers(pairs: Iterable[FramePair]) -> list[tuple[int, int, int]]:
    return [(pair.first.frame, pair.second.frame, pair.at.frame) for pair in pairs]


@pytest.mark.parametrize(
    ("count", "gaps", "expected"),
    [
        (0, (), []),
        (1, (), [(0, 0, 0)]),
        (2, (), [(0, 1, 0), (0, 1, 1)]),
        (4, (), [(0, 1, 0), (1, 2, 1), (2, 3, 2), (2, 3, 3)]),
        (4, (2,), [(0, 1, 0), (0, 1, 1), (2, 3, 2), (2, 3, 3)]),
        (3, (1,), [(0, 0, 0), (1, 2, 1), (1, 2, 2)]),
        (3, (2,), [(0, 1, 0), (0, 1, 1), (2, 2, 2)]),
        (3, (1, 2), [(0, 0, 0), (1, 1, 1), (2, 2, 2)]),
        (2, (0,), [(0, 1, 0), (0, 1, 1)]),
    ],
)
def test_every_frame_has_a_pair_and_no_pair_spans_a_gap(
    count: int, gaps: tuple[int, ...], expected: list[tuple[int, int, int]]
) -> None:
    assert numbers(pair_frames(make_frames(count, gaps))) == expected


@pytest.mark.parametrize("end", [FrameNumber(3), Seconds(Fraction(3, 10))])
def test_the_last_frame_of_a_range_keeps_its_successor_and_only_that_one_is_read(
    end: Moment,
) -> None:
    frames = make_frames(10)
    assert numbers(pair_frames(frames, end)) == [(0, 1, 0), (1, 2, 1), (2, 3, 2)]
    assert next(frames).frame == 4


def test_the_last_frame_of_a_range_borrows_its_predecessor_where_a_gap_follows() -> None:
    assert numbers(pair_frames(make_frames(10, gaps=[3]), FrameNumber(3))) == [
        (0, 1, 0),
        (1, 2, 1),
        (1, 2, 2),
    ]


def test_an_end_behind_the_video_changes_nothing() -> None:
    assert numbers(pair_frames(make_frames(3), FrameNumber(99))) == numbers(
        pair_frames(make_frames(3))
    )


def test_a_pair_comes_as_soon_as_its_second_frame_is_read() -> None:
    read: list[int] = []

    def watched() -> Iterator[VideoFrame]:
        for frame in make_frames(10):
            read.append(frame.frame)
            yield frame

    pairs = pair_frames(watched())
    assert next(pairs).at.frame == 0
    assert read == [0, 1]
    assert next(pairs).at.frame == 1
    assert read == [0, 1, 2]


def test_at_most_three_frames_are_alive_however_long_the_video() -> None:
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    def watched() -> Iterator[VideoFrame]:
        nonlocal alive, most
        for frame in make_frames(3000):
            alive = [*(pixels for pixels in alive if pixels() is not None), weakref.ref(frame.rgb)]
            most = max(most, len(alive))
            yield frame

    assert sum(1 for _ in pair_frames(watched())) == 3000
    assert most == 3


def test_a_shot_begins_with_the_first_frame_and_behind_gaps() -> None:
    for find_cuts in (False, True):
        pairs = pair_frames(make_frames(6, gaps=[2, 5]), find_cuts=find_cuts)
        assert shot_beginnings(pairs) == [0, 2, 5]


@pytest.mark.parametrize(
    ("lengths", "expected", "begins"),
    [
        ((3, 3), [(0, 1, 0), (1, 2, 1), (1, 2, 2), (3, 4, 3), (4, 5, 4), (4, 5, 5)], [0, 3]),
        ((1, 2), [(0, 0, 0), (1, 2, 1), (1, 2, 2)], [0, 1]),
        ((2, 1), [(0, 1, 0), (0, 1, 1), (2, 2, 2)], [0, 2]),
        ((2, 1, 2), [(0, 1, 0), (0, 1, 1), (2, 2, 2), (3, 4, 3), (3, 4, 4)], [0, 2, 3]),
    ],
)
def test_no_pair_spans_a_cut_where_cuts_are_looked_for(
    lengths: tuple[int, ...], expected: list[tuple[int, int, int]], begins: list[int]
) -> None:
    pairs = list(pair_frames(make_shots(*lengths), find_cuts=True))
    assert numbers(pairs) == expected
    assert shot_beginnings(pairs) == begins


def test_cuts_are_not_looked_for_unless_that_is_asked() -> None:
    pairs = list(pair_frames(make_shots(2, 2)))
    assert numbers(pairs) == [(0, 1, 0), (1, 2, 1), (2, 3, 2), (2, 3, 3)]
    assert shot_beginnings(pairs) == [0]


def test_the_end_of_a_range_changes_no_pair_before_it_and_costs_two_frames_more() -> None:
    whole = numbers(pair_frames(make_shots(5, 5, 5), find_cuts=True))
    for end in range(1, 12):
        frames = make_shots(5, 5, 5)
        assert numbers(pair_frames(frames, FrameNumber(end), find_cuts=True)) == whole[:end]
        assert next(frames).frame == end + 1 + FRAMES_AFTER


def test_five_frames_are_alive_at_most_where_cuts_are_looked_for() -> None:
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    def watched() -> Iterator[VideoFrame]:
        nonlocal alive, most
        for frame in make_shots(*[7] * 30):
            alive = [*(pixels for pixels in alive if pixels() is not None), weakref.ref(frame.rgb)]
            most = max(most, len(alive))
            yield frame

    deque(pair_frames(watched(), find_cuts=True), maxlen=0)  # a loop would hold the latest pair
    assert most == 3 + FRAMES_AFTER
