"""`tubedet flow`: videos in, their optical flow out."""

import re
from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Option

from tubedet.cli import detect_options as options
from tubedet.cli.batch_run import PIPE, refuse_empty_names, run_batch, stdin_as_file
from tubedet.cli.console import RunView
from tubedet.errors import UsageError

Formats = Annotated[
    list[str] | None,
    Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="mp4 (colour wheel), flo (Middlebury) or brox (JPEG for --flow-images); repeatable.",
        show_default="mp4",
        rich_help_panel=options.OUTPUT,
    ),
]
OutputFolder = Annotated[
    str,
    Option(
        "--output",
        "-o",
        metavar="FOLDER",
        help="Where the results go, made if absent.",
        rich_help_panel=options.OUTPUT,
    ),
]
Weights = Annotated[
    str | None,
    Option(
        metavar="NAME|FILE",
        help="A name from `tubedet weights list`, or a checkpoint file; its flow network is used.",
        show_default="the bundled one",
        rich_help_panel=options.NETWORK,
    ),
]
Size = Annotated[
    str | None,
    Option(
        metavar="SIDE|WIDTHxHEIGHT",
        help="What frames are stretched to for the network: 512, or 512x384; multiples of 64. "
        "The flow is in source pixels all the same.",
        show_default="the frames' own, up to the next multiples of 64",
        rich_help_panel=options.NETWORK,
    ),
]


def flow(
    videos: options.Videos,
    *,
    output: OutputFolder = "tubedet-output",
    formats: Formats = None,
    overwrite: options.Overwrite = False,
    weights: Weights = None,
    device: options.Device = "auto",
    size: Size = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Write the optical flow of videos: from every frame to the next, in pixels of the source.

    clip.mp4 gives clip.flow.mp4, clip/000000.flo and so on, clip/00001.jpg and so on.
    """
    refuse_empty_names((*videos, output))
    if output == PIPE:
        raise UsageError("-o - is for rows of `tubedet detect`: name a folder")
    from tubedet import flow_pipeline
    from tubedet.batch.many_flows import find_flow_jobs, process_flows, refuse_existing_flow
    from tubedet.batch.many_videos import check_readable

    chosen = list(formats or ["mp4"])
    seen = _parse_size(size) if size is not None else None
    with stdin_as_file(videos) as (inputs, spooled):
        jobs = find_flow_jobs(inputs, Path(output), chosen)
        if not overwrite:
            refuse_existing_flow(jobs, chosen)
        if len(jobs) == 1:  # a mistyped name should not wait for the network
            check_readable(jobs[0])
        estimator = flow_pipeline.load_flow_estimator(weights, device=device, size=seen)
        start_run = partial(process_flows, jobs, estimator, chosen)
        view = RunView(quiet=quiet, on_stderr=False, debug=debug, finds_boxes=False)
        run_batch(lambda stop: start_run(stop=stop), view, videos=len(jobs), spooled=spooled)


def _parse_size(text: str) -> tuple[int, int]:
    """Height and width of "512" or "512x384" (width before height, as people say it)."""
    from tubedet.models.presets import FLOW_MULTIPLE, MAX_SIDE

    sides = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", text, re.ASCII | re.IGNORECASE)
    width, height = (int(side or sides[1]) for side in sides.groups()) if sides else (0, 0)
    if not all(0 < side <= MAX_SIDE and side % FLOW_MULTIPLE == 0 for side in (width, height)):
        raise UsageError(
            f"--size {text}: expected a side or WIDTHxHEIGHT such as 512x384, multiples of "
            f"{FLOW_MULTIPLE} up to {MAX_SIDE}"
        )
    return height, width
