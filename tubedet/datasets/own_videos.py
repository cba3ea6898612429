"""What the formats of a user's own annotation share: class names, parts, and from boxes to clips.

    ROOT/classes.txt       optional: one class a line, in the order of the class scores; else the
                           labels that occur, sorted
    ROOT/validation.txt    optional: names of the validation videos, one a line, without suffix;
                           else a fifth of the videos, those with the lowest SHA-256 of their names
    ROOT/test.txt          optional: the same for the test part; else it is empty

`train` are all others, `trainval` are they and the validation videos.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

from tubedet.datasets.annotated_clips import (
    AnnotatedClip,
    AnnotatedDataset,
    BoxXyxy,
    LabelledBox,
    is_inside,
)
from tubedet.datasets.clip_frames import fingerprint
from tubedet.errors import DatasetError, EmptyPartError, VideoError
from tubedet.video.reader import VIDEO_SUFFIXES, VideoReader

PARTS = ("train", "validation", "trainval", "test", "all")
VALIDATION_SHARE = 5  # one in so many

Source = TypeVar("Source")


class OwnBox(NamedTuple):
    """One annotated box; `tube` tells the actors of a video apart."""

    frame: int
    label: str
    box_xyxy: BoxXyxy
    tube: int


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
    """

    video: str
    path: Path
    source: Path
    size: tuple[int, int]
    frames: int
    boxes: tuple[OwnBox, ...]
    examined_frames: frozenset[int]
    declared_tubes: frozenset[int] = frozenset()


class VideoFacts(NamedTuple):
    """Size in px, number of frames and nominal rate of a file."""

    size: tuple[int, int]
    frames: int
    fps: float


def video_facts(path: Path) -> VideoFacts:
    """Look into a video; its frames are decoded and counted, once as long as it stays the same.

    Raises:
        DatasetError: if it is absent or no video.
    """
    return _facts(path, fingerprint(path))


@cache  # every part of a data set is asked for, and training asks for two
def _facts(path: Path, _fingerprint: str) -> VideoFacts:
    try:
        with VideoReader(path) as reader:
            info, frames = reader.info, reader.count_frames()
    except VideoError as error:
        raise DatasetError(f"a video of the data set is bad: {error}") from error
    return VideoFacts((info.width, info.height), frames, float(info.fps))


def find_video(folder: Path, stem: str) -> Path | None:
    """The video of this name in a folder, or the folder of its extracted frames."""
    candidates = [folder / f"{stem}{suffix}" for suffix in VIDEO_SUFFIXES]
    try:
        return next((path for path in (*candidates, folder / stem) if path.exists()), None)
    except OSError as error:
        raise DatasetError(f"{stem[:40]}…: no name of a video: {error.strerror}") from error


def class_list(root: Path) -> list[str] | None:
    """What classes.txt says, if it is there."""
    return _lines(root / "classes.txt")


def read_each(
    read: Callable[[Source], OwnVideo], sources: Iterable[Source]
) -> Iterator[OwnVideo | DatasetError]:
    """What `read` makes of each source, or why it cannot: for `assemble`, which names them all."""
    for source in sources:
        try:
            yield read(source)
        except DatasetError as error:
            yield error


def assemble(
    name: str,
    root: Path,
    split: int,
    part: str,
    read: Iterable[OwnVideo | DatasetError],
    *,
    require_videos: bool = True,
) -> AnnotatedDataset:
    """One part of a user's videos, which `read_each` made.

    Raises:
        DatasetError: for an unknown split or part, or when no video is left; with all problems at
            once for what could not be read, labels that classes.txt doesn't list, boxes outside
            their frame, frames that a video doesn't have, and actors without a box.
    """
    if split != 1 or part not in PARTS:
        raise EmptyPartError(
            f"{name}: no part {part!r} of split {split}; "
            f"there is split 1 with parts {', '.join(PARTS)}"
        )
    read = list(read)
    problems = [text for each in read if isinstance(each, DatasetError) for text in each.problems]
    videos = [each for each in read if isinstance(each, OwnVideo)]
    class_names = _class_names(root, videos) if videos else ()
    problems += [text for video in videos for text in _problems_of(video, class_names)]
    times = Counter(video.video for video in videos)
    problems += [f"{root}: {name} is annotated {n} times" for name, n in times.items() if n > 1]
    if problems:
        absent = [video.video for video in videos if not video.path.exists()]
        problems += [f"{video} is absent" for video in absent if require_videos]
        others = f"; {len(problems)} such problems" if len(problems) > 1 else ""
        raise DatasetError(problems[0] + others, problems)
    chosen = _names_of(root, part, sorted(video.video for video in videos))
    wanted = [video for video in videos if video.video in chosen]
    missing = [v.video for v in wanted if not v.path.exists()] if require_videos else []
    clips = tuple(_clip(video, class_names) for video in wanted if video.video not in missing)
    if not clips:
        raise EmptyPartError(
            f"{root}: no video in part {part}: {len(videos)} are annotated, {len(missing)} of the "
            "part are missing; name some in validation.txt or test.txt, or take --part trainval"
        )
    return AnnotatedDataset(name, split, part, class_names, clips, tuple(missing))


def _class_names(root: Path, videos: Sequence[OwnVideo]) -> tuple[str, ...]:
    listed = class_list(root)
    if listed is not None:
        return tuple(listed)
    labels = sorted({box.label for video in videos for box in video.boxes})
    if not labels:
        raise DatasetError(f"{root}: no box is annotated in {len(videos)} videos")
    return tuple(labels)


def _problems_of(video: OwnVideo, class_names: Sequence[str]) -> Iterator[str]:
    """In one line each: unknown labels, boxes that lie nowhere, actors without a box."""
    width, height = video.size
    for box in video.boxes:
        place = f"{video.source}: frame {box.frame}: "
        if box.label not in class_names:
            near = get_close_matches(box.label, class_names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            yield f"{place}label {box.label!r} is not in classes.txt{hint}"
        if not 0 <= box.frame < video.frames:
            yield f"{place}expected frames 0 to {video.frames - 1}"
        if not is_inside(box.box_xyxy, width, height):
            yield f"{place}expected a box inside {width}x{height}, found {box.box_xyxy}"
    boxed = {box.frame for box in video.boxes}
    if beyond := sorted(video.examined_frames - boxed - set(range(video.frames))):
        yield (
            f"{video.source}: speaks of frame {beyond[0]}: expected frames 0 to "
            f"{video.frames - 1}; is {video.path} the video that was annotated?"
        )
    for tube in sorted(video.declared_tubes - {box.tube for box in video.boxes}):
        yield f"{video.source}: actor {tube} has no box in any frame"


def _names_of(root: Path, part: str, names: Sequence[str]) -> set[str]:
    test = set(_lines(root / "test.txt") or ())
    rest = [name for name in names if name not in test]
    by_hash = sorted(rest, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    listed = _lines(root / "validation.txt")
    validation = set(by_hash[: len(rest) // VALIDATION_SHARE] if listed is None else listed)
    if unknown := sorted((test | validation) - set(names)):
        raise DatasetError(
            f"{root}: a list names {unknown[0]}, which is not annotated; {len(unknown)} such names"
        )
    train = set(rest) - validation
    parts = {"train": train, "validation": validation, "test": test, "all": set(names)}
    return train | validation if part == "trainval" else parts[part]


def _lines(path: Path) -> list[str] | None:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: expected one name a line: {error}") from error
    return [line.strip() for line in lines if line.strip()]


def _clip(video: OwnVideo, class_names: tuple[str, ...]) -> AnnotatedClip:
    return AnnotatedClip(
        video=video.video,
        path=video.path,
        class_index=class_names.index(_commonest(video)) if video.boxes else 0,
        group=video.video,
        width=video.size[0],
        height=video.size[1],
        boxes_by_frame=tuple(_boxes_by_frame(video, class_names)),
        examined_frames=video.examined_frames,
    )


def _commonest(video: OwnVideo) -> str:
    return Counter(box.label for box in video.boxes).most_common(1)[0][0]


def _boxes_by_frame(
    video: OwnVideo, class_names: tuple[str, ...]
) -> Iterator[tuple[LabelledBox, ...]]:
    frames: list[list[LabelledBox]] = [[] for _ in range(video.frames)]
    for box in video.boxes:
        frames[box.frame].append(LabelledBox(class_names.index(box.label), box.box_xyxy, box.tube))
    return map(tuple, frames)
