"""Which frames of a video are backbone steps: those that a video backbone is given.

A grid in time, counted from the video's first frame, so that a frame is a step or not wherever a
run begins. At a constant rate every k-th frame is one, at below 22.5 frames a second every frame.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, Self

from tubedet.video.frame_pairs import FramePair


@dataclass(frozen=True, slots=True)
class StepGrid:
    """The grid of a video.

    Attributes:
        rate: nominal frames a second.
        step_seconds: the aim for the time between two steps.
    """

    rate: Fraction
    step_seconds: Fraction

    @classmethod
    def of(cls, step_seconds: float, rate: Fraction) -> Self:
        """The grid of a video of this rate for a detector's aim."""
        return cls(rate, Fraction(step_seconds).limit_denominator(10_000))

    @property
    def period_s(self) -> Fraction:
        """Seconds between two steps: a whole number of frames at the nominal rate."""
        return max(1, round(self.rate * self.step_seconds)) / self.rate

    def has_line(self, after_s: Fraction, up_to_s: Fraction) -> bool:
        """Whether the later one of two successive frames is a step, by their times."""
        return self._cell(up_to_s) > self._cell(after_s)

    def _cell(self, time_s: Fraction) -> int:
        # Lines are half a frame before the frames, where rounded times do no harm.
        return (time_s + Fraction(1, 2) / self.rate) // self.period_s


class SteppedPair(NamedTuple):
    """A pair, and what a `PairTask` says of its frames and of the time between them."""

    pair: FramePair
    is_step: bool
    next_is_step: bool
    seconds: float


def with_steps(
    pairs: Iterable[FramePair], rate: Fraction, step_seconds: float | None
) -> Iterator[SteppedPair]:
    """Every pair with its steps; the first frame of a shot is one.

    Args:
        pairs: in the order of frames, one a frame.
        rate: nominal frames a second.
        step_seconds: the aim for the time between two steps; None for no step at all.
    """
    if step_seconds is None:
        yield from (SteppedPair(pair, False, False, _seconds(pair, rate)) for pair in pairs)
        return
    grid = StepGrid.of(step_seconds, rate)
    before_s = Fraction(0)
    for pair in pairs:
        at_s, second_s = pair.at.time_s, pair.second.time_s
        is_step = pair.shot_begins or grid.has_line(before_s, at_s)
        # A frame that borrows its predecessor is itself the second of the pair.
        yield SteppedPair(pair, is_step, grid.has_line(at_s, second_s), _seconds(pair, rate))
        before_s = at_s


def _seconds(pair: FramePair, rate: Fraction) -> float:
    between_s = pair.second.time_s - pair.first.time_s
    return float(between_s if between_s > 0 else 1 / rate)
