"""What is asked of every frame of a run: a row, boxes, a backbone step, or nothing."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

from tubedet.run.plan import FramePlan
from tubedet.run.reach import SLACK, Reach
from tubedet.run.steps import SteppedPair
from tubedet.runtime.detector import PairTask
from tubedet.video.frame_pairs import FramePair
from tubedet.video.time_range import FrameNumber, has_reached


class AskedPair(NamedTuple):
    """A pair of frames on its way to the network.

    Attributes:
        pair: one a frame.
        task: for the network; None if nothing that is asked for depends on this frame.
        is_reported: the frame belongs to the span: it is written, drawn and counted,
        is_due: and the stride falls on it, so it is reported with its boxes.
        begins: what the network keeps of the frames before does not lead to this one: a shot
            begins with it, or the network was spared them.
    """

    pair: FramePair
    task: PairTask | None
    is_reported: bool
    is_due: bool
    begins: bool

    @property
    def is_idle(self) -> bool:
        """Whether the network has nothing to do for it."""
        task = self.task
        return task is None or not (task.boxes or task.is_step or task.next_is_step)


def asked_pairs(
    stepped: Iterable[SteppedPair], plan: FramePlan, reach: Reach
) -> Iterator[AskedPair]:
    """Every pair with what is asked of it, to the end of what the frames of the plan depend on.

    Args:
        stepped: from `reach.reading_from(plan.span.start)` on.
        plan: which frames are due.
        reach: what their boxes depend on.
    """
    due = _DueFrames(plan, reach.rate)
    was_needed = False
    for pair, is_step, next_is_step, seconds in stepped:
        due.move_to(pair)
        is_after = due.latest_s is not None and pair.at.time_s - due.latest_s <= reach.after_s
        if due.is_over and (pair.shot_begins or not is_after):
            return
        is_needed = is_after or due.is_within(reach.before_s)
        task = None
        if is_needed:
            is_near = due.is_near(pair.at.time_s, reach.votes_s)
            boxes = due.is_due or (is_step and is_near)
            task = PairTask(boxes, is_step, next_is_step, seconds)
        begins = pair.shot_begins or (is_needed and not was_needed and reach.before_s > 0)
        was_needed = is_needed
        yield AskedPair(pair, task, due.is_reported, due.is_due, begins)


class _DueFrames:
    """Where the frames that the plan asks for are, as seen from the frame at hand.

    Attributes:
        is_reported, is_due: as in `AskedPair`.
        is_over: all frames behind this one belong to the plan no more, and neither does it.
        latest_s: time of the latest frame that is due; None before the first.
        ahead_s: the least time until the next one, by the nominal rate; None if none is left.
    """

    def __init__(self, plan: FramePlan, rate: Fraction) -> None:
        self._plan, self._rate = plan, rate
        self._first: int | None = None
        self.is_reported = self.is_due = self.is_over = False
        self.latest_s: Fraction | None = None
        self.ahead_s: Fraction | None = None

    def move_to(self, pair: FramePair) -> None:
        """Look from the next frame."""
        frame, time_s = pair.at.frame, pair.at.time_s
        span = self._plan.span
        self.is_over = self.is_over or has_reached(span.end, frame, time_s)
        begun = span.start is None or has_reached(span.start, frame, time_s)
        if self._first is None and begun:
            self._first = frame
        if self._first is None:
            self.ahead_s = self._until_start(frame, time_s)
            return
        rank, passed_over = divmod(frame - self._first, self._plan.stride)
        most = self._plan.max_frames
        self.is_over = self.is_over or (most is not None and rank >= most)
        self.is_reported = not self.is_over
        self.is_due = self.is_reported and not passed_over
        self.latest_s = time_s if self.is_due else self.latest_s
        self.ahead_s = self._until_next(frame, -passed_over % self._plan.stride)

    def is_within(self, ahead_s: Fraction) -> bool:
        """Whether the next due frame, or this one, may be so near."""
        return self.ahead_s is not None and self.ahead_s <= ahead_s

    def is_near(self, time_s: Fraction, seconds: Fraction) -> bool:
        """Whether a due frame is so near, or may be, before or after this one."""
        is_after = self.latest_s is not None and time_s - self.latest_s <= seconds
        return is_after or self.is_within(SLACK * seconds)

    def _until_start(self, frame: int, time_s: Fraction) -> Fraction:
        start = self._plan.span.start
        assert start is not None
        if isinstance(start, FrameNumber):
            return (start.value - frame) / self._rate
        return start.value - time_s

    def _until_next(self, frame: int, frames: int) -> Fraction | None:
        assert self._first is not None
        upcoming = frame + frames
        end, most = self._plan.span.end, self._plan.max_frames
        ends = isinstance(end, FrameNumber) and upcoming >= end.value
        is_full = most is not None and (upcoming - self._first) // self._plan.stride >= most
        return None if self.is_over or ends or is_full else frames / self._rate
