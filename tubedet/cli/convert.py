"""`tubedet convert`: rows into other formats, and back."""

from pathlib import Path
from typing import Annotated

import typer

from tubedet.cli.console import complain, explain, say
from tubedet.errors import EXIT_BATCH_FAILED, TubedetError

RowFiles = Annotated[
    list[Path],
    typer.Argument(
        metavar="ROWS",
        help="Files of rows: .csv, .jsonl, .json, .parquet, .coco.json, .cvat.xml, or folders "
        ".mot, .ava, .yolo; each of one video.",
        show_default=False,
    ),
]
Formats = Annotated[
    list[str],
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="As of `tubedet detect`, without mp4 and html; repeatable, or with commas.",
        show_default=False,
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder of the results.", show_default="beside the rows"),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="FORMAT", help="What ROWS are.", show_default="what their names say"
    ),
]
Video = Annotated[
    Path | None,
    typer.Option(
        help="Their video, where no STEM.meta.json beside ROWS says its size and rate; all its "
        "frames then count as looked at.",
        show_default=False,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing results.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")]


def convert(
    rows: RowFiles,
    *,
    formats: Formats,
    output: Folder = None,
    source_format: From = None,
    video: Video = None,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Write rows that were found, corrected or annotated in other formats.

    clip.csv gives clip.cvat.xml, and clip.cvat.xml gives clip.csv again.
    """
    from tubedet.conversion.convert import convert_rows, refuse_others
    from tubedet.writers.formats import choose_formats

    chosen = choose_formats("boxes", formats, ())
    refuse_others(chosen, source_format)
    failed = 0
    for path in rows:
        try:
            written = convert_rows(
                path,
                chosen,
                folder=output,
                source_format=source_format,
                video=video,
                overwrite=overwrite,
            )
        except TubedetError as error:
            if len(rows) == 1:
                raise
            failed += 1
            complain(explain(error, offer_debug=False))
        else:
            for each in written:
                say(str(each))
    if failed:
        complain(f"{failed} of {len(rows)} files failed")
        raise typer.Exit(EXIT_BATCH_FAILED)
