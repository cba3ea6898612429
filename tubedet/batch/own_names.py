"""Names that no two videos share, for the rows and for the files of their results.

They depend on the videos alone, not on what is written of them, so that all commands agree.
"""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from unicodedata import normalize

from tubedet.errors import UsageError

NAME_BYTES = 255  # of one name, in nearly all file systems
ENDING_BYTES = 40  # ".{stem}.partial-99.flow.meta.json.part" and some to spare
OUTPUT_MARKS = re.compile(
    r"(?<=.)(\.(meta|segments|tubedet|flow|view|coco|cvat|mot|ava|yolo|label-studio|partial(-\d+)?))+$"
)


@dataclass(frozen=True, slots=True)
class FoundVideo:
    """A video, and what its names are made of.

    Attributes:
        source: the file, the folder of its frames, or the pattern of their names.
        parts: names of the folders that lead to it from the root, and its own.
        depth: how many of the last `parts` lie below the folder that was given; at least 1.
        stem: its name without what tells its format.
        full_name: its name with it.
    """

    source: Path
    parts: tuple[str, ...]
    depth: int
    stem: str
    full_name: str

    @property
    def parents(self) -> tuple[str, ...]:
        """Folders between the one that was given and the video."""
        return self.parts[-self.depth : -1]


def own_stems(videos: Sequence[FoundVideo]) -> list[str]:
    """A stem for each video, such that no two in one folder of results get in each other's way.

    The first of these that is free: `0001`; `0001.mp4`; with folders that lead to it, `cam1-0001`,
    `cam1-0001.mp4` and so on; a hash where only case or Unicode's forms differ. File systems may
    not tell these apart, and `a.meta` would write the `a.meta.json` of `a`. They still are as they
    were before `shortened`.
    """
    folders = [same_name("/".join(video.parents)) for video in videos]

    def place_of(i: int, stem: str) -> Hashable:
        return folders[i], same_name(OUTPUT_MARKS.sub("", shortened(stem)))

    return _apart([list(_stems(video)) for video in videos], place_of)


def own_video_names(videos: Sequence[FoundVideo]) -> list[str]:
    """What rows call each video: its path below the folder given, longer where two are the same.

    Text that any file can hold: "/" between folders; bytes that are not UTF-8 are replaced, or
    written as \\xe9 where that tells two apart.
    """
    return _apart([list(_video_names(video)) for video in videos], lambda _, name: name)


def checked_stem(name: str) -> str:
    """The stem that --name gives.

    Raises:
        UsageError: if it is not the first part of the name of a file.
    """
    separators = {"/", os.sep, os.altsep or os.sep, "\0"}
    if not name.strip() or name in {".", ".."} or not separators.isdisjoint(name):
        raise UsageError(
            f"--name {name!r}: expected the first part of file names such as clip; -o names folders"
        )
    return name


def shortened(stem: str, *, added_bytes: int = 0) -> str:
    """A stem that leaves room for every output's ending, with a hash of the whole if it is cut.

    Args:
        stem: the whole.
        added_bytes: of what comes between it and the ending.
    """
    room = NAME_BYTES - ENDING_BYTES - added_bytes
    if len(os.fsencode(stem)) <= room:
        return stem
    ending = f"-{_hash(stem)}"
    kept = stem
    while len(os.fsencode(kept + ending)) > room:
        kept = kept[:-1]
    return kept + ending


def same_name(name: str) -> str:
    """Equal for names that some file system takes for one: without case and Unicode's forms."""
    return normalize("NFC", normalize("NFC", name).casefold())


def _stems(video: FoundVideo) -> Iterator[str]:
    yield video.stem
    yield video.full_name
    for start in range(len(video.parts) - 2, -1, -1):
        yield "-".join((*video.parts[start:-1], video.stem))
        yield "-".join((*video.parts[start:-1], video.full_name))
    yield f"{video.full_name}-{_hash('/'.join(video.parts) + video.full_name)}"


def _video_names(video: FoundVideo) -> Iterator[str]:
    below = video.parts[-video.depth :]
    yield _as_text("/".join(below), "replace")
    yield _as_text("/".join((*below[:-1], video.full_name)), "backslashreplace")
    for start in range(len(video.parts) - video.depth - 1, -1, -1):
        yield _as_text("/".join(video.parts[start:]), "backslashreplace")


def _apart(
    candidates: Sequence[Sequence[str]], place_of: Callable[[int, str], Hashable]
) -> list[str]:
    """The first candidate of each that has a place of its own, as far as there is one.

    Where several share a place, those move on that have moved least.
    """
    chosen = [0] * len(candidates)
    while True:
        sharing = defaultdict[Hashable, list[int]](list)
        for i, names in enumerate(candidates):
            sharing[place_of(i, names[chosen[i]])].append(i)
        moved = False
        for group in sharing.values():
            able = [i for i in group if len(group) > 1 and chosen[i] + 1 < len(candidates[i])]
            fewest = min((chosen[i] for i in able), default=0)
            for i in able:
                if chosen[i] == fewest:
                    chosen[i] += 1
                    moved = True
        if not moved:
            return [names[choice] for names, choice in zip(candidates, chosen, strict=True)]


def _as_text(name: str, errors: str) -> str:
    return os.fsencode(name).decode("utf-8", errors)


def _hash(name: str) -> str:
    return sha256(os.fsencode(name)).hexdigest()[:8]
