"""`tubedet sheet`: what was found in a video, as pictures."""

from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import Annotated

from typer import Argument, Option

from tubedet.cli.console import mention, say
from tubedet.cli.output_file import Overwrite, refuse_existing
from tubedet.cli.video_command import refuse_addresses
from tubedet.errors import OutputError, UsageError

ROW_SUFFIXES = (".csv", ".jsonl", ".json")
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")
DEFAULT_FOLDER = Path("tubedet-output")  # where `tubedet detect` writes


def sheet(
    video: Annotated[str, Argument(metavar="VIDEO", help="The video that was detected in.")],
    *,
    rows: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            help="Rows of this video (.csv, .jsonl, .json).",
            show_default="STEM.csv and so on beside the video or in tubedet-output",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The sheet, a .jpg or .png.",
            show_default="STEM.sheet.jpg beside the rows",
        ),
    ] = None,
    crops: Annotated[
        Path | None,
        Option(metavar="FOLDER", help="Cut every box out into this new folder, too."),
    ] = None,
    plot: Annotated[
        Path | None,
        Option(metavar="PNG", help="Draw score and motion over time, too; needs the extra train."),
    ] = None,
    pictures: Annotated[int, Option(min=1, max=50, metavar="N", help="Pictures of a strip.")] = 8,
    tubes: Annotated[
        int, Option(min=1, max=200, metavar="N", help="Show the N tubes with most boxes.")
    ] = 24,
    overwrite: Overwrite = False,
    debug: Annotated[bool, Option("--debug", help="Show where an error arose.")] = False,
) -> None:
    """Draw a contact sheet: one strip of pictures a tube, with action, score and time.

    After `tubedet detect clip.mp4`: `tubedet sheet clip.mp4` draws
    tubedet-output/clip.sheet.jpg.
    """
    refuse_addresses([video])
    path_of_video = Path(video)
    rows_path = rows or _rows_of(path_of_video)
    target = output or rows_path.with_name(f"{rows_path.stem}.sheet.jpg")
    for path, suffixes in ((target, PICTURE_SUFFIXES), (plot, (".png",))):
        if path is not None and path.suffix.lower() not in suffixes:
            raise UsageError(f"{path}: expected a name that ends in {' or '.join(suffixes)}")
    from tubedet.evaluation.plots import plot_over_time, require_matplotlib
    from tubedet.evaluation.tube_sheet import draw_sheet, find_tubes, longest, score_and_motion
    from tubedet.render.contact_sheet import write_picture

    for path in (target, plot):
        if path is not None:
            refuse_existing(path, overwrite)
    if plot is not None:
        require_matplotlib()
    found = find_tubes(rows_path)
    shown = longest(found, tubes)
    pending = _new_folder(crops)
    try:
        picture = draw_sheet(path_of_video, rows_path, shown, pictures, pending)
        write_picture(target, picture)
        if plot is not None:
            plot_over_time(score_and_motion(rows_path, shown), plot)
        if pending is not None and crops is not None:
            pending.rename(crops)
    finally:
        if pending is not None:
            with suppress(OSError):
                rmtree(pending)
    if left_out := len(found) - len(shown):
        mention(f"tubes with fewer boxes are not shown: {left_out}; --tubes shows more")
    for path in (target, plot, crops):
        if path is not None:
            say(str(path))


def _rows_of(video: Path) -> Path:
    """The rows of a video where `tubedet detect` usually writes; corrected ones before others."""
    folders = (video.parent, DEFAULT_FOLDER)
    stem = video.stem.removesuffix(".tubedet").removesuffix(".view")  # of a stream they are all
    for folder in folders:
        for suffix in (".corrected.csv", *ROW_SUFFIXES):
            if (path := folder / f"{stem}{suffix}").is_file():
                return path
    raise UsageError(
        f"{video}: expected {stem}.csv, .jsonl or .json beside it or in {DEFAULT_FOLDER}, "
        f"found none; run tubedet detect first, or name the rows with --rows"
    )


def _new_folder(crops: Path | None) -> Path | None:
    """A hidden folder beside the one that is asked for, which takes its name when it is whole."""
    if crops is None:
        return None
    if crops.exists():
        raise OutputError(f"{crops}: exists already; choose another folder for the crops")
    pending = crops.with_name(f".{crops.name}.part")
    try:
        rmtree(pending, ignore_errors=True)  # of a run that was killed
        pending.mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"{crops}: expected a folder to write to: {error.strerror}") from error
    return pending
