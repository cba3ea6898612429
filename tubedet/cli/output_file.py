"""The one file that a command writes, and whether it may replace what is there."""

from pathlib import Path
from typing import Annotated

from typer import Option

from tubedet.errors import OutputError

Output = Annotated[Path, Option("--output", "-o", help="The file to write.", show_default=False)]
Overwrite = Annotated[bool, Option("--overwrite", help="Replace an output that exists.")]


def refuse_existing(output: Path, overwrite: bool) -> None:
    """Raise OutputError if the file exists and may not be replaced; before any long work."""
    if output.exists() and not overwrite:
        raise OutputError(f"{output}: exists already; choose another name or give --overwrite")


def refuse_absent_folder(output: Path) -> None:
    """Raise OutputError if there is no folder to write the file into; before any long work."""
    if not output.parent.is_dir():
        raise OutputError(f"{output}: expected a folder to write to, found none; make it first")
