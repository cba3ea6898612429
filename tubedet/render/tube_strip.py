"""A tube as a strip: its title, and its actor at some moments with the time under each."""

from collections.abc import Sequence
from math import ceil, floor

import cv2
import numpy as np
from numpy.typing import NDArray

from tubedet.render.label_text import FONT, drawn_label
from tubedet.render.palette import Rgb, class_color, text_color

RgbImage = NDArray[np.uint8]
Box = tuple[float, float, float, float]

CELL_WIDTH, CELL_HEIGHT = 150, 200  # px
TITLE_HEIGHT, CAPTION_HEIGHT, GAP = 28, 22, 4
PAPER: Rgb = (255, 255, 255)
INK: Rgb = (40, 40, 40)
SURROUNDINGS = 0.35  # of the box's sides, shown around it


def cut_out(rgb: RgbImage, box_xyxy: Box) -> RgbImage:
    """The pixels (H, W, 3) that a box touches, at least one."""
    x1, y1, x2, y2 = box_xyxy
    height, width = rgb.shape[:2]
    left, top = (min(max(0, floor(edge)), side - 1) for edge, side in ((x1, width), (y1, height)))
    right, bottom = max(left + 1, ceil(x2)), max(top + 1, ceil(y2))
    return rgb[top:bottom, left:right]


def cell_of(rgb: RgbImage, box_xyxy: Box, label: str) -> RgbImage:
    """The box with what is around it, outlined in its class's colour: one cell of a strip."""
    x1, y1, x2, y2 = box_xyxy
    more_x, more_y = SURROUNDINGS * (x2 - x1), SURROUNDINGS * (y2 - y1)
    height, width = rgb.shape[:2]
    left, top = max(0.0, x1 - more_x), max(0.0, y1 - more_y)
    view = cut_out(rgb, (left, top, min(width, x2 + more_x), min(height, y2 + more_y)))
    scale = min(CELL_WIDTH / view.shape[1], CELL_HEIGHT / view.shape[0])
    size = tuple(max(1, round(side * scale)) for side in (view.shape[1], view.shape[0]))
    small = np.array(cv2.resize(view, size, interpolation=cv2.INTER_AREA), np.uint8)
    # Its own corner is the pixel that `cut_out` begins with.
    edges = (x1 - floor(left), y1 - floor(top), x2 - floor(left), y2 - floor(top))
    at = [round(edge * scale) for edge in edges]
    cv2.rectangle(small, (at[0], at[1]), (at[2] - 1, at[3] - 1), class_color(label), 2)
    cell = _blank(CELL_HEIGHT, CELL_WIDTH)
    y, x = (CELL_HEIGHT - small.shape[0]) // 2, (CELL_WIDTH - small.shape[1]) // 2
    cell[y : y + small.shape[0], x : x + small.shape[1]] = small
    return cell


def strip_of(
    label: str, facts: str, cells: Sequence[tuple[RgbImage, str]], columns: int
) -> RgbImage:
    """A strip (H, W, 3): label and facts on its class's colour, below it cells with captions.

    Its size depends on `columns` alone, so that strips can stand above each other.
    """
    strip = _blank(TITLE_HEIGHT + CELL_HEIGHT + CAPTION_HEIGHT, columns * (CELL_WIDTH + GAP) - GAP)
    strip[:TITLE_HEIGHT] = class_color(label)
    title = f"{drawn_label(label, 0)}  {facts}"
    _write(strip, title, (8, TITLE_HEIGHT - 9), 0.55, text_color(class_color(label)))
    for column, (cell, caption) in enumerate(cells):
        x = column * (CELL_WIDTH + GAP)
        strip[TITLE_HEIGHT : TITLE_HEIGHT + CELL_HEIGHT, x : x + CELL_WIDTH] = cell
        below = strip[-CAPTION_HEIGHT:, x : x + CELL_WIDTH]  # where a long caption ends
        _write(below, drawn_label(caption, 0), (4, CAPTION_HEIGHT - 7), 0.45, INK)
    return strip


def _blank(height: int, width: int) -> RgbImage:
    return np.full((height, width, 3), PAPER, dtype=np.uint8)


def _write(picture: RgbImage, text: str, at: tuple[int, int], scale: float, color: Rgb) -> None:
    cv2.putText(picture, text, at, FONT, scale, color, 1, cv2.LINE_AA)
