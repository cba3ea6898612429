"""What is wrong with a data set, before anything is trained on it: everything, not the first thing.

Problems make the truth wrong: parts that cannot be loaded (malformed annotation, boxes far outside
their frame, unknown labels), videos that cannot be read, lengths and sizes other than annotated,
labels that look like another one's misspelling, and sources on both sides of a division into parts.
Notes are on what was put right or left out without harm: the loaders' own, and absent videos.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import combinations
from pathlib import Path

from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset
from tubedet.datasets.named_datasets import load_named_dataset
from tubedet.datasets.own_videos import class_list, video_facts
from tubedet.errors import DatasetError, EmptyPartError
from tubedet.notes import Note

PARTS = ("train", "validation", "test")
OWN_FORMATS = ("folder", "cvat", "ava", "coco")
LOOKS_ALIKE = 0.75  # difflib's ratio: that of "walk" and "wakl"; "walk" and "wave" have 0.5


@dataclass(frozen=True, slots=True)
class ClassCount:
    """How often one class occurs in one part."""

    part: str
    label: str
    clips: int
    boxes: int


@dataclass(frozen=True, slots=True)
class VideoChecked:
    """Progress: one more video has been opened; `done` of `total`."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, in a line."""

    text: str


def check_dataset(
    name_and_path: str, split: int = 1
) -> Iterator[VideoChecked | Problem | Note | ClassCount]:
    """Look at all parts of a data set; problems and notes come as they are found, the counts last.

    Parts that a data set does not have, or that are empty on purpose, count as problems only if
    no part can be loaded at all.

    Raises:
        UsageError: if there is no such data set.
    """
    parts: dict[str, AnnotatedDataset] = {}
    failures: dict[str, bool] = {}  # by what is wrong, whether it is only that a part is empty
    for part in PARTS:
        try:
            parts[part] = load_named_dataset(name_and_path, split, part)
        except DatasetError as error:
            failures |= dict.fromkeys(error.problems, isinstance(error, EmptyPartError))
    for text, is_empty in failures.items():
        if not (parts and is_empty):
            yield Problem(text)
    yield from _check_videos(parts)
    yield from dict.fromkeys(note for data in parts.values() for note in data.notes)
    for part, data in parts.items():
        for video in data.missing_videos:
            yield Note(f"{part}: {video} is absent, so left out", loss=True)
    yield from map(Problem, _leaks(parts))
    if any(data.name in OWN_FORMATS for data in parts.values()):
        yield from map(Problem, _alike(name_and_path, parts))
    for part, data in parts.items():
        yield from _counts(part, data)


def _check_videos(parts: dict[str, AnnotatedDataset]) -> Iterator[VideoChecked | Problem]:
    clips = [clip for data in parts.values() for clip in data.clips]
    for done, clip in enumerate(clips, start=1):
        yield from map(Problem, _problems_of(clip))
        yield VideoChecked(done, len(clips))


def _problems_of(clip: AnnotatedClip) -> Iterator[str]:
    try:
        facts = video_facts(clip.path)
    except DatasetError as error:
        yield f"{clip.video}: {error}"
        return
    if (facts.size, facts.frames) != ((clip.width, clip.height), clip.frames):
        yield (
            f"{clip.video}: annotated are {clip.frames} frames of {clip.width}x{clip.height}, "
            f"found {facts.frames} of {facts.size[0]}x{facts.size[1]}"
        )
    if not any(clip.boxes_by_frame) and not clip.background_frames:
        yield f"{clip.video}: no box in any frame"


def _leaks(parts: dict[str, AnnotatedDataset]) -> Iterator[str]:
    """Sources whose clips lie in more than one part."""
    groups = {part: {clip.group for clip in data.clips} for part, data in parts.items()}
    for (one, its), (other, others) in combinations(groups.items(), 2):
        for group in sorted(its & others):
            yield f"source {group} is in {one} and in {other}: what is measured was learned"


def _alike(name_and_path: str, parts: dict[str, AnnotatedDataset]) -> Iterator[str]:
    """Labels that nobody listed and that differ by little."""
    if class_list(Path(name_and_path.partition(":")[2])) is not None:
        return
    labels = dict.fromkeys(name for data in parts.values() for name in data.class_names)
    for one, other in combinations(labels, 2):
        if SequenceMatcher(None, one.lower(), other.lower()).ratio() >= LOOKS_ALIKE:
            yield f"labels {one!r} and {other!r}: a typing error? If not, list both in classes.txt"


def _counts(part: str, data: AnnotatedDataset) -> Iterator[Problem | ClassCount]:
    boxes = Counter(
        box.class_index for clip in data.clips for found in clip.boxes_by_frame for box in found
    )
    clips = Counter(index for clip in data.clips for index in clip.frames_by_class())
    for index, label in enumerate(data.class_names):
        yield ClassCount(part, label, clips[index], boxes[index])
        if part == "train" and not clips[index]:
            yield Problem(f"train: no clip of {label}")
