"""A user's own videos with boxes in our own rows: what `tubedet detect` writes, corrected by hand.

    ROOT/…/STEM.meta.json                      what `detect` wrote beside the rows
    ROOT/…/STEM.csv  or .json  or .jsonl       the rows, one a box
    ROOT/…/STEM.<any video suffix>             the video

A frame that was processed and has no row is background; one that was not is unknown and unused,
unless somebody added a row. The class of a box is its `label`; its `score` plays no role.

Corrections that were saved in the page of a video (`-f html`) take the place of what was found:

    ROOT/…/STEM.corrected.meta.json            with `reviewed_frames`, numbers of frames
    ROOT/…/STEM.corrected.csv                  all rows

Of these, a frame without a row is background only if somebody has reviewed it.
"""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from math import isnan
from pathlib import Path
from typing import Any

from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.annotation_files import decode_text, guess_note
from tubedet.datasets.own_annotation import OwnBox, OwnVideo
from tubedet.datasets.own_videos import assemble, read_each, video_facts
from tubedet.datasets.row_files import BOX_COLUMNS, ROW_SUFFIXES, read_records
from tubedet.datasets.video_names import find_video
from tubedet.errors import DatasetError
from tubedet.notes import Note

META_SUFFIX = ".meta.json"
CORRECTED = ".corrected"  # behind the stem of a corrected video
REVIEWED = "reviewed_frames"


def load_folder(
    root: Path | str, split: int = 1, part: str = "train", *, require_videos: bool = True
) -> AnnotatedDataset:
    """Read one part of the annotated videos in a folder; see `own_videos` for parts and classes.

    Raises:
        DatasetError: if there is no STEM.meta.json, a file is malformed or has two files of rows
            beside it, or as `assemble`.
    """
    root = Path(root)
    metas = sorted(root.rglob(f"*{META_SUFFIX}"))
    if not metas:
        raise DatasetError(f"{root}: expected STEM{META_SUFFIX} files, as tubedet detect writes")
    videos = read_each(partial(_video, root), _without_corrected(metas))
    return assemble(
        "folder", root, split, part, chain(_lone_rows(root), videos), require_videos=require_videos
    )


def _without_corrected(metas: Sequence[Path]) -> list[Path]:
    """The metas but for those whose video has corrections beside them."""
    ending = CORRECTED + META_SUFFIX
    corrections = [path for path in metas if path.name.endswith(ending) and _is_correction(path)]
    superseded = {
        path.with_name(path.name.removesuffix(ending) + META_SUFFIX) for path in corrections
    }
    return [path for path in metas if path not in superseded]


def _is_correction(meta_path: Path) -> bool:
    """Whether a meta was saved in a page; a video may be called "x.corrected", too."""
    try:
        return f'"{REVIEWED}"'.encode() in meta_path.read_bytes()
    except OSError:  # whoever reads it will say why
        return False


def _lone_rows(root: Path) -> Iterator[Note]:
    """What to say of corrected rows without their meta: what was found counts in their stead."""
    for rows_path in sorted(root.rglob(f"*{CORRECTED}.csv")):
        meta_path = rows_path.with_name(rows_path.name.removesuffix(".csv") + META_SUFFIX)
        if not meta_path.exists():
            yield Note(f"{rows_path}: left out, since {meta_path.name} is not beside it", loss=True)


def _video(root: Path, meta_path: Path) -> Iterator[OwnVideo]:
    stem = meta_path.name.removesuffix(META_SUFFIX)
    meta = _meta(meta_path)
    rows_path = _rows_path(meta_path, stem)
    if rows_path is None and REVIEWED in meta:
        raise DatasetError(
            f"{meta_path}: expected {stem}.csv beside it, with the rows that were saved with it; "
            "move it there, or this file away"
        )
    if rows_path is None:
        return
    if REVIEWED in meta:
        stem = stem.removesuffix(CORRECTED)
    boxes = tuple(_box(row) for row in read_records(rows_path))
    path = find_video(meta_path.parent, stem) or meta_path.with_name(f"{stem}.mp4")
    size = (int(meta["width"]), int(meta["height"]))
    first, stride = meta["first_frame"] or 0, meta["stride"]
    processed = range(first, first + stride * meta["processed_frames"], stride)
    examined = meta.get(REVIEWED, processed)
    yield OwnVideo(
        video=(meta_path.parent / stem).relative_to(root).as_posix(),
        path=path,
        source=rows_path,
        size=size,
        frames=video_facts(path).frames if path.exists() else int(meta["decoded_frames"]),
        boxes=boxes,
        examined_frames=frozenset(examined) | {box.frame for box in boxes},
        notes=guess_note(rows_path, decode_text(rows_path.read_bytes())[1]),
    )


def _meta(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(decode_text(path.read_bytes())[0])
        needed = ("width", "height", "stride", "processed_frames", "decoded_frames")
        first = meta["first_frame"]  # null where no frame was processed
        if any(not isinstance(meta[key], int) or meta[key] < 0 for key in needed):
            raise ValueError(f"expected whole numbers in {', '.join(needed)}")
        if meta["stride"] < 1:
            raise ValueError("expected a stride of 1 or more")
        if not (first is None or (isinstance(first, int) and first >= 0)):
            raise ValueError("expected a frame number in first_frame")
        if any(not isinstance(frame, int) or frame < 0 for frame in meta.get(REVIEWED, ())):
            raise ValueError(f"expected numbers of frames in {REVIEWED}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path}: expected what tubedet detect writes: {error!r}") from error
    return dict(meta)


def _rows_path(meta_path: Path, stem: str) -> Path | None:
    """The rows; None where `detect` wrote none, but only a video, say."""
    candidates = [meta_path.with_name(f"{stem}{suffix}") for suffix in ROW_SUFFIXES]
    found = [path for path in candidates if path.is_file()]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DatasetError(
            f"{meta_path}: expected one file of rows beside it ({stem}.csv, .json or .jsonl), "
            f"found {names}"
        )
    return found[0] if found else None


def _box(row: dict[str, Any]) -> OwnBox:
    x1, y1, x2, y2 = (row[name] for name in BOX_COLUMNS)
    tube = row["tube"]
    return OwnBox(row["frame"], row["label"], (x1, y1, x2, y2), 0 if isnan(tube) else int(tube))
