"""Rows from MOT Challenge's tables, as `writers.mot` makes them or as results of a tracker."""

import csv
from collections.abc import Iterator
from pathlib import Path

from tubedet.conversion.box_rows import box_row
from tubedet.conversion.class_lines import class_at, class_names
from tubedet.writers.mot import LABELS, TABLE
from tubedet.writers.run_meta import RunMeta
from tubedet.writers.track_rows import Row


def mot_rows(path: Path, meta: RunMeta) -> Iterator[Row]:
    """The boxes of gt/gt.txt in a folder; a class is a number where there is no gt/labels.txt.

    Raises:
        OSError, ValueError, LookupError: if it is something else.
    """
    labels = class_names(path / LABELS)
    with (path / TABLE).open(encoding="utf-8", newline="") as file:
        for cells in csv.reader(file):
            frame, track, x, y, width, height, score, label, *_ = map(float, cells)
            x1, y1, number = x - 1, y - 1, int(label)
            yield box_row(
                meta,
                int(frame) - 1,
                class_at(number, labels),
                (x1, y1, x1 + width, y1 + height),
                tube=None if track < 0 else int(track) - 1,
                score=score,
            )
