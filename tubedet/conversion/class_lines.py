"""Names of classes, one a line, as `writers.from_rows.as_line` writes them."""

from collections.abc import Sequence
from pathlib import Path

from tubedet.writers.from_rows import from_line


def class_names(path: Path) -> list[str] | None:
    """The names in a file in order; None if it is not there."""
    try:
        lines = path.read_text("utf-8").split("\n")
    except FileNotFoundError:
        return None
    return [from_line(line) for line in lines if line]


def class_at(number: int, labels: Sequence[str] | None) -> str:
    """The name of a class counted from 1; its number where there are no names.

    Raises:
        LookupError: if there is none of that number.
    """
    if labels is None:
        return str(number)
    if not 1 <= number <= len(labels):
        raise LookupError(f"class {number} of {len(labels)}")
    return labels[number - 1]
