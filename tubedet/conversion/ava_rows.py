"""Rows from AVA's tables: a folder as `writers.ava` makes it, or a CSV file beside classes.txt."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from tubedet.conversion.box_rows import box_row, in_pixels
from tubedet.conversion.class_lines import class_at, class_names
from tubedet.datasets.ava import read_table
from tubedet.writers.ava import CLASSES, TABLE
from tubedet.writers.run_meta import RunMeta
from tubedet.writers.track_rows import Row


def ava_rows(path: Path, meta: RunMeta) -> Iterator[Row]:
    """The boxes of a table of one video; a frame is that which the nominal rate has at a time.

    Raises:
        DatasetError: if it cannot be read.
        ValueError, LookupError: if it is something else.
    """
    table = path / TABLE if path.is_dir() else path
    labels = class_names(table.with_name(CLASSES))
    rows, _ = read_table(table)
    if len(videos := {row[0] for row in rows}) > 1:
        raise ValueError(f"rows of {len(videos)} videos, not of one")
    for row in rows:
        _, seconds, *edges, action, person = [*row, "", ""][:8]
        if not action:  # nobody acts there
            continue
        x1, y1, x2, y2 = map(float, edges)
        yield box_row(
            meta,
            round(float(seconds) * Fraction(meta.fps)),
            action if labels is None else class_at(int(action), labels),
            in_pixels((x1, y1, x2, y2), meta),
            tube=int(person) if person else None,
            time_s=float(seconds),
        )
