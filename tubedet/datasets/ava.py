"""A user's own videos annotated as AVA is (Gu et al., "AVA", 2018): keyframes in seconds.

    ROOT/ANY.csv            video, seconds, x1, y1, x2, y2, action, person: no header; the box in
                            fractions of the frame, action and person may be empty or absent
    ROOT/classes.txt        the action numbered n is its n-th line; without it numbers are labels
    ROOT/<video>.<suffix>   the videos; their nominal rate makes a frame of a second

A person who does several things has a row for each. Only keyframes are examined: whatever lies
between them is unknown, and so is a frame without any row.
"""

import csv
import math
from collections import defaultdict
from pathlib import Path

from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.own_videos import (
    OwnBox,
    OwnVideo,
    VideoFacts,
    assemble,
    class_list,
    find_video,
    read_each,
    video_facts,
)
from tubedet.errors import DatasetError

Rows = list[list[str]]


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
    tables = sorted(root.glob("*.csv"))
    for path in tables:
        for row in _read(path):
            rows_of[row[0]].append([*row, path.name])
    if not rows_of:
        raise DatasetError(f"{root}: expected rows of AVA in .csv files, found none")
    labels = class_list(root)
    videos = read_each(lambda name: _video(root, name, rows_of[name], labels), sorted(rows_of))
    return assemble("ava", root, split, part, videos, require_videos=require_videos)


def _read(path: Path) -> Rows:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: expected rows of AVA: {error}") from error


def _video(root: Path, name: str, rows: Rows, labels: list[str] | None) -> OwnVideo:
    path = find_video(root, name)
    if path is None:
        return OwnVideo(name, root / f"{name}.mp4", root, (1, 1), 1, (), frozenset())
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
    return OwnVideo(
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
