"""A user's own videos annotated as AVA is (Gu et al., "AVA", 2018): keyframes in seconds.

    ROOT/ANY.csv            video, seconds, x1, y1, x2, y2, action, person: no header; the box in
                            fractions of the frame, action and person may be empty or absent;
                            or with semicolons or tabs, and decimal commas
    ROOT/classes.txt        the action numbered n is its n-th line; without it numbers are labels
    ROOT/<video>.<suffix>   the videos; their nominal rate makes a frame of a second

A person who does several things has a row for each. Only keyframes are examined: whatever lies
between them is unknown, and so is a frame without any row.
"""

import csv
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path

from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.annotation_files import decode_text, guess_note
from tubedet.datasets.own_annotation import OwnBox, OwnVideo
from tubedet.datasets.own_videos import (
    VideoFacts,
    assemble,
    class_list,
    read_each,
    video_facts,
)
from tubedet.datasets.row_files import DELIMITERS, with_points
from tubedet.datasets.video_names import find_video
from tubedet.errors import DatasetError
from tubedet.notes import Note

Rows = list[list[str]]

SECONDS = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)


def load_ava(
    root: Path | str, split: int = 1, part: str = "train", *, require_videos: bool = True
) -> AnnotatedDataset:
    """Read one part of the annotated videos; see `own_videos` for parts and classes.

    The videos have to be there: frames and pixels are theirs. Absent ones are left out and named.

    Raises:
        DatasetError: if there is no CSV file, a row is malformed, no video is there, or as
            `assemble`.
    """
    root = Path(root)
    rows_of: dict[str, Rows] = defaultdict(list)
    notes: list[Note] = []
    for path in sorted(root.glob("*.csv")):
        rows, guess = read_table(path)
        notes += guess
        for row in rows:
            rows_of[row[0]].append([*row, path.name])
    if not rows_of:
        raise DatasetError(f"{root}: expected rows of AVA in .csv files, found none")
    labels = class_list(root)
    videos = read_each(lambda name: _video(root, name, rows_of[name], labels), sorted(rows_of))
    return assemble("ava", root, split, part, [*notes, *videos], require_videos=require_videos)


def read_table(path: Path) -> tuple[Rows, tuple[Note, ...]]:
    """The rows, and a note if their encoding is a guess; DatasetError if it cannot be read."""
    try:
        text, encoding = decode_text(path.read_bytes())
        tables = {
            delimiter: [row for row in csv.reader(StringIO(text), delimiter=delimiter) if any(row)]
            for delimiter in DELIMITERS
        }
        # A name may hold any delimiter: the right one leaves seconds in each row's second cell.
        fitting = (each for each in DELIMITERS if all(map(_has_seconds, tables[each])))
        delimiter = next(fitting, ",")
        if delimiter == ",":
            return tables[","], guess_note(path, encoding)
        rows = [
            [name, *with_points(numbers), *rest]
            for name, numbers, rest in ((row[0], row[1:6], row[6:]) for row in tables[delimiter])
        ]
    except (OSError, ValueError, csv.Error) as error:
        raise DatasetError(f"{path}: expected rows of AVA: {error}") from error
    return rows, guess_note(path, encoding)


def _has_seconds(row: Sequence[str]) -> bool:
    return len(row) > 1 and SECONDS.fullmatch(row[1].strip()) is not None


def _video(root: Path, name: str, rows: Rows, labels: list[str] | None) -> Iterator[OwnVideo]:
    path = find_video(root, name)
    if path is None:
        yield OwnVideo(name, root / f"{name}.mp4", root, (1, 1), 1, (), frozenset())
        return
    facts = video_facts(path)
    boxes, examined = [], set()
    for row in rows:
        try:
            frame, box = _box(row, facts, labels)
        except (ValueError, IndexError, OverflowError) as error:
            raise DatasetError(f"{root / row[-1]}: {','.join(row[:-1])}: {error}") from error
        examined.add(frame)
        if box is not None:
            boxes.append(box)
    yield OwnVideo(
        video=name,
        path=path,
        source=root / rows[0][-1],
        size=facts.size,
        frames=facts.frames,
        boxes=tuple(boxes),
        examined_frames=frozenset(examined),
    )


def _box(row: list[str], facts: VideoFacts, labels: list[str] | None) -> tuple[int, OwnBox | None]:
    """A row's frame and box; no box where nobody acts."""
    _, seconds, *edges, action, person = [*row[:-1], "", ""][:8]
    if not math.isfinite(float(seconds)):
        raise ValueError("expected a time in seconds")
    frame = round(float(seconds) * facts.fps)
    frame -= frame == facts.frames  # the very end of a video is its last frame
    if not action:
        return frame, None
    if labels is not None and not 1 <= int(action) <= len(labels):
        raise ValueError(f"expected an action from 1 to {len(labels)}")
    x1, y1, x2, y2 = (float(edge) for edge in edges)
    (width, height) = facts.size
    box_xyxy = (x1 * width, y1 * height, x2 * width, y2 * height)
    label = action if labels is None else labels[int(action) - 1]
    return frame, OwnBox(frame, label, box_xyxy, int(person or 0))
