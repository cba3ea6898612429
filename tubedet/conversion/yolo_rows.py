"""Rows from labels for YOLO: a folder as `writers.yolo` makes it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from tubedet.conversion.box_rows import ANNOTATED, box_row, in_pixels
from tubedet.writers.run_meta import RunMeta
from tubedet.writers.track_rows import Row
from tubedet.writers.yolo import LABELS, NAMES

NAME = re.compile(r"\s+(\d+):\s*(.+)")


def yolo_rows(path: Path, meta: RunMeta) -> Iterator[Row]:
    """The boxes of all frames: class, centre, size, and a score if there is a sixth number.

    Raises:
        OSError, ValueError, LookupError: if it is something else.
    """
    labels = dict(_names(path / NAMES))
    for file in sorted(path.glob(LABELS), key=lambda each: int(each.stem)):
        for line in file.read_text("utf-8").splitlines():
            number, x, y, width, height, *score = map(float, line.split())
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            yield box_row(
                meta,
                int(file.stem),
                labels[int(number)],
                in_pixels(box, meta),
                score=score[0] if score else ANNOTATED,
            )


def _names(path: Path) -> Iterator[tuple[int, str]]:
    """The numbered names of a data.yaml, as JSON strings or bare words."""
    for line in path.read_text("utf-8").split("\n"):
        if found := NAME.fullmatch(line):
            name = found[2]
            yield int(found[1]), str(json.loads(name)) if name.startswith('"') else name
