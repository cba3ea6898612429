"""One run over one video: what is asked of it, the files it fills, and what became of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from hashlib import file_digest
from pathlib import Path
from time import perf_counter
from typing import TextIO

from tubedet import __version__
from tubedet.detections import Detection, FrameDetections
from tubedet.errors import UsageError
from tubedet.runtime.detector import Detector
from tubedet.tubes.best_box import SelectionRule
from tubedet.video.frame import VideoFrame, VideoInfo
from tubedet.video.reader import VideoReader
from tubedet.video.time_range import TimePoint, TimeRange
from tubedet.writers.jsonl import JsonlStream
from tubedet.writers.output_set import OutputSet
from tubedet.writers.output_target import OutputTarget
from tubedet.writers.run_meta import RunMeta


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """Which frames of a video are detected, and how boxes are picked.

    Attributes:
        span: the part of the video that is processed.
        stride: every so many frames one is detected, counted from the first of the span.
        max_frames: at most so many frames are detected.
        rule: None for the paper's one box a frame, above the weights' own threshold.
        batch_size: pairs that go through the network together; 1 is online, as in the paper.
        flow_images: folder with `<video stem>/<frame:05d>.jpg`, for the `brox` preset alone.
        link: boxes are linked into tubes, whose class scores are smoothed (`tubes.linking`).

    Raises:
        UsageError: if a number is below 1.
    """

    span: TimeRange = field(default_factory=TimeRange)
    stride: int = 1
    max_frames: int | None = None
    rule: SelectionRule | None = None
    batch_size: int = 1
    flow_images: Path | None = None
    link: bool = False

    def __post_init__(self) -> None:
        for name in ("stride", "max_frames", "batch_size"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UsageError(f"{name.replace('_', ' ')}: expected 1 or more, found {value}")

    def rule_for(self, detector: Detector) -> SelectionRule:
        """The rule, or the paper's for this detector."""
        return self.rule or SelectionRule(min_score=detector.min_score)


@dataclass(frozen=True, slots=True)
class VideoJob:
    """A video, what its rows call it (`video`), and where its outputs go: `folder / stem.*`."""

    source: Path
    video: str
    folder: Path
    stem: str


@dataclass(frozen=True, slots=True)
class FrameDone:
    """So many frames are written; `total` follows the container's word, and may be wrong."""

    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class VideoDone:
    """What became of a video.

    `frames` were written in `seconds`, `detected` of them went through the network, `found` of
    these have a box; None where none was looked for. `partial` outputs come from a run that was
    stopped; `notes` are for people.
    """

    job: VideoJob
    outputs: tuple[Path, ...]
    partial: bool
    frames: int
    detected: int
    found: int | None
    seconds: float
    notes: tuple[str, ...]


class VideoRun:
    """The outputs of a video while they are filled, and the tally of what went into them.

    Attributes:
        outputs: all files of the run, or the stream.
        expected_frames: how many will be written, as far as the container can be believed.
        frames: written so far; `detected` of them, `found` of these with a box.
        latest: what the latest detected frame shows.
        complete: to be set to False before `finish`, if the run ends early.
    """

    def __init__(
        self, job: VideoJob, reader: VideoReader, detector: Detector, plan: RunPlan
    ) -> None:
        self.outputs = OutputSet()
        self.expected_frames = expected_frames(reader.info, plan)
        self.frames = self.detected = self.found = 0
        self.latest: tuple[Detection, ...] = ()
        self.complete = True
        self._job, self._reader, self._detector, self._plan = job, reader, detector, plan
        self._first_frame: int | None = None
        self._last_s: float | None = None
        self._began = perf_counter()

    def open_outputs(self, formats: Sequence[str], rows_to: TextIO | None) -> None:
        """One file a format and the meta's, or the stream alone.

        Raises:
            UsageError: if there is no such format.
            OutputError: if the folder cannot be written.
        """
        if rows_to:
            self.outputs.writers.append(JsonlStream(self._job.video, rows_to))
            return
        span = self._plan.span
        target = OutputTarget(
            folder=self._job.folder,
            stem=self._job.stem,
            source=self._job.source,
            video=self._job.video,
            info=self._reader.info,
            run_meta=self._meta,
            cut_start=span.start is not None,
            cut_end=span.end is not None or self._plan.max_frames is not None,
        )
        self.outputs.open(formats, target)

    def count(self, frame: VideoFrame, found: FrameDetections | None) -> None:
        """Keep the tally of a frame; `found` is None where the stride passes over it."""
        self.frames += 1
        self._last_s = frame.time_s
        if found is None:
            return
        self._first_frame = frame.frame if self._first_frame is None else self._first_frame
        self.detected += 1
        self.found += bool(found.detections)
        self.latest = found.detections

    def finish(self) -> None:
        """Complete the files; a run that was stopped before its first frame leaves none."""
        if self.frames:
            self.outputs.finish(partial=not self.complete)
        else:
            self.outputs.discard()

    def report(self) -> VideoDone:
        """What became of the video."""
        return VideoDone(
            job=self._job,
            outputs=tuple(self.outputs.outputs),
            partial=not self.complete,
            frames=self.frames,
            detected=self.detected,
            found=self.found,
            seconds=perf_counter() - self._began,
            notes=(*self._notes(), *self.outputs.warnings),
        )

    def _notes(self) -> Iterator[str]:
        to_the_end = self.complete and self._plan.span.end is None and not self._plan.max_frames
        repaired = self.outputs.repaired_timestamps
        return notes_on_source(self._reader, repaired, self._last_s, to_the_end=to_the_end)

    @cached_property
    def _source_sha256(self) -> str:
        with self._job.source.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()

    def _meta(self) -> RunMeta:
        info, span = self._reader.info, self._plan.span
        return RunMeta(
            video=self._job.video,
            width=info.width,
            height=info.height,
            rotation=info.rotation,
            time_base=_ratio(info.time_base),
            fps=_ratio(info.fps),
            frames_in_container=info.frames,
            decoded_frames=self._reader.decoded_frames,
            start=_as_option(span.start),
            end=_as_option(span.end),
            first_frame=self._first_frame,
            stride=self._plan.stride,
            processed_frames=self.detected,
            skipped_frames=self._reader.skipped_frames,
            repaired_timestamps=self.outputs.repaired_timestamps,
            complete=self.complete,
            source_sha256=self._source_sha256,
            weights_sha256=self._detector.weights_sha256,
            settings=self._settings(),
            tubedet_version=__version__,
        )

    def _settings(self) -> dict[str, object]:
        plan, rule = self._plan, self._plan.rule_for(self._detector)
        return {
            "detector": self._detector.description,
            "input_size": self._detector.input_size,
            "batch_size": plan.batch_size,
            "max_frames": plan.max_frames,
            "flow_images": str(plan.flow_images) if plan.flow_images else None,
            "min_score": rule.min_score,
            "classes": sorted(rule.classes) if rule.classes is not None else None,
            "max_boxes": rule.max_boxes,
            "nms_iou": rule.nms_iou,
            "link": plan.link,
        }


def notes_on_source(
    reader: VideoReader, repaired: int, last_s: float | None, *, to_the_end: bool
) -> Iterator[str]:
    """What is odd about a video that was read, one line each.

    Args:
        reader: read as far as it was asked for.
        repaired: timestamps that had to be made up.
        last_s: time of the last frame, if it is known.
        to_the_end: nothing but the file's end ended the reading.
    """
    if skipped := reader.skipped_frames:
        yield f"damaged packets that could not be decoded: {skipped}"
    if repaired:
        yield f"timestamps missing or not increasing, made up in the MP4: {repaired}"
    info, decoded = reader.info, reader.decoded_frames
    if to_the_end and info.seems_cut_off(decoded + skipped, last_s):
        promise = f"{'' if info.frames else 'about '}{info.promised_frames} frames"
        yield f"the container promises {promise}, {decoded} could be read: the file may be cut off"


def expected_frames(info: VideoInfo, plan: RunPlan) -> int | None:
    """How many frames a run will write, None if the container says nothing."""
    length = info.promised_frames
    if length is None:
        return None
    start, end = (_to_frame(point, info.fps) for point in (plan.span.start, plan.span.end))
    frames = min(length, length if end is None else end) - (start or 0)
    if plan.max_frames is not None:
        frames = min(frames, plan.max_frames * plan.stride)
    return max(frames, 1)


def _to_frame(point: TimePoint | None, fps: Fraction) -> int | None:
    return round(point * fps) if isinstance(point, Fraction) else point


def _ratio(value: Fraction) -> str:
    return f"{value.numerator}/{value.denominator}"


def _as_option(point: TimePoint | None) -> str | None:
    """A moment as `--start` reads it, exactly where it has so few decimals."""
    if point is None or isinstance(point, int):
        return None if point is None else f"{point}f"
    return f"{float(point):.10g}"
