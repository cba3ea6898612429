"""`tubedet detect`: videos in, annotated videos and rows out."""

import shutil
import signal
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import TYPE_CHECKING

import typer

from tubedet.cli import detect_options as options
from tubedet.cli.console import RunView, complain
from tubedet.errors import (
    EXIT_BATCH_FAILED,
    DatasetError,
    OutputError,
    TubedetError,
    UsageError,
)

if TYPE_CHECKING:
    from tubedet.batch.many_videos import Event

PIPE = "-"


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
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Find actions in videos; write annotated videos and tables.

    clip.mp4 gives clip.tubedet.mp4 and clip.csv, and clip.meta.json says how they were made.
    """
    if "" in (*videos, output):  # Path("") is the working folder, and an unset $VAR is ""
        raise UsageError("an empty name was given: name a file or folder, or . for this folder")
    from tubedet import pipeline
    from tubedet.batch.many_videos import check_readable, find_jobs, process_videos, refuse_existing
    from tubedet.tubes.best_box import SelectionRule
    from tubedet.video.time_range import TimeRange
    from tubedet.video_run import RunPlan

    to_stdout = output == PIPE
    _refuse_both({"--overwrite": overwrite, "--skip-existing": skip_existing, "-o -": to_stdout})
    _refuse_both({"--max-boxes": max_boxes is not None, "--all-boxes": all_boxes})
    chosen = _choose_formats(formats, to_stdout=to_stdout)
    span = TimeRange.from_options(start, end, duration)
    if flow_images and not flow_images.is_dir():
        raise DatasetError(f"--flow-images {flow_images}: expected a folder, found none")
    with _stdin_as_file(videos) as (inputs, spooled):
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
        )
        with _stop_on_signal() as stop:
            events = process_videos(
                jobs,
                detector,
                plan,
                chosen,
                skip_existing=skip_existing,
                rows_to=sys.stdout if to_stdout else None,
                stop=stop,
            )
            view = RunView(quiet=quiet, on_stderr=to_stdout, debug=debug)
            failed = _follow(events, view, only_one=len(jobs) == 1, spooled=spooled)
            stopped = stop()
    if stopped:
        raise KeyboardInterrupt
    if failed:
        complain(f"{failed} of {len(jobs)} videos failed")
        raise typer.Exit(EXIT_BATCH_FAILED)


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


@contextmanager
def _stdin_as_file(videos: Sequence[str]) -> Iterator[tuple[list[Path], Path | None]]:
    """The inputs as paths; what comes through stdin is kept in a file of that name meanwhile.

    Containers are not read front to back, so a pipe cannot be decoded as it comes. The file is
    gone afterwards, SIGTERM or not; errors that pass call it stdin.
    """
    if PIPE not in videos:
        yield list(map(Path, videos)), None
        return
    if sys.stdin.isatty():
        raise UsageError("- reads a video from stdin, but stdin is a terminal: pipe a file into it")
    with _sigterm_as_interrupt(), TemporaryDirectory(prefix="tubedet-") as folder:
        spooled = Path(folder, "stdin")
        try:
            with spooled.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
        except OSError as error:
            raise OutputError(f"{spooled}: cannot keep stdin there ({error.strerror})") from error
        try:
            yield [spooled if name == PIPE else Path(name) for name in videos], spooled
        except TubedetError as error:
            raise _calling_it_stdin(error, spooled) from error


def _calling_it_stdin(error: Exception, spooled: Path | None) -> Exception:
    """The same error without the name of the file that nobody gave."""
    if spooled is None or not isinstance(error, TubedetError):
        return error
    message = str(error).replace(str(spooled), spooled.name)
    return type(error)(message).with_traceback(error.__traceback__)


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM clean up behind itself, as Ctrl-C does."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def _stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Whether to stop: SIGINT and SIGTERM ask for it after the current frame, a second one now.

    So no frame is half written, and Ctrl-C is not lost in a library's C code.
    """
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _follow(
    events: Generator["Event"], view: RunView, *, only_one: bool, spooled: Path | None
) -> int:
    """Show the events to the end; how many videos failed. The only one's error is raised."""
    from tubedet.batch.many_videos import VideoFailed

    failed = 0
    with view, closing(events):
        for event in events:
            shown = event
            if isinstance(event, VideoFailed):
                if only_one:
                    raise event.error
                shown = replace(event, error=_calling_it_stdin(event.error, spooled))
                failed += 1
            view.show(shown)
    view.summarise()
    return failed
