"""What a file of rows is: its format, what its outputs are called, and the meta of its video."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tubedet import __version__
from tubedet.conversion.ava_rows import ava_rows
from tubedet.conversion.coco_rows import coco_rows
from tubedet.conversion.cvat_rows import cvat_rows
from tubedet.conversion.mot_rows import mot_rows
from tubedet.conversion.parquet_rows import parquet_rows
from tubedet.conversion.yolo_rows import yolo_rows
from tubedet.errors import DatasetError, OutputError, UsageError
from tubedet.run.video_run import identity_of
from tubedet.video.reader import VideoReader
from tubedet.writers.formats import META_SUFFIXES, WRITERS
from tubedet.writers.read_rows import read_rows
from tubedet.writers.run_meta import RunMeta
from tubedet.writers.track_rows import Row

READERS: Mapping[str, Callable[[Path, RunMeta], Iterable[Row]]] = {
    "csv": lambda path, _: read_rows(path),
    "json": lambda path, _: read_rows(path),
    "jsonl": lambda path, _: read_rows(path),
    "parquet": parquet_rows,
    "coco": coco_rows,
    "cvat": cvat_rows,
    "mot": mot_rows,
    "ava": ava_rows,
    "yolo": yolo_rows,
}
# What json, csv, pyarrow and a field of another type than expected can raise.
BAD_CONTENT = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError),
    *(RecursionError, OverflowError),
)


def format_of(path: Path) -> tuple[str, str]:
    """The format of a file or folder by its name, and the name without what says so.

    Raises:
        UsageError: if the name says none.
    """
    suffixes = {name: WRITERS["boxes"][name].suffix for name in READERS}
    for name, suffix in sorted(suffixes.items(), key=lambda each: -len(each[1])):
        if path.name.lower().endswith(suffix) and len(path.name) > len(suffix):
            return name, path.name[: -len(suffix)]
    raise UsageError(
        f"{path}: expected a name that ends with one of {', '.join(suffixes.values())}; "
        "say with --from what it is"
    )


def stem_of(path: Path, name: str) -> str:
    """The name of a file of this format without what tells the format."""
    try:
        said, stem = format_of(path)
    except UsageError:
        return path.stem
    return stem if said == name else path.stem


def meta_of(path: Path, stem: str, video: Path | None) -> RunMeta:
    """The meta beside rows, or one of what their video says of itself.

    The meta is called like the rows, or like their beginning up to a dot: that of
    `clip.corrected.csv` may be `clip.meta.json`.

    Raises:
        UsageError: if neither is there.
        VideoError: if the video is none.
    """
    parts = stem.split(".")
    names = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    for name in names:
        if meta := RunMeta.read(path.with_name(f"{name}{META_SUFFIXES['boxes']}")):
            return meta
    if video is None:
        raise UsageError(
            f"{path}: expected {stem}{META_SUFFIXES['boxes']} beside it, which says the size and "
            "rate of its video, found none; put it there, or name the video with --video"
        )
    return _meta_of_video(video)


def has_more_than_a_run(path: Path) -> bool:
    """Whether a meta tells what no run does, such as the frames that a person has reviewed."""
    meta = RunMeta.read(path)
    return meta is not None and bool({*json.loads(path.read_bytes())} - {*asdict(meta)})


def rows_in(path: Path, name: str, meta: RunMeta) -> Iterator[Row]:
    """The rows of a file of this format.

    Raises:
        DatasetError: if it is something else, a number is none, or it is of several videos.
        UsageError: if a library for it is not installed.
    """
    video = None
    try:
        for number, row in enumerate(READERS[name](path, meta), start=1):
            video = row.video if video is None else video
            if row.video != video:
                raise ValueError(f"rows of {video} and of {row.video}; one video a file")
            try:
                yield _sound(row)
            except (ValueError, TypeError, OverflowError) as error:
                raise ValueError(f"row {number}: {error}") from error
    except OutputError as error:  # of rows that tubedet did not write: here they are input
        raise DatasetError(str(error)) from error
    except BAD_CONTENT as error:
        raise DatasetError(f"{path}: expected boxes as {name} has them, found {error!r}") from error


def _sound(row: Row) -> Row:
    """The row with whole numbers where rows have them: libraries make decimals of them.

    Raises:
        ValueError, TypeError, OverflowError: if a field cannot be in a row.
    """
    if not isinstance(row.label, str):
        raise TypeError(f"label {row.label!r}")
    frame = _whole(row.frame)
    if frame is None or frame < 0:
        raise ValueError(f"frame {row.frame}")
    if not all(map(math.isfinite, (row.time_s, *row[-5:]))):
        raise ValueError(f"frame {frame}: time {row.time_s}, score and box {row[-5:]}")
    return row._replace(frame=frame, pts=_whole(row.pts), tube=_whole(row.tube))


def _whole(number: float | None) -> int | None:
    if number is None or math.isnan(number):  # what is unknown among decimals
        return None
    if int(number) != number or not -(2**63) <= number < 2**63:
        raise ValueError(f"{number}, expected a whole number of 64 bits")
    return int(number)


def _meta_of_video(path: Path) -> RunMeta:
    """A meta for boxes that no run has found; all frames count as looked at."""
    with VideoReader(path) as reader:
        info = reader.info
    known: dict[str, Any] = {"video": path.name, "source": identity_of(path)}
    frames = info.promised_frames or 0
    return RunMeta(
        **known,
        width=info.width,
        height=info.height,
        rotation=info.rotation,
        time_base=str(info.time_base),
        fps=str(info.fps),
        frames_in_container=info.frames,
        decoded_frames=frames,
        source_start_s=round(float(info.start_s), 6),
        mp4_offset_s=None,
        start=None,
        end=None,
        first_frame=0,
        stride=1,
        processed_frames=frames,
        skipped_frames=0,
        repaired_timestamps=0,
        complete=True,
        class_names=(),
        weights_sha256=None,
        settings={},
        runtime={},
        tubedet_version=__version__,
    )
