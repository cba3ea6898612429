"""What people should know about a result, one line each."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Note:
    """One remark on a video or on a file that was made of it.

    `text` is one line for people. `loss` says that something of the source is missing from the
    results, or that they rest on a guess: what `--strict` does not accept.
    """

    text: str
    loss: bool = False
