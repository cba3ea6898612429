"""The exceptions a user can meet, and the exit code of each.

    TubedetError            1  (a bug, when it is raised bare)
    ├── UsageError          2
    ├── VideoError          3
    ├── WeightsError        4
    ├── DatasetError        5
    │   └── EmptyPartError
    └── OutputError         6

A message is one line: which file, what was expected, what was found, what to do.
"""

from collections.abc import Sequence
from typing import ClassVar

EXIT_BATCH_FAILED = 7  # some inputs of several failed; the summary says which


class TubedetError(Exception):
    """Root of everything this package raises on purpose."""

    exit_code: ClassVar[int] = 1


def in_one_line(error: BaseException) -> str:
    """What an error says; what we did not foresee is called by its type."""
    if isinstance(error, TubedetError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error}"


class UsageError(TubedetError):
    """Options that contradict each other, or a value that cannot be read."""

    exit_code = 2


class VideoError(TubedetError):
    """A video that is absent, is not a video, or holds no decodable frame."""

    exit_code = 3


class WeightsError(TubedetError):
    """A checkpoint that is absent, damaged, foreign, or does not fit the network."""

    exit_code = 4


class DatasetError(TubedetError):
    """Training or evaluation data that is absent, incomplete or malformed.

    `problems` are all that were found, in one line each; the message names the first.
    """

    exit_code = 5

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems) or (message,)


class EmptyPartError(DatasetError):
    """A part that a data set does not have, or of which nothing is there."""


class OutputError(TubedetError):
    """An output that exists already or cannot be written."""

    exit_code = 6
