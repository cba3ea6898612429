"""A user's own video frames annotated in COCO's format.

    ROOT/ANY.json                     images, annotations, categories
    ROOT/<video>/<number:05d>.jpg     frames extracted from each video, from 1 on, none left out

An image's `file_name` is `<video>/<number>.jpg`; an annotation has `bbox` (x, y, width, height in
px) and, if actors are told apart, `track_id`. Images that are listed are examined: without an
annotation they are background. Frames that are not listed are unknown.
"""

import json
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Any

from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.own_videos import OwnBox, OwnVideo, assemble, video_facts
from tubedet.errors import DatasetError


def load_coco(
    root: Path | str, split: int = 1, part: str = "train", *, require_videos: bool = True
) -> AnnotatedDataset:
    """Read one part of the annotated videos; see `own_videos` for parts and classes.

    Raises:
        DatasetError: if there is no JSON file, one is malformed, or as `assemble`.
    """
    root = Path(root)
    files = sorted(root.glob("*.json"))
    if not files:
        raise DatasetError(f"{root}: expected annotations of COCO in a .json file, found none")
    videos = [video for path in files for video in _videos(root, path)]
    return assemble("coco", root, split, part, videos, require_videos=require_videos)


def _videos(root: Path, path: Path) -> list[OwnVideo]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        labels = {category["id"]: str(category["name"]) for category in content["categories"]}
        images = {image["id"]: image for image in content["images"]}
        boxes_of: dict[str, list[OwnBox]] = defaultdict(list)
        for note in content["annotations"]:
            name, frame = _place(images[note["image_id"]])
            boxes_of[name].append(_box(note, frame, labels))
        sizes, examined = {}, defaultdict(set)
        for image in images.values():
            name, frame = _place(image)
            sizes[name] = (int(image["width"]), int(image["height"]))
            examined[name].add(frame)
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        raise DatasetError(f"{path}: expected annotations of COCO: {error!r}") from error
    return [
        OwnVideo(
            video=name,
            path=root / name,
            source=path,
            size=size,
            frames=_frames(root / name, examined[name]),
            boxes=tuple(boxes_of[name]),
            examined_frames=frozenset(examined[name]),
        )
        for name, size in sorted(sizes.items())
    ]


def _place(image: dict[str, Any]) -> tuple[str, int]:
    """Video and frame, from 0, of an image."""
    file = PurePosixPath(image["file_name"])
    frame = int(file.stem) - 1
    if frame < 0 or file.is_absolute() or ".." in file.parts or len(file.parts) < 2:
        raise ValueError(f"expected <video>/<number>.jpg from 1 on, found {file}")
    return str(file.parent), frame


def _box(note: dict[str, Any], frame: int, labels: dict[Any, str]) -> OwnBox:
    x, y, width, height = (float(value) for value in note["bbox"])
    tube = int(note.get("track_id") or 0)
    return OwnBox(frame, labels[note["category_id"]], (x, y, x + width, y + height), tube)


def _frames(folder: Path, examined: set[int]) -> int:
    return video_facts(folder).frames if folder.is_dir() else max(examined) + 1
