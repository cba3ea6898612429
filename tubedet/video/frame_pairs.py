"""Pairs of consecutive frames, the network's input: one pair for every frame.

A frame is paired with its successor, so that the flow starts at it. The last frame of a shot
borrows its predecessor; a frame that stands alone is its own partner. A shot ends with the frames,
before a gap of undecodable frames and, where cuts are looked for, before a cut.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from tubedet.video.cuts import mark_known_shots, mark_shots
from tubedet.video.frame import VideoFrame
from tubedet.video.time_range import Moment, has_reached


class FramePair(NamedTuple):
    """Two consecutive frames and the one of them, `at`, that the boxes belong to.

    `shot_begins`: `at` is the first of the frames, or the first after a gap or a cut. What was seen
    before it tells nothing of what follows.
    """

    first: VideoFrame
    second: VideoFrame
    at: VideoFrame
    shot_begins: bool = False


def pair_frames(
    frames: Iterable[VideoFrame],
    end: Moment | None = None,
    *,
    find_cuts: bool = False,
    known_shots: Callable[[VideoFrame], bool] | None = None,
) -> Iterator[FramePair]:
    """Pair every frame before `end`, lazily; no pair spans a gap, or a cut if those are looked for.

    The last frame before `end` is still paired with its successor. So exactly one frame beyond the
    end is taken from `frames`, if there is one, and three are held at a time; with `find_cuts`, for
    which a frame waits for `cuts.FRAMES_AFTER` more, so many are taken and held in addition.
    They need no pixels if `known_shots` tells of each whether a shot begins with it.
    """
    before: VideoFrame | None = None
    current: VideoFrame | None = None
    begins = True
    for after, begins_after in _marked(frames, find_cuts, known_shots):
        if current is not None:
            yield _pair(before, current, None if begins_after else after, begins)
            begins = begins_after
        if has_reached(end, after.frame, after.time_s):
            return
        before, current = None if begins else current, after
    if current is not None:
        yield _pair(before, current, None, begins)


def _marked(
    frames: Iterable[VideoFrame],
    find_cuts: bool,
    known_shots: Callable[[VideoFrame], bool] | None,
) -> Iterator[tuple[VideoFrame, bool]]:
    if not find_cuts:
        return ((frame, frame.after_gap) for frame in frames)
    return mark_shots(frames) if known_shots is None else mark_known_shots(frames, known_shots)


def _pair(
    before: VideoFrame | None, current: VideoFrame, after: VideoFrame | None, begins: bool
) -> FramePair:
    """The pair of a frame; its neighbours are None where they belong to another shot."""
    if after is not None:
        return FramePair(current, after, current, begins)
    return FramePair(before or current, current, current, begins)
