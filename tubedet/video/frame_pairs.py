"""Pairs of consecutive frames, the network's input: one pair for every frame.

A frame is paired with its successor, so that the flow starts at it. The last frame, and one before
a gap of undecodable frames, borrows its predecessor; a frame that stands alone is its own partner.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tubedet.video.frame import VideoFrame
from tubedet.video.time_range import Moment, has_reached


class FramePair(NamedTuple):
    """Two consecutive frames and the one of them, `at`, that the boxes belong to."""

    first: VideoFrame
    second: VideoFrame
    at: VideoFrame


def pair_frames(frames: Iterable[VideoFrame], end: Moment | None = None) -> Iterator[FramePair]:
    """Pair every frame before `end`, lazily, holding at most three frames.

    The last frame before `end` is still paired with its successor: exactly one frame beyond the end
    is taken from `frames`, if there is one. No pair spans a gap.
    """
    before: VideoFrame | None = None
    current: VideoFrame | None = None
    for after in frames:
        if current is not None:
            yield _pair(before, current, after)
        if has_reached(end, after.frame, after.time_s):
            return
        before, current = current, after
    if current is not None:
        yield _pair(before, current, None)


def _pair(before: VideoFrame | None, current: VideoFrame, after: VideoFrame | None) -> FramePair:
    if after is not None and not after.after_gap:
        return FramePair(current, after, at=current)
    if before is not None and not current.after_gap:
        return FramePair(before, current, at=current)
    return FramePair(current, current, at=current)
