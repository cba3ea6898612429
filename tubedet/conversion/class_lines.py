"""Names of classes, one a line, as `writers.from_rows.as_line` writes them."""

from pathlib import Path

from tubedet.writers.from_rows import from_line


def class_names(path: Path) -> list[str] | None:
    """The names in a file in order; None if it is not there."""
    try:
        lines = path.read_text("utf-8").split("\n")
    except FileNotFoundError:
        return None
    return [from_line(line) for line in lines if line]
