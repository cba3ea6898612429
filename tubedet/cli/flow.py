"""`tubedet flow`: videos in, their optical flow out."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from typer import Option

from tubedet.cli import detect_options as options
from tubedet.cli.batch_run import PIPE
from tubedet.cli.video_command import VideoCommand, refuse_addresses, refuse_both
from tubedet.errors import UsageError

if TYPE_CHECKING:
    from tubedet.batch.many_videos import NewWork
    from tubedet.run.plan import FramePlan

Formats = Annotated[
    list[str] | None,
    Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="mp4 (colour wheel), flo (Middlebury, 8 bytes a pixel and frame) or brox (JPEG for "
        "--flow-images); repeatable, or with commas.",
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
        help="Where the results go, made if absent, or an address such as s3://bucket/results.",
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
Stride = Annotated[
    int,
    Option(
        min=1,
        metavar="N",
        help="Flow of every N-th frame; the MP4 keeps them all and shows the last flow.",
        rich_help_panel=options.RANGE,
    ),
]


def flow(
    videos: options.Videos,
    *,
    output: OutputFolder = "tubedet-output",
    formats: Formats = None,
    name: options.Name = None,
    overwrite: options.Overwrite = False,
    skip_existing: options.SkipExisting = False,
    include: options.Include = None,
    exclude: options.Exclude = None,
    workers: options.Workers = None,
    ray: options.Ray = None,
    fail_fast: options.FailFast = False,
    strict: options.Strict = False,
    start: options.Start = None,
    end: options.End = None,
    duration: options.Duration = None,
    stride: Stride = 1,
    max_frames: options.MaxFrames = None,
    video_stream: options.VideoStream = None,
    weights: Weights = None,
    device: options.Device = "auto",
    size: Size = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Write the optical flow of videos: from every frame to the next, in pixels of the source.

    clip.mp4 gives clip.flow.mp4, clip/000000.flo and so on, clip/00001.jpg and so on;
    clip.flow.meta.json says how they were made.
    """
    if output == PIPE:
        raise UsageError("-o - is for rows of `tubedet detect`: name a folder")
    refuse_addresses(videos)
    refuse_both({"--overwrite": overwrite, "--skip-existing": skip_existing})
    from tubedet.batch.earlier_results import Existing
    from tubedet.run.plan import FramePlan
    from tubedet.video.time_range import TimeRange
    from tubedet.writers.formats import choose_formats

    plan = FramePlan(
        span=TimeRange.from_options(start, end, duration),
        stride=stride,
        max_frames=max_frames,
        video_stream=video_stream,
    )
    seen = _parse_size(size) if size is not None else None
    VideoCommand(
        videos=videos,
        output=output,
        kind="flow",
        formats=choose_formats("flow", formats, ("mp4",)),
        existing=Existing(overwrite=overwrite, skip=skip_existing),
        name=name,
        video_stream=video_stream,
        device=device,
        include=include or (),
        exclude=exclude or (),
        workers=workers,
        ray=ray,
        fail_fast=fail_fast,
        strict=strict,
        quiet=quiet,
        debug=debug,
    ).run(LoadFlow(weights, seen, plan))


@dataclass(frozen=True, slots=True)
class LoadFlow:
    """Loads the flow network, from which it makes the work of each video; see `LoadDetection`."""

    weights: str | None
    size: tuple[int, int] | None
    plan: "FramePlan"

    def __call__(self, device: str, told: Callable[[str], None]) -> "NewWork":
        """Load it onto a device; errors as `load_flow_estimator`."""
        from tubedet import pipeline
        from tubedet.run.flow import FlowWork

        estimator = pipeline.load_flow_estimator(self.weights, device=device, size=self.size)
        return lambda job, earlier: FlowWork(estimator, self.plan)


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
