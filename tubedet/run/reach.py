"""How far around the frames that are asked for a run looks, so that their boxes are whole.

A box depends on the frames in its context window, and on those that have a say in its state; a
smoothed one on the boxes around it, and so on what is around those. Whatever part of a video is
asked for, that much of it is read.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Self

from tubedet.run.steps import StepGrid
from tubedet.runtime.detector import TemporalReach
from tubedet.tubes.smoothing import WINDOW_S
from tubedet.video.cuts import FRAMES_BEFORE
from tubedet.video.time_range import FrameNumber, Moment, Seconds

SPARE_STEPS = 2
# What lies ahead is told by the nominal rate: the true one may be so much lower or higher there.
SLACK = Fraction(3, 2)


@dataclass(frozen=True, slots=True)
class Reach:
    """What is looked at around a frame that is asked for, in seconds; all 0: the frame alone.

    Attributes:
        rate: nominal frames a second.
        votes_s: steps so near to it have boxes too, for smoothing; before it by the nominal rate.
        before_s: the network begins so long before it, by the nominal rate,
        after_s: and ends so long after it.
        read_before_s: decoding to pictures begins so long before it, by the nominal rate.
    """

    rate: Fraction
    votes_s: Fraction = Fraction(0)
    before_s: Fraction = Fraction(0)
    after_s: Fraction = Fraction(0)
    read_before_s: Fraction = Fraction(0)

    @classmethod
    def of(
        cls, temporal: TemporalReach | None, rate: Fraction, *, smooth: bool, find_cuts: bool
    ) -> Self:
        """That of a detector in a video."""
        for_cuts_s = (FRAMES_BEFORE + 1) / rate if find_cuts else Fraction(0)
        if temporal is None:
            return cls(rate, read_before_s=for_cuts_s)
        votes_s = WINDOW_S if smooth else Fraction(0)
        grid = StepGrid.of(temporal.step_seconds, rate)
        state_s = (temporal.state_steps + SPARE_STEPS) * grid.period_s
        before_s = SLACK * (votes_s + Fraction(temporal.seconds_before) + state_s)
        return cls(
            rate,
            votes_s=votes_s,
            before_s=before_s,
            after_s=votes_s + Fraction(temporal.seconds_after) + tolerance_s(rate),
            read_before_s=before_s + for_cuts_s,
        )

    def back_to(self, before_s: Fraction) -> Self:
        """The same, read from so long before on; a network that sees time begins there."""
        return replace(
            self, before_s=before_s if self.before_s else Fraction(0), read_before_s=before_s
        )

    def reading_from(self, start: Moment | None) -> Moment | None:
        """The moment from which frames are needed, of a run from `start` on."""
        if not self.read_before_s or start is None:
            return start
        if isinstance(start, FrameNumber):
            return FrameNumber(max(0, start.value - ceil(self.read_before_s * self.rate)))
        return Seconds(max(Fraction(0), start.value - self.read_before_s))

    def first_frame_needed(self, frame: int) -> int:
        """The first frame that the network is given for the sake of this one and later ones."""
        return frame - ceil(self.before_s * self.rate)


def tolerance_s(rate: Fraction) -> Fraction:
    """By how much times that ought to be equal may differ: a tenth of a frame."""
    return 1 / (10 * rate)


def delay_s(temporal: TemporalReach | None, *, smooth: bool) -> float:
    """How many seconds of video after a frame its boxes wait for."""
    if temporal is None:
        return 0.0
    return temporal.seconds_after + float(WINDOW_S if smooth else 0)
