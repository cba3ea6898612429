"""What a user's annotation says of one video, and what is mended in it before it is used.

Annotators and their tools leave small oddities: boxes that stick out of the frame by a rounding,
boxes without an area, the same row twice, turned boxes, shapes that are no boxes. Each is put
right or left out, counted, and named. What would make the truth wrong stays as it is, and is
refused where the data set is assembled (`own_videos`).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from tubedet.datasets.annotated_clips import BoxXyxy
from tubedet.datasets.video_names import same_form
from tubedet.notes import Note

HAIR_PX = 1.0  # how far a box may stick out of its frame, by rounding …
HAIR_SHARE = 0.02  # … or as a share of the frame's side, by a shaky hand; the larger counts
ROUNDING_PX = 1e-6  # of x + width, say: clipped, and not worth a word


class OwnBox(NamedTuple):
    """One annotated box; `tube` tells the actors of a video apart."""

    frame: int
    label: str
    box_xyxy: BoxXyxy
    tube: int


class LeftOut(NamedTuple):
    """Somebody is annotated in a frame, but not with a box; `kind` says with what."""

    frame: int
    label: str
    kind: str


@dataclass(frozen=True, slots=True)
class OwnVideo:
    """One annotated video.

    Attributes:
        video: its name in the data set, without suffix, "/" between folders.
        path: its file; it need not be there.
        source: the annotation file, for messages.
        size: width and height, px, that boxes are measured in.
        frames: how many it has.
        boxes: in any order.
        examined_frames: as in `AnnotatedClip`.
        declared_tubes: actors that the file speaks of, with or without a box.
        left_out: what is annotated and cannot be used. A frame that shows only such is unknown.
        notes: what else is odd, without the video's name.
    """

    video: str
    path: Path
    source: Path
    size: tuple[int, int]
    frames: int
    boxes: tuple[OwnBox, ...]
    examined_frames: frozenset[int]
    declared_tubes: frozenset[int] = frozenset()
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[Note, ...] = ()


def upright_box(box_xyxy: BoxXyxy, degrees: float, size: tuple[int, int]) -> BoxXyxy:
    """The upright box around one that is turned about its middle, as far as the frame shows it.

    One that isn't turned, or is upside down, stays as it is. A box whose middle lies outside the
    frame is not cut to it: something else is wrong there.

    Raises:
        ValueError: if the angle is no number.
    """
    if not math.isfinite(degrees):
        raise ValueError(f"expected an angle in degrees, found {degrees}")
    if degrees % 180 == 0:
        return box_xyxy
    x1, y1, x2, y2 = box_xyxy
    (width, height), x, y = size, (x1 + x2) / 2, (y1 + y2) / 2
    cosine, sine = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    half_x = ((x2 - x1) * cosine + (y2 - y1) * sine) / 2
    half_y = ((x2 - x1) * sine + (y2 - y1) * cosine) / 2
    turned = (x - half_x, y - half_y, x + half_x, y + half_y)
    return _cut(turned, size) if 0 <= x <= width and 0 <= y <= height else turned


def mended(video: OwnVideo) -> OwnVideo:
    """The video with its small oddities put right or left out, and a note for each kind.

    Boxes that stick out of the frame by a hair are clipped, boxes without an area and exact
    repetitions left out. Names and labels get one Unicode form.
    """
    boxes, clipped = [], 0
    left_out = [each._replace(label=same_form(each.label)) for each in video.left_out]
    distinct = dict.fromkeys(box._replace(label=same_form(box.label)) for box in video.boxes)
    for box in distinct:
        mended_xyxy, excess_px = _clipped(box.box_xyxy, video.size)
        if _has_no_area(box.box_xyxy, mended_xyxy):
            left_out.append(LeftOut(box.frame, box.label, "box without an area"))
            continue
        clipped += excess_px > ROUNDING_PX
        boxes.append(box._replace(box_xyxy=mended_xyxy))
    words = [
        (clipped, "boxes that stick out of the frame by a hair, clipped"),
        (len(video.boxes) - len(distinct), "boxes that repeat another, left out"),
    ]
    return replace(
        video,
        video=same_form(video.video),
        boxes=tuple(boxes),
        left_out=tuple(left_out),
        notes=(*video.notes, *(Note(f"{said} ({n})") for n, said in words if n)),
    )


def turned_note(turned: int) -> tuple[Note, ...]:
    """What to say of so many turned boxes."""
    said = f"turned boxes, replaced by the upright ones around them ({turned})"
    return (Note(said),) if turned else ()


def without_copies(videos: Iterable[OwnVideo]) -> Iterator[OwnVideo]:
    """One of each video whose annotation lies there twice, as in a .zip and unpacked beside it."""
    alike: dict[object, list[OwnVideo]] = defaultdict(list)
    for video in videos:
        boxes = frozenset(video.boxes)
        alike[video.video, video.path, video.size, boxes, video.examined_frames].append(video)
    for video, *copies in alike.values():
        said = f"its annotation lies there {len(copies) + 1} times, all alike: taken once"
        yield replace(video, notes=(*video.notes, Note(said))) if copies else video


def known_frames(video: OwnVideo, class_names: Iterable[str]) -> frozenset[int]:
    """The examined frames, but for those that show somebody of a class, and nobody in a box."""
    labels = set(class_names)
    boxed = {box.frame for box in video.boxes}
    unboxed = {each.frame for each in video.left_out if each.label in labels}
    return video.examined_frames - (unboxed - boxed)


def notes_of(video: OwnVideo) -> Iterator[Note]:
    """All that is odd about a video, each line with its name."""
    kinds = Counter(each.kind for each in video.left_out)
    if kinds:
        listed = ", ".join(f"{kind} ({times})" for kind, times in sorted(kinds.items()))
        yield Note(f"{video.video}: annotated otherwise than by boxes, left out: {listed}", True)
    empty = len(video.declared_tubes - {box.tube for box in video.boxes})
    if empty and not kinds:
        yield Note(f"{video.video}: actors without a box in any frame ({empty})")
    for note in video.notes:
        yield replace(note, text=f"{video.video}: {note.text}")


def _clipped(box_xyxy: BoxXyxy, size: tuple[int, int]) -> tuple[BoxXyxy, float]:
    """The box inside the frame and by how much it stuck out; as it is, if by more than a hair."""
    (width, height), (x1, y1, x2, y2) = size, box_xyxy
    hair_x, hair_y = max(HAIR_PX, HAIR_SHARE * width), max(HAIR_PX, HAIR_SHARE * height)
    # Never true of NaN: such a box is left as it is, and refused.
    if -hair_x <= x1 and -hair_y <= y1 and x2 <= width + hair_x and y2 <= height + hair_y:
        return _cut(box_xyxy, size), max(-x1, -y1, x2 - width, y2 - height, 0)
    return box_xyxy, 0


def _cut(box_xyxy: BoxXyxy, size: tuple[int, int]) -> BoxXyxy:
    (width, height), (x1, y1, x2, y2) = size, box_xyxy
    return max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))


def _has_no_area(drawn_xyxy: BoxXyxy, mended_xyxy: BoxXyxy) -> bool:
    """Whether a box is a line or a point, or lies beside its frame; not if it is upside down."""
    (drawn_x1, drawn_y1, drawn_x2, drawn_y2), (x1, y1, x2, y2) = drawn_xyxy, mended_xyxy
    return drawn_x1 <= drawn_x2 and drawn_y1 <= drawn_y2 and (x1 >= x2 or y1 >= y2)
