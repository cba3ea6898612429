"""The index page of a folder of results, made of what its metas, pages and rows tell."""

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from os.path import relpath
from pathlib import Path
from urllib.parse import quote

from tubedet.errors import OutputError
from tubedet.page.index_page import GENERATOR, IndexedVideo, index_html
from tubedet.page.video_page import summary_of
from tubedet.whole_file import written_whole
from tubedet.writers.formats import META_SUFFIXES, ROW_FORMATS
from tubedet.writers.partial_results import Results
from tubedet.writers.read_rows import read_rows
from tubedet.writers.run_meta import RunMeta
from tubedet.writers.writer import output_errors

INDEX_NAME = "index.html"
NOT_RUNS = (META_SUFFIXES["flow"], ".corrected.meta.json")
BEGIN_BYTES = 2_000  # of a page, with its generator


def write_index(
    folder: Path,
    *,
    path: Path | None = None,
    failures: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> tuple[Path, int]:
    """Write the index of all results of boxes in a folder and its tree.

    Args:
        folder: of the results.
        path: the index; `folder`/index.html by default.
        failures: of videos without a result, by name, why there is none.
        overwrite: another file than an older index may be replaced.

    Returns:
        Where it is, and how many videos it shows.

    Raises:
        OutputError: if there is nothing to show, another file has the index's name, or it cannot be
            written.
    """
    path = path or folder / INDEX_NAME
    videos = indexed_videos(folder, path.parent)
    failed = [IndexedVideo(name=name, error=why) for name, why in (failures or {}).items()]
    if not (videos or failed):
        raise OutputError(
            f"{folder}: expected results of tubedet detect, found no STEM.meta.json; run "
            f"tubedet detect VIDEOS -o {folder} -f html first"
        )
    if path.exists() and not overwrite and not _is_index(path):
        raise OutputError(
            f"{path}: exists already and is no index; choose another name or give --overwrite"
        )
    html = index_html([*failed, *videos], folder.absolute().name)
    with written_whole(path) as pending:
        pending.write_text(html, "utf-8", errors="backslashreplace")
    return path, len(videos) + len(failed)


def indexed_videos(folder: Path, start: Path) -> list[IndexedVideo]:
    """What metas in a folder and its tree, and the pages or rows they name, tell of their videos.

    Addresses are relative to the folder `start`.
    """
    found = []
    for meta_path in sorted(folder.rglob(f"*{META_SUFFIXES['boxes']}")):
        meta = None if meta_path.name.endswith(NOT_RUNS) else RunMeta.read(meta_path)
        if meta is not None:
            try:
                found.append(_indexed(meta_path, meta, start))
            except (AttributeError, LookupError, TypeError, ValueError, OutputError):
                why = f"{meta_path}, or its page or rows, are not as tubedet writes them"
                found.append(IndexedVideo(name=meta.video, error=why))
    return found


def _indexed(meta_path: Path, meta: RunMeta, start: Path) -> IndexedVideo:
    page = meta_path.parent / Path(str(meta.outputs.get("html", {}).get("name", ""))).name
    summary = summary_of(page) or {}  # without a name it is the folder
    thumbnail = str(summary.get("thumbnail") or "")
    shown, labels, seconds = page, summary.get("label_seconds"), summary.get("seconds")
    if not summary:
        results = Results("boxes", meta_path, meta)
        shown = results.path("mp4") or Path()
        frame_s = float(meta.stride / Fraction(meta.fps))
        labels, seconds = _label_seconds(results, frame_s), meta.processed_frames * frame_s
    return IndexedVideo(
        # The segments of a stream are all of one video.
        name=meta.video if meta.live is None else _stem_of(meta_path),
        page=_address(shown, start) if shown.name else None,
        thumbnail=thumbnail if thumbnail.startswith("data:image/") else None,
        labels=None if labels is None else {str(name): float(s) for name, s in labels.items()},
        frames=meta.processed_frames,
        seconds=None if seconds is None else float(seconds),
        notes=[str(note["text"]) for note in meta.notes if note.get("loss")],
        partial=not meta.complete,
    )


def _label_seconds(results: Results, frame_s: float) -> dict[str, float] | None:
    """For how long each label was found, by rows; None without rows that can be read."""
    for name in filter(results.meta.outputs.get, ROW_FORMATS):
        path = results.path(name)
        if path is None and results.is_edited(name):
            path = results.meta_path.with_name(str(results.meta.outputs[name]["name"]))
        if path is not None:
            frames = Counter[str]()
            latest: dict[str, int] = {}
            for row in read_rows(path):
                frames[row.label] += latest.get(row.label) != row.frame
                latest[row.label] = row.frame
            return {label: round(count * frame_s, 3) for label, count in frames.items()}
    return None


def _stem_of(meta_path: Path) -> str:
    return meta_path.name.removesuffix(META_SUFFIXES["boxes"])


def _address(page: Path, start: Path) -> str:
    path = Path(relpath(page.absolute(), start.absolute())).as_posix()
    return quote(path.encode(errors="surrogateescape"))


def _is_index(path: Path) -> bool:
    with output_errors(path), path.open("rb") as file:
        return f'<meta name="generator" content="{GENERATOR}">'.encode() in file.read(BEGIN_BYTES)
