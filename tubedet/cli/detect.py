"""`tubedet detect`: videos in, annotated videos and rows out."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tubedet.cli import detect_options as options
from tubedet.cli.batch_run import PIPE, refuse_empty_names, run_batch, stdin_as_file
from tubedet.cli.console import RunView
from tubedet.errors import UsageError


def detect(
    videos: options.Videos,
    *,
    output: options.OutputFolder = "tubedet-output",
    formats: options.Formats = None,
    overwrite: options.Overwrite = False,
    skip_existing: options.SkipExisting = False,
    start: options.Start = None,
    end: options.End = None,
    duration: options.Duration = None,
    stride: options.Stride = 1,
    max_frames: options.MaxFrames = None,
    weights: options.Weights = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    batch_size: options.BatchSize = 1,
    flow_images: options.FlowImages = None,
    min_score: options.MinScore = None,
    classes: options.Classes = None,
    max_boxes: options.MaxBoxes = None,
    all_boxes: options.AllBoxes = False,
    nms_iou: options.NmsIou = 0.45,
    link: options.Link = True,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Find actions in videos; write annotated videos and tables.

    clip.mp4 gives clip.tubedet.mp4 and clip.csv, and clip.meta.json says how they were made.
    """
    refuse_empty_names((*videos, output))
    from tubedet import pipeline
    from tubedet.batch.many_videos import check_readable, find_jobs, process_videos, refuse_existing
    from tubedet.tubes.best_box import SelectionRule
    from tubedet.video.preprocess import require_flow_images
    from tubedet.video.time_range import TimeRange
    from tubedet.video_run import RunPlan

    to_stdout = output == PIPE
    _refuse_both({"--overwrite": overwrite, "--skip-existing": skip_existing, "-o -": to_stdout})
    _refuse_both({"--max-boxes": max_boxes is not None, "--all-boxes": all_boxes})
    chosen = _choose_formats(formats, to_stdout=to_stdout)
    if "segments" in chosen and not link:
        raise UsageError("-f segments are those of linked boxes: leave --no-link out")
    span = TimeRange.from_options(start, end, duration)
    require_flow_images(flow_images)
    with stdin_as_file(videos) as (inputs, spooled):
        jobs = find_jobs(inputs, Path(output), None if to_stdout else chosen)
        if not (overwrite or skip_existing or to_stdout):
            refuse_existing(jobs, chosen)
        if len(jobs) == 1:  # a mistyped name should not wait for the network
            check_readable(jobs[0])
        detector = pipeline.load_detector(weights, device=device, precision=precision)
        plan = RunPlan(
            span=span,
            stride=stride,
            max_frames=max_frames,
            rule=SelectionRule(
                min_score=detector.min_score if min_score is None else min_score,
                classes=_known_classes(classes, detector.class_names),
                max_boxes=None if all_boxes else max_boxes or 1,
                nms_iou=nms_iou,
            ),
            batch_size=batch_size,
            flow_images=flow_images,
            link=link,
        )
        start_run = partial(
            process_videos,
            jobs,
            detector,
            plan,
            chosen,
            skip_existing=skip_existing,
            rows_to=sys.stdout if to_stdout else None,
        )
        view = RunView(quiet=quiet, on_stderr=to_stdout, debug=debug)
        run_batch(lambda stop: start_run(stop=stop), view, videos=len(jobs), spooled=spooled)


def _refuse_both(given: dict[str, bool]) -> None:
    names = [name for name, is_given in given.items() if is_given]
    if len(names) > 1:
        raise UsageError(f"{' and '.join(names)} contradict each other: leave one out")


def _choose_formats(given: Sequence[str] | None, *, to_stdout: bool) -> list[str]:
    if not to_stdout:
        return list(given or ("mp4", "csv"))
    if other := [name for name in given or () if name != "jsonl"]:
        raise UsageError(f"-o - writes jsonl, not {other[0]}: name a folder instead of -")
    return ["jsonl"]


def _known_classes(
    wanted: Sequence[str] | None, class_names: Sequence[str]
) -> frozenset[str] | None:
    if unknown := sorted(set(wanted or ()) - set(class_names)):
        raise UsageError(f"--class {unknown[0]}: not one of {', '.join(class_names)}")
    return frozenset(wanted) if wanted else None
