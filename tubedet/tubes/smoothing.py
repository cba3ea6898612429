"""Boxes steadied over time: each becomes the median of its actor's boxes around it.

Beyond the paper, which takes every frame by itself, so that a box trembles and now and then jumps.
A median leaves a jump out, where a mean would be drawn towards it. A score that says whether
somebody acts becomes a mean: what is taken for an actor by mistake rarely is for long.

What a frame becomes depends on the frames of its window alone. A run that begins anywhere gives the
same boxes wherever it has seen the whole window, and there is no state to keep for resuming.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Generic, TypeVar

from tubedet.detections import Detection

# Seconds before and after a frame: 8 frames at 30 a second, also at 29.97 and where a file's clock
# is rounded to milliseconds, either of which puts the eighth frame behind 8/30 s.
WINDOW_S = Fraction(27, 100)
# Least overlap of an actor's box with that in the next voting frame. Of little consequence: from
# 0.1 to 0.5 the share of right boxes changes by less than 0.5 points.
SAME_ACTOR_IOU = 0.3
# A box below this score has no vote, whatever is shown in the end.
WEAKEST_VOTE = 0.05
# An actor is lost when more voting frames in a row than this have no such box.
MOST_MISSED = 1

BoxXyxy = tuple[float, float, float, float]
Payload = TypeVar("Payload")


@dataclass(frozen=True, slots=True)
class TimedBoxes(Generic[Payload]):
    """A frame on its way through `smooth`.

    Attributes:
        payload: whatever goes with the frame; it is handed on.
        time_s: greater with every frame, in seconds.
        detections: in source pixels; None if the frame was not looked at: then it has no vote.
        is_support: whether its boxes have a vote in other frames; in their own they always do.
        begins_shot: whether a shot begins here: frames before it have no vote in it, nor it in
            them. True or not for the first frame of all.
    """

    payload: Payload
    time_s: Fraction | float
    detections: tuple[Detection, ...] | None
    is_support: bool = True
    begins_shot: bool = False


def smooth(
    frames: Iterable[TimedBoxes[Payload]],
    *,
    window_s: Fraction | float = WINDOW_S,
    same_actor_iou: float = SAME_ACTOR_IOU,
    with_scores: bool = False,
) -> Iterator[TimedBoxes[Payload]]:
    """The frames in their order with steadied boxes; all else of a detection stays as it is.

    A box is followed from its frame backwards and forwards, from voting frame to voting frame:
    the actor's next box is the one that overlaps most with the last, whatever its label. Of the
    boxes found so, as many before as after have a vote, the nearest ones; the box has one itself,
    and each coordinate becomes the median. So an actor who moves one way keeps its boxes, however
    fast, at any rate of frames, also in a shot's first and last frames, where a window with more
    votes on one side would let them lag; and steadied boxes are inside the frame.

    A frame is yielded once one later by more than the window, or of the next shot, has been taken,
    or the last one has been; until then it is held.

    Args:
        frames: one after the other.
        window_s: how far votes come from, in seconds before and after.
        same_actor_iou: least overlap, in [0, 1].
        with_scores: a score becomes the mean of its own and the actor's in all voting frames of
            the window in which it is found.
    """
    held: deque[tuple[TimedBoxes[Payload], _Voter | None]] = deque()
    earlier: deque[_Voter] = deque()  # within the window of the first held frame
    for frame in frames:
        while held and (frame.begins_shot or frame.time_s - held[0][0].time_s > window_s):
            yield _release(held, earlier, window_s, with_scores)
        if frame.begins_shot:
            earlier.clear()
        held.append((frame, _voter(frame, same_actor_iou)))
    while held:
        yield _release(held, earlier, window_s, with_scores)


class _Voter:
    """A frame that has a vote in others.

    What overlaps most with a box is looked up once, since the same ways are followed from every
    frame of a window.
    """

    def __init__(
        self, time_s: Fraction | float, detections: Sequence[Detection], same_actor_iou: float
    ) -> None:
        self.time_s = time_s
        self._detections, self._same_actor_iou = detections, same_actor_iou
        self._matches: dict[BoxXyxy, Detection | None] = {}

    def match(self, box: BoxXyxy) -> Detection | None:
        """The same actor's box here, None if it has none; of equal overlaps the first."""
        if box not in self._matches:
            overlaps = [_iou(box, other.box_xyxy) for other in self._detections]
            greatest = max(overlaps, default=-1.0)
            is_same = greatest >= self._same_actor_iou
            self._matches[box] = self._detections[overlaps.index(greatest)] if is_same else None
        return self._matches[box]


def _voter(frame: TimedBoxes[Payload], same_actor_iou: float) -> _Voter | None:
    if not frame.is_support or frame.detections is None:
        return None
    return _Voter(frame.time_s, frame.detections, same_actor_iou)


def _release(
    held: deque[tuple[TimedBoxes[Payload], _Voter | None]],
    earlier: deque[_Voter],
    window_s: Fraction | float,
    with_scores: bool,
) -> TimedBoxes[Payload]:
    """Take the first held frame, which joins the earlier ones, and steady its boxes."""
    frame, own = held.popleft()
    while earlier and frame.time_s - earlier[0].time_s > window_s:
        earlier.popleft()
    before = list(reversed(earlier))
    after = [voter for _, voter in held if voter]
    if own:
        earlier.append(own)
    if frame.detections is None:
        return frame
    steadied = (_steadied(each, before, after, with_scores) for each in frame.detections)
    return replace(frame, detections=tuple(steadied))


def _steadied(
    detection: Detection, before: Iterable[_Voter], after: Iterable[_Voter], with_scores: bool
) -> Detection:
    """With the median of the actor's boxes; voters are given nearest first."""
    ways = [list(_followed(detection.box_xyxy, voters)) for voters in (before, after)]
    pairs = zip(*ways, strict=False)
    boxes = [detection.box_xyxy, *(voting.box_xyxy for pair in pairs for voting in pair)]
    x1, y1, x2, y2 = (sorted(values)[len(boxes) // 2] for values in zip(*boxes, strict=True))
    score = detection.score
    if with_scores:
        votes = [score, *(voting.score for way in ways for voting in way)]
        score = sum(votes) / len(votes)
    return replace(detection, box_xyxy=(x1, y1, x2, y2), score=score)


def _followed(box: BoxXyxy, voters: Iterable[_Voter]) -> Iterator[Detection]:
    """The actor's detections in frame after frame, until it is lost."""
    missed = 0
    for voter in voters:
        match = voter.match(box)
        missed = 0 if match else missed + 1
        if missed > MOST_MISSED:
            return
        if match:
            box = match.box_xyxy
            yield match


def _iou(a: BoxXyxy, b: BoxXyxy) -> float:
    """As `tubedet.boxes.iou_xyxy` for one pair, for which arrays would take far longer."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)
