"""Action segments as subtitles: a cue for each, in the order in which they begin.

A cue is shown from its first frame's own time until its last frame has been shown as long as the
nominal rate has it, or the same tube begins to do something else. Boxes without a tube have none.
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from tubedet.writers.row_store import RowStore
from tubedet.writers.run_meta import RunMeta
from tubedet.writers.segments import ActionSegment, OpenSegments
from tubedet.writers.track_rows import frames_of


class Cue(NamedTuple):
    """What is shown from when to when, in ms; `text` is one line."""

    start_ms: int
    end_ms: int
    tube: int
    text: str


def cues_of(rows: RowStore, meta: RunMeta) -> list[Cue]:
    """The cues of a video: few beside its boxes."""
    frame_s = float(1 / Fraction(meta.fps))
    # Of a stream nothing but the MP4 can be shown.
    offset_s = (meta.mp4_offset_s or 0.0) if meta.live else 0.0
    segments = sorted(_segments(rows), key=lambda each: (each.tube, each.start_s))
    cues = []
    for segment, later in pairwise([*segments, None]):
        assert segment is not None
        end_s = segment.end_s + frame_s
        if later is not None and later.tube == segment.tube:
            end_s = min(end_s, later.start_s)
        start_ms, end_ms = (round((at_s + offset_s) * 1000) for at_s in (segment.start_s, end_s))
        text = " ".join(segment.label.split())
        cues.append(Cue(start_ms, max(end_ms, start_ms + 1), segment.tube, text))
    return sorted(cues)


def clock(time_ms: int, mark: str) -> str:
    """00:01:02.500, with a mark before the thousandths; hours as they are."""
    seconds, thousandths = divmod(time_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{mark}{thousandths:03d}"


def _segments(rows: RowStore) -> Iterator[ActionSegment]:
    segments = OpenSegments()
    for found in frames_of(rows.rows()):
        yield from segments.add(found)
    yield from segments.rest()
