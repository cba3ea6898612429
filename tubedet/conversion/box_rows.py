"""From boxes that a foreign format holds to rows, as far as it holds what rows do."""

from fractions import Fraction

from tubedet.writers.run_meta import RunMeta
from tubedet.writers.track_rows import Row

Box = tuple[float, float, float, float]
ANNOTATED = 1.0  # the score of a box where a format or a person gives none


def box_row(
    meta: RunMeta,
    frame: int,
    label: str,
    box_xyxy: Box,
    *,
    tube: int | None = None,
    score: float = ANNOTATED,
    time_s: float | None = None,
    pts: int | None = None,
) -> Row:
    """A row, rounded as rows are; where the frame's time is not known, by the nominal rate."""
    if time_s is None:
        time_s = float(frame / Fraction(meta.fps))
    x1, y1, x2, y2 = (round(edge, 2) + 0.0 for edge in box_xyxy)  # no -0.0
    return Row(meta.video, frame, pts, round(time_s, 6), tube, label, round(score, 4),
               x1, y1, x2, y2)  # fmt: skip


def in_pixels(shares_xyxy: Box, meta: RunMeta) -> Box:
    """A box in fractions of the frame as one in pixels."""
    x1, y1, x2, y2 = shares_xyxy
    return x1 * meta.width, y1 * meta.height, x2 * meta.width, y2 * meta.height
