"""A user's own videos annotated in CVAT and exported as "CVAT for video 1.1".

    ROOT/…/ANY.xml  or  ANY.zip          a task, a job or a project; as CVAT exports it, or unpacked
    ROOT/…/<source>                      beside it the video that the task's meta names, or a video
                                         that is called like the export, or the only one there

Every box of every track counts where it isn't `outside`; CVAT writes out the frames between
keyframes. A turned box becomes the upright one around it; polygons, skeletons and other shapes are
left out and counted. All frames of the task are examined: those without a box are background. A
task may have taken every n-th frame of its video only (`frame_filter`, "step=n"); the others are
unknown.

Source: CVAT's exporter numbers frames as the video does: start_frame + step * index.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path, PurePath
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError

from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.annotation_files import annotation_paths, read_annotations
from tubedet.datasets.own_annotation import LeftOut, OwnBox, OwnVideo, turned_note, upright_box
from tubedet.datasets.own_videos import assemble, read_each, video_facts
from tubedet.datasets.video_names import find_video, is_there, only_video, without_suffix
from tubedet.errors import DatasetError
from tubedet.extras import needed_for
from tubedet.notes import Note

CORNERS = ("xtl", "ytl", "xbr", "ybr")


def load_cvat(
    root: Path | str, split: int = 1, part: str = "train", *, require_videos: bool = True
) -> AnnotatedDataset:
    """Read one part of the exports in a folder; see `own_videos` for parts and classes.

    Raises:
        DatasetError: if there is no XML file, one is malformed or dangerous (entities), or as
            `assemble`.
        UsageError: if defusedxml is not installed.
    """
    root = Path(root)
    exports = annotation_paths(root, "**/*.[xX][mM][lL]")
    if not exports:
        raise DatasetError(
            f"{root}: expected .xml or .zip files, exported as CVAT for video 1.1, found none"
        )
    videos = read_each(partial(_videos, root), exports)
    return assemble("cvat", root, split, part, videos, require_videos=require_videos)


def _videos(root: Path, path: Path) -> Iterator[OwnVideo]:
    for source, task in read_tasks(path):
        with _expected_cvat(source):
            video = _video(root, path, source, task)
        yield video


def read_tasks(path: Path) -> Iterator[tuple[Path, "Task"]]:
    """The tasks of an export, each with the path of its XML.

    Raises:
        DatasetError: if it is no "CVAT for video 1.1", or dangerous (entities).
        UsageError: if defusedxml is not installed.
    """
    with needed_for("CVAT exports", "defusedxml"):
        from defusedxml.ElementTree import parse  # noqa: PLC0415

    for source, content in read_annotations(path, ".xml"):
        with _expected_cvat(source):
            tree = parse(BytesIO(content)).getroot()
            if tree is None or tree.tag != "annotations":
                raise ValueError("the outermost element is no <annotations>")
            if tree.find("image") is not None:
                raise ValueError("CVAT for images; export each task for video")
            tasks = list(_tasks(tree))
        yield from ((source, task) for task in tasks)


@contextmanager
def _expected_cvat(source: Path) -> Iterator[None]:
    with needed_for("CVAT exports", "defusedxml"):
        from defusedxml import DefusedXmlException  # noqa: PLC0415

    try:
        yield
    except (OSError, ParseError, DefusedXmlException, LookupError, ValueError) as error:
        raise DatasetError(f"{source}: expected CVAT for video 1.1: {error!r}") from error


class Task(NamedTuple):
    """The part of an export that is about one video; tracks count frames from `offset`."""

    meta: Element
    tracks: list[Element]
    offset: int = 0


def _tasks(tree: Element) -> Iterator[Task]:
    meta = tree.find("meta")
    tracks = tree.findall("track")
    project = None if meta is None else meta.find("project")
    if project is None:
        yield Task(Element("meta") if meta is None else meta, tracks)
        return
    if project.find("tasks/task") is None:
        raise ValueError("a project without its tasks; export each task for video")
    # CVAT numbers the frames of a project through, for each subset anew.
    ends: dict[str, int] = defaultdict(int)
    for task in project.findall("tasks/task"):
        own = [track for track in tracks if track.get("task_id") == task.findtext("id")]
        subset, start = task.findtext("subset") or "", _number(task, "start_frame") or 0
        yield Task(task, own, ends[subset])
        ends[subset] += start + _step(task) * (_number(task, "size") or 0)


def _video(root: Path, path: Path, source: Path, task: Task) -> OwnVideo:
    meta = task.meta
    first, last = (_number(meta, name) for name in ("start_frame", "stop_frame"))
    width, height, length = (_number(meta, name) for name in ("width", "height", "size"))
    name = meta.findtext(".//source")
    video, guess = _file_of(path, name)
    notes = [Note(guess, loss=True)] if guess else []
    if is_there(video):
        facts = video_facts(video)
        frames = facts.frames
        # Boxes are measured in the frame that was annotated; `data check` tells if it differs.
        width, height = (width, height) if width and height else facts.size
    elif width is None or height is None or length is None:
        raise DatasetError(
            f"{source}: no video {name or path.stem} beside it, and no size in its meta"
        )
    else:
        frames = length if last is None else last + 1
    stop = frames - 1 if last is None else last
    if stop >= frames:
        notes.append(Note(f"annotated up to frame {stop}, but it has {frames} frames", loss=True))
    boxes, left_out, turned = _shapes(task, (width, height))
    return OwnVideo(
        video=without_suffix(video.relative_to(root).as_posix()),
        path=video,
        source=source,
        size=(width, height),
        frames=frames,
        boxes=boxes,
        examined_frames=frozenset(range(first or 0, min(stop, frames - 1) + 1, _step(meta))),
        declared_tubes=frozenset(range(len(task.tracks))),
        left_out=left_out,
        notes=(*notes, *turned_note(turned)),
    )


def _file_of(path: Path, source: str | None) -> tuple[Path, str]:
    """The video of an export, and what to say if that is a guess."""
    name = path.stem if source is None else PurePath(source.replace("\\", "/")).name
    if not name:
        raise ValueError(f"no name of a video: {source!r}")
    found = find_video(path.parent, name) or find_video(path.parent, path.stem)
    if found is None and source is None and (found := only_video(path.parent)):
        return found, f"{path} names no video: taken for that of the only one beside it"
    return found or path.with_name(name), ""


def _shapes(
    task: Task, size: tuple[int, int]
) -> tuple[tuple[OwnBox, ...], tuple[LeftOut, ...], int]:
    """The boxes, the shapes that are none, and how many boxes were turned."""
    boxes, left_out, turned = [], [], 0
    for number, track in enumerate(task.tracks):
        label = track.attrib["label"]
        for shape in track:
            frame = int(shape.attrib["frame"]) - task.offset
            if is_outside(shape):
                continue
            if shape.tag != "box":
                left_out.append(LeftOut(frame, label, shape.tag))
                continue
            x1, y1, x2, y2 = (float(shape.attrib[corner]) for corner in CORNERS)
            box_xyxy, degrees = (x1, y1, x2, y2), float(shape.get("rotation") or 0)
            turned += degrees % 180 != 0
            boxes.append(OwnBox(frame, label, upright_box(box_xyxy, degrees, size), number))
    return tuple(boxes), tuple(left_out), turned


def is_outside(shape: Element) -> bool:
    """Whether nothing of a shape is seen; of a skeleton its points say so."""
    said = [shape.get("outside"), *(point.get("outside") for point in shape)]
    known = [outside for outside in said if outside is not None]
    return bool(known) and all(outside == "1" for outside in known)


def _number(meta: Element, name: str) -> int | None:
    text = meta.findtext(f".//{name}")
    return int(text) if text else None


def _step(meta: Element) -> int:
    found = re.search(r"step\s*=\s*0*([1-9]\d*)", meta.findtext(".//frame_filter") or "")
    return int(found[1]) if found else 1
