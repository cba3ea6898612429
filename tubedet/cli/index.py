"""`tubedet index`: a page that shows all results of a folder."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from tubedet.cli.console import say
from tubedet.cli.output_file import Overwrite

Folder = Annotated[Path, Argument(metavar="FOLDER", help="Results of tubedet detect.")]
Index = Annotated[
    Path | None,
    Option("--output", "-o", help="The file to write.", show_default="FOLDER/index.html"),
]
Debug = Annotated[bool, Option("--debug", help="Show where an error arose.")]


def index(
    folder: Folder, *, output: Index = None, overwrite: Overwrite = False, debug: Debug = False
) -> None:
    """Write a page that shows all results of a folder: pictures, actions, what failed.

    Pictures, and links to look at a video, are there for what was written with -f html.
    """
    from tubedet.batch.manifest import failures_in
    from tubedet.writers.html_index import write_index

    failures = failures_in(folder)
    path, videos = write_index(folder, path=output, failures=failures, overwrite=overwrite)
    say(f"{path}: {videos} {'video' if videos == 1 else 'videos'}")
