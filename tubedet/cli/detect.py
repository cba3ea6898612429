"""`tubedet detect`: videos in, annotated videos and rows out."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from tubedet.cli import detect_options as options
from tubedet.cli import live_options
from tubedet.cli.batch_run import PIPE
from tubedet.cli.live import LiveCommand, refuse_for_files, refuse_for_streams
from tubedet.cli.video_command import VideoCommand, refuse_addresses, refuse_both
from tubedet.errors import OutputError, UsageError

if TYPE_CHECKING:
    from tubedet.batch.many_videos import NewWork
    from tubedet.run.earlier_rows import EarlierRows
    from tubedet.run.jobs import VideoJob
    from tubedet.run.plan import RunPlan
    from tubedet.run.work import Work


def detect(
    videos: options.Videos,
    *,
    output: options.OutputFolder = None,
    formats: options.Formats = None,
    name: options.Name = None,
    spreadsheet_safe: options.SpreadsheetSafe = False,
    overwrite: options.Overwrite = False,
    skip_existing: options.SkipExisting = False,
    resume: options.Resume = False,
    include: options.Include = None,
    exclude: options.Exclude = None,
    workers: options.Workers = None,
    ray: options.Ray = None,
    fail_fast: options.FailFast = False,
    strict: options.Strict = False,
    start: options.Start = None,
    end: options.End = None,
    duration: options.Duration = None,
    stride: options.Stride = 1,
    max_frames: options.MaxFrames = None,
    video_stream: options.VideoStream = None,
    weights: options.Weights = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    runtime: options.Runtime = "auto",
    compile: options.Compile = False,
    latency: options.LatencyOrDefault = None,
    batch_size: options.BatchSize = 1,
    flow_images: options.FlowImages = None,
    min_score: options.MinScore = None,
    classes: options.Classes = None,
    max_boxes: options.MaxBoxes = None,
    all_boxes: options.AllBoxes = False,
    nms_iou: options.NmsIou = 0.45,
    link: options.Link = True,
    no_smoothing: options.NoSmoothing = False,
    cuts: options.Cuts = False,
    live: live_options.Live = False,
    segment: live_options.Segment = None,
    show: live_options.Show = False,
    show_at: live_options.ShowAt = None,
    on_event: live_options.OnEvent = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Find actions in videos; write annotated videos and tables.

    clip.mp4 gives clip.tubedet.mp4 and clip.csv, and clip.meta.json says how they were made. Over a
    folder or several videos, a run does what is missing, changed or failed, and tubedet status says
    what became of each.
    """
    from tubedet.batch.earlier_results import Existing
    from tubedet.run.plan import RunPlan
    from tubedet.video.preprocess import require_flow_images
    from tubedet.video.time_range import TimeRange
    from tubedet.writers.formats import LINKED_FORMATS

    to_stdout = output == PIPE
    if live:
        refuse_for_streams(
            {
                "--overwrite": overwrite,
                "--skip-existing": skip_existing,
                "--resume": resume,
                "--include": bool(include),
                "--exclude": bool(exclude),
                "--workers": workers is not None,
                "--ray": ray is not None,
                "--fail-fast": fail_fast,
                "--start": start is not None,
                "--flow-images": flow_images is not None,
            }
        )
        refuse_both({"--no-link": not link, "--on-event": bool(on_event)})
        refuse_both({"--segment": segment is not None, "-o -": to_stdout})
    else:
        refuse_addresses(videos)
        refuse_for_files(
            {
                "--segment": segment is not None,
                "--show": show,
                "--show-at": show_at is not None,
                "--on-event": bool(on_event),
            }
        )
    refuse_both(
        {
            "--overwrite": overwrite,
            "--skip-existing": skip_existing,
            "--resume": resume,
            "-o -": to_stdout,
        }
    )
    refuse_both({"--workers": (workers or 1) > 1, "-o -": to_stdout})
    refuse_both({"--ray": ray is not None, "-o -": to_stdout})
    refuse_both({"--max-boxes": max_boxes is not None, "--all-boxes": all_boxes})
    chosen = _choose_formats(formats, to_stdout=to_stdout)
    if not link and (linked := next((name for name in chosen if name in LINKED_FORMATS), None)):
        raise UsageError(f"-f {linked} are those of linked boxes: leave --no-link out")
    span = TimeRange.from_options(start, end, duration)
    require_flow_images(flow_images)

    load = LoadDetection(
        weights=weights,
        precision=precision,
        compile=compile,
        latency=latency or ("none" if live else "half-second"),
        runtime=runtime,
        plan=RunPlan(
            span=span,
            stride=stride,
            max_frames=max_frames,
            video_stream=video_stream,
            batch_size=batch_size,
            flow_images=flow_images,
            link=link,
            smooth=not no_smoothing,
            find_cuts=cuts,
        ),
        min_score=min_score,
        classes=tuple(classes or ()),
        max_boxes=None if all_boxes else max_boxes or 1,
        nms_iou=nms_iou,
    )
    if live:
        LiveCommand(
            videos=videos,
            output=output,
            records=not to_stdout and bool(segment or formats or output),
            formats=chosen,
            segment=segment,
            name=name,
            show_at="" if show and show_at is None else show_at,
            on_event=on_event or (),
            rows_to=_stdout(),
            video_stream=video_stream,
            device=device,
            spreadsheet_safe=spreadsheet_safe,
            strict=strict,
            quiet=quiet,
        ).run(load)
        return
    VideoCommand(
        videos=videos,
        output=options.DEFAULT_FOLDER if output is None else output,
        kind="boxes",
        formats=chosen,
        existing=Existing(overwrite=overwrite, skip=skip_existing, resume=resume),
        name=name,
        video_stream=video_stream,
        device=device,
        include=include or (),
        exclude=exclude or (),
        workers=workers,
        ray=ray,
        fail_fast=fail_fast,
        rows_to=_stdout() if to_stdout else None,
        spreadsheet_safe=spreadsheet_safe,
        strict=strict,
        quiet=quiet,
        debug=debug,
    ).run(load)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadDetection:
    """Loads the network, from which it makes the work of each video; can be sent to a process.

    Attributes:
        weights, precision, compile, latency, runtime: see `load_detector`.
        plan: without its rule, which takes `min_score` from the weights if there is none.
        classes: of boxes that are reported; all if there is none.
        max_boxes, nms_iou: see `SelectionRule`.
    """

    weights: str | None
    precision: str
    compile: bool
    latency: str
    runtime: str
    plan: "RunPlan"
    min_score: float | None
    classes: Sequence[str]
    max_boxes: int | None
    nms_iou: float

    def __call__(self, device: str, told: Callable[[str], None]) -> "NewWork":
        """Load it onto a device; errors as `load_detector`, and UsageError for unknown classes."""
        from tubedet import pipeline
        from tubedet.run.detection import DetectionWork
        from tubedet.tubes.best_box import SelectionRule

        detector = pipeline.load_detector(
            self.weights,
            device=device,
            precision=self.precision,
            compile=self.compile,
            latency=self.latency,
            runtime=self.runtime,
            told=told,
        )
        rule = SelectionRule(
            min_score=detector.min_score if self.min_score is None else self.min_score,
            classes=_known_classes(self.classes, detector.class_names),
            max_boxes=self.max_boxes,
            nms_iou=self.nms_iou,
        )
        plan = replace(self.plan, rule=rule)

        def new_work(job: "VideoJob", earlier: "EarlierRows | None") -> "Work":
            images: Path | None = plan.flow_images / job.place if plan.flow_images else None
            return DetectionWork(detector, plan, flow_images=images, earlier=earlier)

        return new_work


def _stdout() -> TextIO:
    if sys.stdout is None or sys.stdout.closed:
        raise OutputError("-o -: expected a stdout to write to, found it closed; name a folder")
    return sys.stdout


def _choose_formats(given: Sequence[str] | None, *, to_stdout: bool) -> list[str]:
    from tubedet.writers.formats import choose_formats

    if not to_stdout:
        return choose_formats("boxes", given, ("mp4", "csv"))
    chosen = choose_formats("boxes", given, ("jsonl",))
    if other := [name for name in chosen if name != "jsonl"]:
        raise UsageError(f"-o - writes jsonl, not {other[0]}: name a folder instead of -")
    return chosen


def _known_classes(wanted: Sequence[str], class_names: Sequence[str]) -> frozenset[str] | None:
    if unknown := sorted(set(wanted) - set(class_names)):
        raise UsageError(f"--class {unknown[0]}: not one of {', '.join(class_names)}")
    return frozenset(wanted) if wanted else None
