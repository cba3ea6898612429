"""Which of the videos below a folder are taken."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import translate
from pathlib import PurePath


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of the videos below a folder are taken, by patterns.

    A pattern is compared with the path below the folder given, with "/" between names, with the
    paths of the folders that lead there, and with each of these names alone: `*` stands for
    anything, "/" too, `?` for one character, `[ab]` for one of these. Case doesn't count. A video
    is taken if one of `include` fits, or there is none, and none of `exclude` does.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def takes(self, path: PurePath) -> bool:
        """Whether a video is taken; `path` is below the folder given."""
        return not self.excludes(path) and (not self.include or _fits(path, self.include))

    def excludes(self, path: PurePath) -> bool:
        """Whether `exclude` fits a video or folder, and with that all that is below it."""
        return _fits(path, self.exclude)


def _fits(path: PurePath, patterns: Iterable[str]) -> bool:
    """Whether a pattern fits a path, or a folder above it."""
    texts = {each for n, name in enumerate(path.parts, 1)
             for each in ("/".join(path.parts[:n]), name)}  # fmt: skip
    return any(
        re.match(translate(pattern.strip("/")), text, re.IGNORECASE)
        for pattern in patterns
        for text in texts
    )


ALL_WANTED = Wanted()
