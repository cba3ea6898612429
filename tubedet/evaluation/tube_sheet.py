"""What was found in a video, at a glance: a strip of pictures a tube, boxes cut out, curves.

From the rows that `tubedet detect` wrote and the video. Rows without a tube are one strip a label.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from math import hypot
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tubedet.errors import DatasetError
from tubedet.render.contact_sheet import contact_sheet, write_picture
from tubedet.render.tube_strip import cell_of, cut_out, strip_of
from tubedet.video.frame import VideoFrame
from tubedet.video.reader import VideoReader
from tubedet.video.time_range import parse_moment
from tubedet.writers.formats import META_SUFFIXES
from tubedet.writers.read_rows import read_rows
from tubedet.writers.run_meta import RunMeta
from tubedet.writers.track_rows import Row
from tubedet.writers.writer import output_errors

Points = list[tuple[float, float]]
TubeKey = tuple[int | None, str]

CURVE_POINTS = 400  # of a whole video: as many as a picture can show
MOTION_S = 0.2  # between the boxes that are compared; from frame to frame a box trembles


@dataclass
class FoundTube:
    """One tube, or all boxes of a label that belong to none.

    Attributes:
        number: the `tube` of its rows.
        labels: how many rows have each label.
        score_sum: of all rows.
        first_s: seconds from the video's first frame.
        last_s: as `first_s`.
    """

    number: int | None
    first_s: float
    last_s: float
    labels: Counter[str] = field(default_factory=Counter)
    score_sum: float = 0.0

    @property
    def boxes(self) -> int:
        """How many rows it has."""
        return self.labels.total()

    @property
    def label(self) -> str:
        """What most of its rows say."""
        return self.labels.most_common(1)[0][0]

    @property
    def name(self) -> str:
        """What people call it."""
        return self.label if self.number is None else f"tube {self.number}: {self.label}"

    @property
    def facts(self) -> str:
        """Number, mean score, time and number of boxes, in one line."""
        tube = "" if self.number is None else f"tube {self.number}   "
        time = f"{self.first_s:.2f} to {self.last_s:.2f} s"
        return f"{tube}score {self.score_sum / self.boxes:.2f}   {time}   {self.boxes} boxes"


def find_tubes(rows_path: Path) -> dict[TubeKey, FoundTube]:
    """The tubes of a file of rows, in the order of their beginnings.

    Raises:
        OutputError: if the file cannot be read.
        DatasetError: if it has no row, or rows of several videos, or not in the order of frames.
    """
    tubes: dict[TubeKey, FoundTube] = {}
    first: Row | None = None
    frame = -1
    for row in read_rows(rows_path):
        first = first or row
        if row.video != first.video:
            raise DatasetError(
                f"{rows_path}: expected rows of one video, found {first.video} and {row.video}"
            )
        if row.frame < frame:
            raise DatasetError(
                f"{rows_path}: expected rows in the order of frames, found {row.frame} after "
                f"{frame}; sort them by frame"
            )
        frame = row.frame
        tube = tubes.setdefault(_key(row), FoundTube(row.tube, row.time_s, row.time_s))
        tube.labels[row.label] += 1
        tube.score_sum += row.score
        tube.last_s = row.time_s
    if not tubes:
        raise DatasetError(
            f"{rows_path}: expected boxes, found none; tubedet detect --min-score shows more"
        )
    return tubes


def longest(tubes: dict[TubeKey, FoundTube], number: int) -> dict[TubeKey, FoundTube]:
    """The tubes with most boxes, in the order of their beginnings."""
    kept = sorted(tubes, key=lambda key: -tubes[key].boxes)[:number]
    return {key: tube for key, tube in tubes.items() if key in kept}


def draw_sheet(
    video: Path,
    rows_path: Path,
    tubes: dict[TubeKey, FoundTube],
    pictures: int,
    crops: Path | None = None,
) -> NDArray[np.uint8]:
    """A strip of so many pictures for each of the tubes, in one pass over the video.

    Args:
        video: the source of the rows.
        rows_path: rows in the order of frames.
        tubes: those to show.
        pictures: of a strip at most, evenly spaced through the tube's boxes.
        crops: an empty folder for the pixels of every box, of these tubes or others:
            `tube-<tube>/<frame>.jpg`, or `no-tube/<frame>-<row>.jpg`.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        VideoError: if the video cannot be read.
        DatasetError: if it ends before the rows do.
        OutputError: if a crop cannot be written.
    """
    wanted = {key: _spread(tube.boxes, pictures) for key, tube in tubes.items()}
    cells: dict[TubeKey, list[tuple[NDArray[np.uint8], str]]] = {key: [] for key in tubes}
    ranks: Counter[TubeKey] = Counter()
    for number, (frame, row) in enumerate(_rows_on_frames(video, rows_path)):
        key, box = _key(row), (row.x1, row.y1, row.x2, row.y2)
        if ranks[key] in wanted.get(key, ()):
            other = "" if row.label == tubes[key].label else f"  {row.label}"
            caption = f"{row.time_s:.2f} s{other}"
            cells[key].append((cell_of(frame.rgb, box, row.label), caption))
        ranks[key] += 1
        if crops is not None:
            name = f"no-tube/{row.frame:06d}-{number:06d}"
            if row.tube is not None:
                name = f"tube-{row.tube:04d}/{row.frame:06d}"
            _write_crop(crops / f"{name}.jpg", cut_out(frame.rgb, box))
    strips = [strip_of(tube.label, tube.facts, cells[key], pictures) for key, tube in tubes.items()]
    return contact_sheet(strips, 1)


def score_and_motion(
    rows_path: Path, tubes: dict[TubeKey, FoundTube]
) -> dict[str, dict[str, Points]]:
    """Curves over time for `plot_over_time`: {panel's title: {tube's name: points}}.

    Motion is how far a box's centre goes in a second, in heights of the box, so that near and far
    actors compare. Points are means over equal parts of the time that all tubes take.
    """
    start_s = min(tube.first_s for tube in tubes.values())
    part_s = max((max(tube.last_s for tube in tubes.values()) - start_s) / CURVE_POINTS, 1e-6)
    scores: dict[TubeKey, dict[int, list[float]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    motions: dict[TubeKey, dict[int, list[float]]] = defaultdict(
        lambda: defaultdict(lambda: [0, 0])
    )
    before: dict[TubeKey, Row] = {}
    for row in read_rows(rows_path):
        key = _key(row)
        if key not in tubes:
            continue
        part = int((row.time_s - start_s) / part_s)
        _add(scores[key][part], row.score)
        if row.tube is None:  # boxes of several actors
            continue
        earlier = before.setdefault(key, row)
        if row.time_s >= earlier.time_s + MOTION_S:
            _add(motions[key][part], _speed(earlier, row))
            before[key] = row
    panels = {"score": scores, "motion, heights of the box a second": motions}
    return {
        title: {
            tubes[key].name: [
                (start_s + (part + 0.5) * part_s, total / count)
                for part, (total, count) in parts.items()
            ]
            for key, parts in of_tubes.items()
        }
        for title, of_tubes in panels.items()
        if of_tubes
    }


def _write_crop(path: Path, crop: NDArray[np.uint8]) -> None:
    with output_errors(path):
        path.parent.mkdir(exist_ok=True)
    write_picture(path, crop)


def _key(row: Row) -> TubeKey:
    return (row.tube, "" if row.tube is not None else row.label)


def _spread(count: int, pictures: int) -> set[int]:
    """Positions of so many of `count`, the first and the last among them."""
    return {int(i) for i in np.linspace(0, count - 1, min(count, pictures)).round()}


def _add(total_and_count: list[float], value: float) -> None:
    total_and_count[0] += value
    total_and_count[1] += 1


def _speed(earlier: Row, row: Row) -> float:
    dx = (row.x1 + row.x2 - earlier.x1 - earlier.x2) / 2
    dy = (row.y1 + row.y2 - earlier.y1 - earlier.y2) / 2
    return hypot(dx, dy) / max(row.y2 - row.y1, 1) / (row.time_s - earlier.time_s)


def _first_frame(rows_path: Path) -> int:
    """How rows number the first frame of their video: in a segment of a stream they go on."""
    meta = RunMeta.read(rows_path.with_suffix(META_SUFFIXES["boxes"]))
    if meta is None or meta.live is None or meta.start is None:
        return 0
    return int(parse_moment(meta.start).value)


def _rows_on_frames(video: Path, rows_path: Path) -> Iterator[tuple[VideoFrame, Row]]:
    """Each row with its frame; no frame behind the last row's is decoded."""
    by_frame = groupby(read_rows(rows_path), key=lambda row: row.frame)
    first = _first_frame(rows_path)
    with VideoReader(video) as reader:
        frames = reader.frames()
        last = -1
        for number, rows in by_frame:
            frame = next((each for each in frames if each.frame + first == number), None)
            if frame is None:
                raise DatasetError(
                    f"{rows_path}: expected rows of {video}, found one of frame {number} behind "
                    f"frame {last}; give the video that they were made of"
                )
            last = number
            for row in rows:
                yield frame, row
