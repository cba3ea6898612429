"""Which frames are backbone steps, counted by hand for the rates that videos have."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest

from tubedet.run.steps import StepGrid, with_steps
from tubedet.video.frame import VideoFrame
from tubedet.video.frame_pairs import pair_frames

ROUNDED = Fraction(1, 1000)  # Matroska's clock


def frames_at(times_s: Sequence[Fraction], gaps: Sequence[int] = ()) -> list[VideoFrame]:
    rgb = np.zeros((2, 2, 3), np.uint8)
    return [VideoFrame(n, n, time_s, rgb, n in gaps) for n, time_s in enumerate(times_s)]


def steps_of(frames: Sequence[VideoFrame], rate: Fraction) -> list[int]:
    stepped = list(with_steps(pair_frames(frames), rate, 1 / 15))
    steps = [each.pair.at.frame for each in stepped if each.is_step]
    following = [each.pair.second.frame for each in stepped if each.next_is_step]
    shots = {each.pair.at.frame for each in stepped if each.pair.shot_begins}
    assert set(following) == set(steps) - shots, "steps are announced by the frame before"
    return steps


@pytest.mark.parametrize(
    ("rate", "every"),
    [
        (Fraction(1, 2), 1),
        (Fraction(10), 1),
        (Fraction(12), 1),
        (Fraction(15), 1),
        (Fraction(20), 1),
        (Fraction(24000, 1001), 2),
        (Fraction(24), 2),
        (Fraction(25), 2),
        (Fraction(30000, 1001), 2),
        (Fraction(30), 2),
        (Fraction(50), 3),
        (Fraction(60000, 1001), 4),
        (Fraction(60), 4),
        (Fraction(120), 8),
    ],
)
@pytest.mark.parametrize("clock", [None, ROUNDED])
def test_at_a_constant_rate_every_so_many_frames_are_steps(
    rate: Fraction, every: int, clock: Fraction | None
) -> None:
    times = [n / rate for n in range(500)]
    if clock:
        times = [round(time_s / clock) * clock for time_s in times]
    assert steps_of(frames_at(times), rate) == list(range(0, 500, every))
    assert StepGrid(rate, Fraction(1, 15)).period_s == every / rate


@pytest.mark.parametrize("start", [1, 2, 7, 30])
def test_the_grid_is_the_same_wherever_a_run_begins_but_for_its_first_frame(start: int) -> None:
    frames = frames_at([Fraction(n, 30) for n in range(60)])
    assert set(steps_of(frames[start:], Fraction(30))) - {start} == set(
        range(start + 1 + (start + 1) % 2, 60, 2)
    )


def test_the_first_frame_of_a_shot_is_a_step_and_leaves_the_grid_where_it_is() -> None:
    frames = frames_at([Fraction(n, 30) for n in range(12)], gaps=[5])
    assert steps_of(frames, Fraction(30)) == [0, 2, 4, 5, 6, 8, 10]


def test_where_the_rate_varies_the_time_decides() -> None:
    """At a nominal 30 a second lines are at -1/2, 3/2, 7/2 … thirtieths of a second."""
    thirtieths = [0, 1, 2, 4, 8, 9, 9.5, 10, 10.4, 11.4, 12]
    frames = frames_at([Fraction(n) / 30 for n in thirtieths])
    steps = steps_of(frames, Fraction(30))
    assert [thirtieths[step] for step in steps] == [0, 2, 4, 8, 9.5, 12]


def test_the_seconds_of_a_pair_are_those_between_its_frames() -> None:
    frames = frames_at([Fraction(0), Fraction(1, 30), Fraction(1, 5)], gaps=[2])
    stepped = list(with_steps(pair_frames(frames), Fraction(25), 1 / 15))
    # The second frame borrows the first; the third stands alone.
    assert [each.seconds for each in stepped] == pytest.approx([1 / 30, 1 / 30, 1 / 25])


def test_without_a_backbone_there_is_no_step() -> None:
    frames = frames_at([Fraction(n, 30) for n in range(4)])
    stepped = list(with_steps(pair_frames(frames), Fraction(30), None))
    assert [(each.is_step, each.next_is_step) for each in stepped] == [(False, False)] * 4
