"""What the formats of a user's own annotation share: class names, parts, and from boxes to clips.

    ROOT/classes.txt       optional: one class a line, in the order of the class scores; else the
                           labels that occur, sorted
    ROOT/validation.txt    optional: names of the validation videos, one a line, without suffix;
                           else a fifth of the videos, those with the lowest SHA-256 of their names
    ROOT/test.txt          optional: the same for the test part; else it is empty

`train` are all others, `trainval` are they and the validation videos.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

from tubedet.datasets.annotated_clips import (
    AnnotatedClip,
    AnnotatedDataset,
    LabelledBox,
    is_inside,
)
from tubedet.datasets.annotation_files import decode_text
from tubedet.datasets.clip_frames import fingerprint
from tubedet.datasets.own_annotation import (
    OwnVideo,
    known_frames,
    mended,
    notes_of,
    without_copies,
)
from tubedet.datasets.video_names import is_there, same_form, without_suffix
from tubedet.errors import DatasetError, EmptyPartError, VideoError
from tubedet.notes import Note
from tubedet.video.reader import VideoReader

PARTS = ("train", "validation", "trainval", "test", "all")
VALIDATION_SHARE = 5  # one in so many
NAMES_SHOWN = 5

Source = TypeVar("Source")


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


def class_list(root: Path) -> list[str] | None:
    """What classes.txt says, if it is there."""
    return _lines(root / "classes.txt")


def read_each(
    read: Callable[[Source], Iterable[OwnVideo]], sources: Iterable[Source]
) -> Iterator[OwnVideo | Note | DatasetError]:
    """What `read` makes of each source, or why it cannot: for `assemble`, which names them all."""
    for source in sources:
        try:
            videos = list(read(source))
            yield from videos
            if not videos:
                yield Note(f"{source}: no annotation in it, left out", loss=True)
        except DatasetError as error:
            yield error


def assemble(
    name: str,
    root: Path,
    split: int,
    part: str,
    read: Iterable[OwnVideo | Note | DatasetError],
    *,
    require_videos: bool = True,
) -> AnnotatedDataset:
    """One part of a user's videos, which `read_each` made, with notes on all that was odd.

    Raises:
        DatasetError: for an unknown split or part, or when no video is left; with all problems at
            once for what could not be read, labels that classes.txt doesn't list, boxes far
            outside their frame, and frames that a video doesn't have.
    """
    if split != 1 or part not in PARTS:
        raise EmptyPartError(
            f"{name}: no part {part!r} of split {split}; "
            f"there is split 1 with parts {', '.join(PARTS)}"
        )
    read = list(read)
    notes = [each for each in read if isinstance(each, Note)]
    unread = [each for each in read if isinstance(each, DatasetError)]
    videos = list(without_copies(mended(each) for each in read if isinstance(each, OwnVideo)))
    if not (videos or unread):
        raise DatasetError("; ".join([f"{root}: nothing is annotated", *(n.text for n in notes)]))
    class_names = _class_names(root, videos)
    absent = [video for video in videos if require_videos and not is_there(video.path)]
    problems = [text for error in unread for text in error.problems]
    problems += [text for video in videos for text in _problems_of(video, class_names)]
    problems += _annotated_twice(root, videos)
    if videos and not class_names:
        problems.append(_without_boxes(root, videos))
    if problems:
        problems += [f"{video.video} is absent" for video in absent]
        others = f"; {len(problems)} such problems" if len(problems) > 1 else ""
        raise DatasetError(problems[0] + others, problems)
    chosen, list_notes = _names_of(root, part, sorted(video.video for video in videos))
    missing = [video for video in absent if video.video in chosen]
    present = [video for video in videos if video.video in chosen and video not in absent]
    clips = [_clip(video, class_names) for video in present]
    useful = [clip for clip in clips if any(clip.boxes_by_frame) or clip.background_frames]
    if not useful:
        # Only a part that nobody filled is empty on purpose.
        where = ", ".join(str(video.path) for video in missing)
        raise (DatasetError if missing else EmptyPartError)(
            f"{root}: no video in part {part}: {len(videos)} are annotated, {len(missing)} of the "
            f"part are missing{f' ({where})' if where else ''}; name some in validation.txt or "
            "test.txt, or take --part trainval"
        )
    notes += [*list_notes, *(note for video in present for note in notes_of(video))]
    notes += [
        Note(f"{clip.video}: nothing to learn from, left out", loss=True)
        for clip in clips
        if clip not in useful
    ]
    absent_names = tuple(video.video for video in missing)
    return AnnotatedDataset(
        name, split, part, class_names, tuple(useful), absent_names, tuple(notes)
    )


def _class_names(root: Path, videos: Sequence[OwnVideo]) -> tuple[str, ...]:
    listed = class_list(root)
    if listed is not None:
        return tuple(listed)
    return tuple(sorted({box.label for video in videos for box in video.boxes}))


def _without_boxes(root: Path, videos: Sequence[OwnVideo]) -> str:
    odd = [note.text for video in videos for note in notes_of(video)]
    odd += [f"{video.path} is absent" for video in videos if not is_there(video.path)]
    return "; ".join([f"{root}: no box is annotated in {len(videos)} videos", *odd])


def _problems_of(video: OwnVideo, class_names: Sequence[str]) -> Iterator[str]:
    """In one line each: unknown labels, boxes that lie nowhere, frames that are not there."""
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


def _annotated_twice(root: Path, videos: Sequence[OwnVideo]) -> Iterator[str]:
    sources: dict[str, list[str]] = defaultdict(list)
    for video in videos:
        sources[video.video].append(str(video.source))
    for name, found in sources.items():
        if len(found) > 1:
            yield f"{root}: {name} is annotated {len(found)} times: {', '.join(found)}; keep one"


def _names_of(root: Path, part: str, names: Sequence[str]) -> tuple[set[str], list[Note]]:
    """The videos of a part, and a note on each list that names others than those annotated."""
    test, test_notes = _listed(root / "test.txt", names)
    listed, validation_notes = _listed(root / "validation.txt", names)
    rest = [name for name in names if name not in (test or ())]
    by_hash = sorted(rest, key=_hash)
    validation = set(by_hash[: len(rest) // VALIDATION_SHARE]) if listed is None else listed
    train = set(rest) - validation
    parts = {"train": train, "validation": validation, "test": test or set(), "all": set(names)}
    chosen = train | validation if part == "trainval" else parts[part]
    return chosen, [*test_notes, *validation_notes]


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()  # a name may be no UTF-8


def _listed(path: Path, names: Sequence[str]) -> tuple[set[str] | None, list[Note]]:
    """The annotated videos that a list names, None without a list; what it names besides."""
    lines = _lines(path)
    if lines is None:
        return None, []
    names_of = {line: line.replace("\\", "/") for line in lines}  # it may be made on Windows
    stems = {
        line: name if name in names else without_suffix(name) for line, name in names_of.items()
    }
    found = {stem for stem in stems.values() if stem in names}
    unknown = [line for line, stem in stems.items() if stem not in names]
    if unknown and not found:
        raise DatasetError(f"{path}: a list names {unknown[0]}, which is not annotated; nor others")
    said = f"{path}: names of videos that are not annotated, left out ({len(unknown)})"
    return found, [Note(f"{said}: {', '.join(unknown[:NAMES_SHOWN])}", True)] if unknown else []


def _lines(path: Path) -> list[str] | None:
    try:
        lines = decode_text(path.read_bytes())[0].splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: expected one name a line: {error}") from error
    return [same_form(line.strip()) for line in lines if line.strip()]


def _clip(video: OwnVideo, class_names: tuple[str, ...]) -> AnnotatedClip:
    return AnnotatedClip(
        video=video.video,
        path=video.path,
        class_index=class_names.index(_commonest(video)) if video.boxes else 0,
        group=video.video,
        width=video.size[0],
        height=video.size[1],
        boxes_by_frame=tuple(_boxes_by_frame(video, class_names)),
        examined_frames=known_frames(video, class_names),
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
