"""A user's own video frames annotated in COCO's format.

    ROOT/ANY.json                     images, annotations, categories
    ROOT/<video>.<suffix>             the video, or
    ROOT/<video>/<number:05d>.jpg     frames extracted from it, from 1 on, none left out

An image's `file_name` is `<video>/<number>.jpg`; an annotation has `bbox` (x, y, width, height in
px) and, if actors are told apart, `track_id`. As CVAT exports a task in "COCO 1.0":

    ROOT/…/ANY.zip                    beside the video that is called like it, or the only one, or
    ROOT/…/annotations/instances_default.json     unpacked; images are `frame_<number>`, from 0 on

Images that are listed are examined: without an annotation they are background. Frames that are not
listed are unknown. Annotations without a `bbox` and crowds (`iscrowd`) are left out and counted.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

from tubedet.datasets.annotated_clips import AnnotatedDataset, BoxXyxy
from tubedet.datasets.annotation_files import annotation_paths, decode_text, read_annotations
from tubedet.datasets.own_annotation import LeftOut, OwnBox, OwnVideo, turned_note, upright_box
from tubedet.datasets.own_videos import assemble, read_each, video_facts
from tubedet.datasets.video_names import find_video, is_there, only_video, without_suffix
from tubedet.errors import DatasetError
from tubedet.notes import Note

PATTERNS = ("*.json", "annotations/*.json", "**/instances_*.json")
PACKING = ("images", "default")  # folders of CVAT's around its frame_000000.PNG
# What json, and a field of another type than expected, can raise.
BAD_CONTENT = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
FRAME_NAME = re.compile(r"(frame_)?(\d+)", re.ASCII)  # CVAT's from 0, extracted ones from 1

Listed = TypeVar("Listed")


def load_coco(
    root: Path | str, split: int = 1, part: str = "train", *, require_videos: bool = True
) -> AnnotatedDataset:
    """Read one part of the annotated videos; see `own_videos` for parts and classes.

    Raises:
        DatasetError: if there is no JSON file, one is malformed, or as `assemble`.
    """
    root = Path(root)
    files = annotation_paths(root, *PATTERNS)
    if not files:
        raise DatasetError(
            f"{root}: expected annotations of COCO in .json or .zip files, found none"
        )
    videos = read_each(partial(_videos, root), files)
    return assemble("coco", root, split, part, videos, require_videos=require_videos)


class ListedImage(NamedTuple):
    """One listed image: the folder that names its video, "" if none does, and the frame, from 0."""

    folder: str
    frame: int
    size: tuple[int, int]


def _videos(root: Path, path: Path) -> Iterator[OwnVideo]:
    for source, content in read_annotations(path, ".json"):
        try:
            coco = json.loads(decode_text(content)[0])
            labels = {each["id"]: str(each["name"]) for each in coco["categories"]}
            images = {each["id"]: listed_image(each) for each in coco["images"]}
            annotations: dict[str, list[Any]] = defaultdict(list)
            for each in coco["annotations"]:
                image = _listed(images, each["image_id"], "image")
                label = _listed(labels, each["category_id"], "category")
                annotations[image.folder].append((image, label, each))
            if len(labels) < len(coco["categories"]) or len(images) < len(coco["images"]):
                raise ValueError("two categories or images have one id")
            for folder in sorted({image.folder for image in images.values()}):
                own = [image for image in images.values() if image.folder == folder]
                yield _video(root, path, source, own, annotations[folder])
        except BAD_CONTENT as error:
            raise DatasetError(f"{source}: expected annotations of COCO: {error!r}") from error


def listed_image(image: dict[str, Any]) -> ListedImage:
    """What an entry of `images` says; ValueError or LookupError if its name tells no frame."""
    file = PurePosixPath(str(image["file_name"]).replace("\\", "/"))
    name, parents = FRAME_NAME.fullmatch(file.stem), list(file.parts[:-1])
    is_cvat = name is not None and name[1] is not None
    while is_cvat and parents and parents[0] in PACKING:
        del parents[0]
    frame = -1 if name is None else int(name[2]) - (not is_cvat)
    if frame < 0 or file.is_absolute() or ".." in parents or not (parents or is_cvat):
        raise ValueError(
            "expected <video>/<number>.jpg from 1 on, or frame_<number>.png from 0 on as CVAT "
            f"writes them, found {file}"
        )
    return ListedImage("/".join(parents), frame, (int(image["width"]), int(image["height"])))


def _video(
    root: Path,
    path: Path,
    source: Path,
    images: list[ListedImage],
    annotations: list[tuple[ListedImage, str, dict[str, Any]]],
) -> OwnVideo:
    size, folder = images[0].size, images[0].folder
    examined = frozenset(image.frame for image in images)
    if other := next((image for image in images if image.size != size), None):
        raise ValueError(f"images of one video are {size} and {other.size} px")
    beside = _folder_beside(root, path)
    if folder:
        video, guess = find_video(root, folder) or find_video(beside, folder) or root / folder, ""
    else:
        video, guess = _unnamed_video(root, path, beside)
    boxes, left_out, turned = [], [], 0
    for image, label, annotation in annotations:
        if not annotation.get("bbox") or annotation.get("iscrowd"):
            kind = "crowd or mask" if annotation.get("iscrowd") else "annotation without bbox"
            left_out.append(LeftOut(image.frame, label, kind))
            continue
        attributes = annotation.get("attributes") or {}
        degrees = float(attributes.get("rotation") or 0)  # of CVAT; `bbox` is not turned
        turned += degrees % 180 != 0
        tube = int(annotation.get("track_id") or attributes.get("track_id") or 0)
        upright = upright_box(box_xyxy(annotation["bbox"]), degrees, size)
        boxes.append(OwnBox(image.frame, label, upright, tube))
    return OwnVideo(
        video=without_suffix(video.relative_to(root).as_posix()),
        path=video,
        source=source,
        size=size,
        frames=video_facts(video).frames if is_there(video) else max(examined) + 1,
        boxes=tuple(boxes),
        examined_frames=examined,
        left_out=tuple(left_out),
        notes=(*((Note(guess, loss=True),) if guess else ()), *turned_note(turned)),
    )


def box_xyxy(bbox: Any) -> BoxXyxy:
    """The edges of (x, y, width, height)."""
    x, y, width, height = (float(value) for value in bbox)
    return x, y, x + width, y + height


def _folder_beside(root: Path, path: Path) -> Path:
    """The folder that a .zip or .json lies in, or that `annotations` with the .json lies in."""
    is_packed = path.parent.name == "annotations" and path.parent != root
    return path.parent.parent if is_packed else path.parent


def _unnamed_video(root: Path, path: Path, folder: Path) -> tuple[Path, str]:
    """The video of images whose names don't tell it, and what to say if that is a guess."""
    named = [find_video(folder, path.stem)]
    if folder != root:
        named.append(find_video(folder.parent, folder.name))
    if video := next((each for each in named if each is not None and each.is_file()), None):
        return video, ""
    if video := only_video(folder):
        return video, f"{path} names no video: taken for that of the only one beside it"
    subset = path.stem.removeprefix("instances_")
    extracted = (folder / "images" / subset, folder / "images")
    frames = (each for each in extracted if next(each.glob("frame_*"), None))
    return next(frames, folder / f"{path.stem}.mp4"), ""


def _listed(of_id: dict[Any, Listed], key: Any, kind: str) -> Listed:
    if key not in of_id:
        raise ValueError(f"an annotation is of {kind} {key}, which is not listed")
    return of_id[key]
