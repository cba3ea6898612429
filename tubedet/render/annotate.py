"""Boxes with a tag of label and score, drawn to be read at 240 lines as well as at 4K.

Sizes follow the shorter side of the frame. Text is drawn four times too large and shrunk, which
smooths the strokes of OpenCV 4's letters.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tubedet.detections import Detection
from tubedet.render.label_text import FONT, drawn_label
from tubedet.render.palette import Rgb, class_color, text_color

RgbImage = NDArray[np.uint8]

FAINT_OPACITY = 0.45  # of a box that was found on an earlier frame
_RIM_SHADE = 0.6  # brightness left in the rim that sets a line off from its own colour
_OVERSAMPLING = 4
_FONT_CAP_HEIGHT = 22  # px of a capital at scale 1, in OpenCV 4 and 5


class PixelBox(NamedTuple):
    """Whole pixels, half-open; may reach beyond the frame."""

    x1: int
    y1: int
    x2: int
    y2: int

    def grown(self, margin: int) -> "PixelBox":
        """The box with `margin` pixels more on every side."""
        return PixelBox(self.x1 - margin, self.y1 - margin, self.x2 + margin, self.y2 + margin)

    def overlaps(self, other: "PixelBox") -> bool:
        """Whether the two share a pixel."""
        return (
            min(self.x2, other.x2) > max(self.x1, other.x1)
            and min(self.y2, other.y2) > max(self.y1, other.y1)
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pen:
    """Sizes in pixels that suit a frame."""

    line: int
    rim: int
    cap_height: int

    @classmethod
    def for_frame(cls, height: int, width: int) -> "Pen":
        """Of 240 lines: a 2 px line and 8 px capitals; of 2160: 9 px and 43 px."""
        side = min(height, width)
        line = max(1, round(1 + side / 270))
        return cls(line=line, rim=max(1, line // 4), cap_height=round(4 + side / 55))


def annotate(
    rgb: RgbImage, detections: Sequence[Detection], *, faint: bool = False
) -> NDArray[np.uint8]:
    """Draw every detection: its box, and a filled tag with label and score inside the frame.

    Args:
        rgb: (H, W, 3) uint8; left as it is.
        detections: boxes in pixels of `rgb`, best first: the first is drawn on top.
        faint: draw half transparent, for a frame that keeps the boxes of an earlier one.

    Returns:
        (H, W, 3) uint8, a new array.
    """
    canvas = np.array(rgb, dtype=np.uint8, order="C")
    height, width = canvas.shape[:2]
    pen = Pen.for_frame(height, width)
    outlines = [_outline(detection, pen) for detection in detections]
    inks = [_tag_ink(detection, pen, width, height) for detection in detections]
    spots: list[PixelBox] = []
    for outline, ink in zip(outlines, inks, strict=True):
        spots.append(_tag_spot(outline, ink, spots, width, height))
    best_last = range(len(detections) - 1, -1, -1)
    for i in best_last:
        _draw_outline(canvas, outlines[i], class_color(detections[i].label), pen)
    for i in best_last:
        _draw_tag(canvas, spots[i], class_color(detections[i].label), inks[i])
    if faint and detections:
        canvas = cv2.addWeighted(canvas, FAINT_OPACITY, rgb, 1 - FAINT_OPACITY, 0).astype(np.uint8)
    return canvas


def _outline(detection: Detection, pen: Pen) -> PixelBox:
    """Outer edge of the line: half outside the box, wholly outside of one that it would fill."""
    x1, y1, x2, y2 = detection.box_xyxy
    box = PixelBox(floor(x1), floor(y1), ceil(x2), ceil(y2))
    tiny = min(box.x2 - box.x1, box.y2 - box.y1) < 5 * pen.line
    return box.grown(pen.line if tiny else pen.line // 2)


def _draw_outline(canvas: RgbImage, outline: PixelBox, color: Rgb, pen: Pen) -> None:
    for strip in _ring(canvas, outline.grown(pen.rim), pen.line + 2 * pen.rim):
        strip[...] = strip * _RIM_SHADE
    for strip in _ring(canvas, outline, pen.line):
        strip[...] = color


def _ring(canvas: RgbImage, outer: PixelBox, width: int) -> Iterator[RgbImage]:
    """Views of the four sides of a frame of `width` pixels, no pixel twice, cut to the canvas."""
    x1, y1, x2, y2 = outer
    inner_top, inner_bottom = y1 + width, max(y2 - width, y1 + width)
    yield _view(canvas, PixelBox(x1, y1, x2, inner_top))
    yield _view(canvas, PixelBox(x1, inner_bottom, x2, y2))
    yield _view(canvas, PixelBox(x1, inner_top, x1 + width, inner_bottom))
    yield _view(canvas, PixelBox(max(x2 - width, x1 + width), inner_top, x2, inner_bottom))


def _view(canvas: RgbImage, box: PixelBox) -> RgbImage:
    """The part of the canvas inside `box`; empty where they don't meet."""
    x1, y1, x2, y2 = (max(0, edge) for edge in box)
    return canvas[y1:y2, x1:x2]


def _tag_ink(
    detection: Detection, pen: Pen, frame_width: int, frame_height: int
) -> NDArray[np.float32]:
    """How much of each pixel of a tag is covered by its letters, (h, w) in [0, 1].

    A text that is too long for the frame is squeezed into it.
    """
    text = f"{drawn_label(detection.label, detection.class_index)} {detection.score:.2f}"
    cap = pen.cap_height * _OVERSAMPLING
    margin = round(0.5 * pen.cap_height) * _OVERSAMPLING
    scale = cap / _FONT_CAP_HEIGHT
    strokes = max(1, round(1.6 * scale))
    (text_width, _), _ = cv2.getTextSize(text, FONT, scale, strokes)
    large = np.zeros((cap + 2 * margin, text_width + 2 * margin), dtype=np.uint8)
    cv2.putText(large, text, (margin, margin + cap), FONT, scale, 255, strokes, cv2.LINE_AA)
    width = min(frame_width, ceil(large.shape[1] / _OVERSAMPLING))
    height = min(frame_height, large.shape[0] // _OVERSAMPLING)
    small = cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA)
    return np.divide(small, 255, dtype=np.float32)


def _tag_spot(
    outline: PixelBox,
    ink: NDArray[np.float32],
    taken: Sequence[PixelBox],
    frame_width: int,
    frame_height: int,
) -> PixelBox:
    """Above the box, else inside it, else below: the first that is in the frame and free.

    A box too low for its tag prefers below to inside. With no free place a taken one is used.
    """
    height, width = ink.shape
    inside, below = outline.y1, outline.y2
    roomy = outline.y2 - outline.y1 > 3 * height
    tops = (outline.y1 - height, *((inside, below) if roomy else (below, inside)))
    x1 = min(max(outline.x1, 0), frame_width - width)
    spots = []
    for top in tops:
        y1 = min(max(top, 0), frame_height - height)
        spots.append(PixelBox(x1, y1, x1 + width, y1 + height))
    fitting = [spot for spot, top in zip(spots, tops, strict=True) if spot.y1 == top]
    free = [spot for spot in fitting if not any(spot.overlaps(other) for other in taken)]
    return (free or fitting or spots)[0]


def _draw_tag(canvas: RgbImage, spot: PixelBox, fill: Rgb, ink: NDArray[np.float32]) -> None:
    background, letters = np.array(fill), np.array(text_color(fill))
    _view(canvas, spot)[...] = np.rint(background + ink[..., None] * (letters - background))
