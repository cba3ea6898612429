"""Rows of one file into other formats, in one transaction, as a run writes them."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np

from tubedet.conversion.sources import (
    READERS,
    format_of,
    has_more_than_a_run,
    meta_of,
    rows_in,
    stem_of,
)
from tubedet.detections import FrameDetections
from tubedet.errors import DatasetError, OutputError, UsageError
from tubedet.video.frame import VideoFrame, VideoInfo
from tubedet.writers.formats import META_SUFFIXES, WRITERS, choose_formats
from tubedet.writers.partial_results import Results
from tubedet.writers.row_store import RowStore
from tubedet.writers.run_meta import RunMeta
from tubedet.writers.target import OutputTarget
from tubedet.writers.track_rows import frames_of
from tubedet.writers.transaction import OutputTransaction
from tubedet.writers.writer import FrameResult

FROM_PICTURES = ("mp4", "html")  # made of what rows do not hold


def convert_rows(
    path: Path,
    formats: Sequence[str],
    *,
    folder: Path | None = None,
    source_format: str | None = None,
    video: Path | None = None,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write the rows of a file, or folder, in other formats.

    Frames without rows count as looked at where the meta beside the rows says so.

    Args:
        path: of one of `READERS`.
        formats: names of formats.
        folder: of the results; None for that of `path`.
        source_format: what `path` is; None if its name says it.
        video: where no meta beside `path` says its size and rate.
        overwrite: results may be replaced.

    Returns:
        The files that were written, the meta's last.

    Raises:
        UsageError: if a format cannot be read or written so, or nobody knows the video's size.
        DatasetError: if the rows are malformed.
        OutputError: if outputs are in the way or cannot be written.
    """
    refuse_others(formats, source_format)
    if not path.exists():
        raise DatasetError(f"{path}: expected a file or folder of rows, found nothing")
    name = source_format or format_of(path)[0]
    stem = stem_of(path, name)
    meta = replace(meta_of(path, stem, video), outputs={})  # as a run writes it into outputs
    if not meta.complete:
        raise UsageError(
            f"{path}: rows of a run that did not come to its end; go on with `tubedet detect "
            "--resume` first"
        )
    rows = iter(rows_in(path, name, meta))
    first = next(rows, None)
    video_name = meta.video if first is None else first.video
    target = OutputTarget(
        folder=path.parent if folder is None else folder,
        stem=stem,
        source=path,
        video=video_name,
        info=_info(meta),
        run_meta=lambda: meta,
    )
    _refuse_in_the_way(target, formats, meta, overwrite=overwrite)
    with closing(RowStore(video_name)) as store:
        try:
            for row in chain(() if first is None else (first,), rows):
                store.add((row,))
            return _write(store, formats, target, meta, overwrite=overwrite)
        except sqlite3.Error as error:
            raise OutputError(f"{path}: cannot keep its rows meanwhile: {error}") from error


def refuse_others(formats: Sequence[str], source_format: str | None) -> None:
    """Raise UsageError for formats that are not made of rows, or cannot be read."""
    choose_formats("boxes", formats, ())
    for name in formats:
        if name in FROM_PICTURES:
            raise UsageError(f"-f {name} takes the video's pictures: `tubedet detect` writes it")
    if source_format is not None and source_format not in READERS:
        raise UsageError(f"--from {source_format}: choose from {', '.join(READERS)}")


def _write(
    store: RowStore,
    formats: Sequence[str],
    target: OutputTarget,
    meta: RunMeta,
    *,
    overwrite: bool,
) -> tuple[Path, ...]:
    outputs = OutputTransaction("boxes", formats, target, overwrite=overwrite)
    try:
        for found in frames_of(store.rows(), meta.class_names):
            outputs.write(_without_picture(found))
        outputs.commit()
    finally:
        outputs.discard()
    return outputs.outputs


def _without_picture(found: FrameDetections) -> FrameResult:
    rgb = np.zeros((1, 1, 3), np.uint8)
    return FrameResult(VideoFrame(found.frame, found.pts, Fraction(found.time_s), rgb), found)


def _info(meta: RunMeta) -> VideoInfo:
    return VideoInfo(
        width=meta.width,
        height=meta.height,
        rotation=meta.rotation,
        time_base=Fraction(meta.time_base),
        fps=Fraction(meta.fps),
        frames=meta.frames_in_container,
        duration_s=None,
        video_codec="",
        audio_codecs=(),
        start_s=Fraction(meta.source_start_s),
    )


def _refuse_in_the_way(
    target: OutputTarget, formats: Sequence[str], meta: RunMeta, *, overwrite: bool
) -> None:
    meta_path = target.path(META_SUFFIXES["boxes"])
    if has_more_than_a_run(meta_path):
        raise OutputError(
            f"{meta_path}: also tells which frames were reviewed, and stays; name another folder "
            "with -o"
        )
    if overwrite:
        return
    writers = [WRITERS["boxes"][name] for name in formats]
    taken = [file for each in writers for file in each.files_of(target.path(each.suffix))[:1]]
    old = Results.read("boxes", meta_path)
    if old is None or old.meta.differences(meta.asked):
        taken += [meta_path] if meta_path.exists() else []
    if taken:
        raise OutputError(f"{taken[0]}: exists already; give --overwrite or another -o")
