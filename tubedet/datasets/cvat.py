"""A user's own videos annotated in CVAT and exported as "CVAT for video 1.1".

    ROOT/…/ANY.xml                       one task a file; annotations.xml, or whatever it is called
    ROOT/…/<source>                      beside it the video that the task's meta names, or a video
                                         that is called like the XML file

Every box of every track counts where it isn't `outside`; CVAT writes out the frames between
keyframes. All frames of the task are examined: those without a box are background. A task may have
taken every n-th frame of its video only (`frame_filter`, "step=n"); the others are unknown.

Source: CVAT's exporter numbers frames as the video does: start_frame + step * index.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse

from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.own_videos import (
    OwnBox,
    OwnVideo,
    assemble,
    find_video,
    read_each,
    video_facts,
)
from tubedet.errors import DatasetError

CORNERS = ("xtl", "ytl", "xbr", "ybr")


def load_cvat(
    root: Path | str, split: int = 1, part: str = "train", *, require_videos: bool = True
) -> AnnotatedDataset:
    """Read one part of the exports in a folder; see `own_videos` for parts and classes.

    Raises:
        DatasetError: if there is no XML file, one is malformed or dangerous (entities), or as
            `assemble`.
    """
    root = Path(root)
    exports = sorted(root.rglob("*.xml"))
    if not exports:
        raise DatasetError(f"{root}: expected .xml files, exported as CVAT for video 1.1")
    videos = read_each(partial(_video, root), exports)
    return assemble("cvat", root, split, part, videos, require_videos=require_videos)


def _video(root: Path, path: Path) -> OwnVideo:
    try:
        tree = parse(path).getroot()
        if tree is None or tree.tag != "annotations":
            raise ValueError("the outermost element is no <annotations>")
        if tree.find("image") is not None or tree.find("meta/project") is not None:
            raise ValueError("CVAT for images, or a whole project; export each task for video")
        boxes, tracks = tuple(_boxes(tree)), sum(1 for _ in tree.iter("track"))
        first, last = (_number(tree, name) for name in ("start_frame", "stop_frame"))
        source = tree.findtext(".//source") or path.stem
        video = _file_of(path, source)
        width, height, size = (_number(tree, name) for name in ("width", "height", "size"))
        step = _step(tree)
    except (OSError, ParseError, DefusedXmlException, LookupError, ValueError) as error:
        raise DatasetError(f"{path}: expected CVAT for video 1.1: {error!r}") from error
    if video.exists():
        facts = video_facts(video)
        frames = facts.frames
        # Boxes are measured in the frame that was annotated; `data check` tells if it differs.
        width, height = (width, height) if width and height else facts.size
    elif width is None or height is None or size is None:
        raise DatasetError(f"{path}: no video {source} beside it, and no size in its meta")
    else:
        frames = size if last is None else last + 1
    stop = frames - 1 if last is None else last
    return OwnVideo(
        video=video.relative_to(root).with_suffix("").as_posix(),
        path=video,
        source=path,
        size=(width, height),
        frames=frames,
        boxes=boxes,
        examined_frames=frozenset(range(first or 0, min(stop, frames - 1) + 1, step)),
        declared_tubes=frozenset(range(tracks)),
    )


def _file_of(path: Path, source: str) -> Path:
    named = path.with_name(Path(source.replace("\\", "/")).name)
    return named if named.exists() else find_video(path.parent, path.stem) or named


def _boxes(tree: Element) -> Iterator[OwnBox]:
    for number, track in enumerate(tree.iter("track")):
        for box in track.iter("box"):
            if box.attrib.get("outside") != "1":
                x1, y1, x2, y2 = (float(box.attrib[corner]) for corner in CORNERS)
                frame, label = int(box.attrib["frame"]), track.attrib["label"]
                yield OwnBox(frame, label, (x1, y1, x2, y2), number)


def _number(tree: Element, name: str) -> int | None:
    text = tree.findtext(f".//meta//{name}")
    return int(text) if text else None


def _step(tree: Element) -> int:
    found = re.search(r"step\s*=\s*0*([1-9]\d*)", tree.findtext(".//meta//frame_filter") or "")
    return int(found[1]) if found else 1
