"""Files in folders of videos that an earlier run of tubedet wrote, told from what users have."""

import json
import re
from collections.abc import Set as AbstractSet
from pathlib import Path

MARKS = re.compile(r"(\.partial(-\d+)?)?(\.flow)?$", re.IGNORECASE)  # behind a source's stem
VIEW = ".view"


def is_result(video: Path, stems: AbstractSet[str]) -> bool:
    """Whether a video is a result: `*.tubedet.*`, or one of `MARKS` with something to show for it.

    The copy that a page plays, `STEM.view.mp4`, is one beside its page.

    `*.flow.*` and `*.partial.*` may be a user's own names. They are results beside their source,
    or beside their meta if that does not say that the video itself was the source.

    Args:
        video: a file whose name is that of a video.
        stems: of all videos in its folder, casefolded.
    """
    stem = video.stem
    if stem.lower().endswith(".tubedet"):
        return True
    if stem.lower().endswith(VIEW) and exists(video.with_name(f"{stem[: -len(VIEW)]}.html")):
        return True
    source = MARKS.sub("", stem)
    if source == stem:
        return False
    meta = video.with_name(f"{stem}.meta.json")
    return source.casefold() in stems or (exists(meta) and not _is_of(meta, video.name))


def holds_flow_images(folder: Path) -> bool:
    """Whether the images in a folder are flow that was written beside its meta.

    A folder of frames has such a meta as well once its flow was written as a video.
    """
    meta = folder.with_name(f"{folder.name}.flow.meta.json")
    video = folder.with_name(f"{folder.name}.flow.mp4")
    return exists(meta) and not (exists(video) and _is_of(meta, folder.name))


def _is_of(meta: Path, name: str) -> bool:
    """Whether a meta is that of a run over a source of this name."""
    try:
        described = json.loads(meta.read_bytes())
    except (OSError, ValueError):
        return False
    video = described.get("video") if isinstance(described, dict) else None
    return isinstance(video, str) and video.split("/")[-1] == name


def exists(path: Path) -> bool:
    """Whether anything is there; False for a name that cannot be."""
    try:
        return path.exists()
    except OSError:  # whoever opens it will say why
        return False
