"""The index page of a folder of results, made of what its metas and pages tell."""

from collections.abc import Mapping
from os.path import relpath
from pathlib import Path
from urllib.parse import quote

from tubedet.errors import OutputError
from tubedet.page.index_page import GENERATOR, IndexedVideo, index_html
from tubedet.page.video_page import summary_of
from tubedet.whole_file import written_whole
from tubedet.writers.formats import META_SUFFIXES
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
    """What the metas in a folder and its tree, and the pages they name, tell of their videos.

    Addresses are relative to the folder `start`.
    """
    found = []
    for meta_path in sorted(folder.rglob(f"*{META_SUFFIXES['boxes']}")):
        meta = None if meta_path.name.endswith(NOT_RUNS) else RunMeta.read(meta_path)
        if meta is not None:
            try:
                found.append(_indexed(meta_path, meta, start))
            except (AttributeError, LookupError, TypeError, ValueError):
                why = f"{meta_path}, or its page, is not as tubedet writes it"
                found.append(IndexedVideo(name=meta.video, error=why))
    return found


def _indexed(meta_path: Path, meta: RunMeta, start: Path) -> IndexedVideo:
    page = meta_path.parent / Path(str(meta.outputs.get("html", {}).get("name", ""))).name
    summary = summary_of(page) or {}  # without a name it is the folder
    thumbnail = str(summary.get("thumbnail") or "")
    seconds = summary.get("seconds")
    return IndexedVideo(
        # The segments of a stream are all of one video.
        name=meta.video if meta.live is None else _stem_of(meta_path),
        page=_address(page, start) if summary else None,
        thumbnail=thumbnail if thumbnail.startswith("data:image/") else None,
        labels={str(name): float(s) for name, s in summary.get("label_seconds", {}).items()},
        frames=meta.processed_frames,
        seconds=None if seconds is None else float(seconds),
        notes=[str(note["text"]) for note in meta.notes if note.get("loss")],
        partial=not meta.complete,
    )


def _stem_of(meta_path: Path) -> str:
    return meta_path.name.removesuffix(META_SUFFIXES["boxes"])


def _address(page: Path, start: Path) -> str:
    path = Path(relpath(page.absolute(), start.absolute())).as_posix()
    return quote(path.encode(errors="surrogateescape"))


def _is_index(path: Path) -> bool:
    with output_errors(path), path.open("rb") as file:
        return f'<meta name="generator" content="{GENERATOR}">'.encode() in file.read(BEGIN_BYTES)
