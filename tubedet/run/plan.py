"""Which frames of a video are processed, and how boxes are picked."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

from tubedet.errors import UsageError
from tubedet.tubes.best_box import SelectionRule
from tubedet.video.frame import VideoInfo
from tubedet.video.frame_pairs import FramePair
from tubedet.video.time_range import FrameNumber, Moment, TimeRange


@dataclass(frozen=True, slots=True, kw_only=True)
class FramePlan:
    """Which frames of a video are processed.

    Attributes:
        span: the part of the video.
        stride: every so many frames one is processed, counted from the first of the span.
        max_frames: at most so many frames are processed.
        video_stream: the number of the video stream, from 1; None for the one that players show.

    Raises:
        UsageError: if a number is below 1.
    """

    span: TimeRange = field(default_factory=TimeRange)
    stride: int = 1
    max_frames: int | None = None
    video_stream: int | None = None

    def __post_init__(self) -> None:
        for name in ("stride", "max_frames", "video_stream", "batch_size"):
            if (value := getattr(self, name, None)) is not None and value < 1:
                raise UsageError(f"{name.replace('_', ' ')}: expected 1 or more, found {value}")

    @property
    def cut_end(self) -> bool:
        """Whether the run may end before the video."""
        return self.span.end is not None or self.max_frames is not None

    def expected_frames(self, info: VideoInfo) -> int | None:
        """How many frames a run will write, None if the container says nothing."""
        length = info.promised_frames
        if length is None:
            return None
        start, end = (_frame_at(point, info) for point in (self.span.start, self.span.end))
        frames = min(length, length if end is None else end) - (start or 0)
        if self.max_frames is not None:
            frames = min(frames, self.max_frames * self.stride)
        return max(frames, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan(FramePlan):
    """Which frames are detected, and how boxes are picked.

    Attributes:
        rule: None for the paper's one box a frame, above the weights' own threshold.
        batch_size: pairs that go through the network together; 1 is online, as in the paper.
        flow_images: folder with `<place of the video>/<frame:05d>.jpg`, for the `brox` preset.
        link: boxes are linked into tubes, whose class scores are smoothed (`tubes.linking`).
        smooth: boxes are steadied over time (`tubes.smoothing`), where the detector has a delay.
        find_cuts: cuts are looked for also where the detector sees pairs alone.
    """

    rule: SelectionRule | None = None
    batch_size: int = 1
    flow_images: Path | None = None
    link: bool = True
    smooth: bool = True
    find_cuts: bool = False


def on_stride(pairs: Iterable[FramePair], plan: FramePlan) -> Iterator[tuple[FramePair, bool]]:
    """The pairs up to `max_frames`, each with whether the stride falls on it."""
    first_frame: int | None = None
    for pair in pairs:
        first_frame = pair.at.frame if first_frame is None else first_frame
        rank, passed_over = divmod(pair.at.frame - first_frame, plan.stride)
        if plan.max_frames is not None and rank >= plan.max_frames:
            return
        yield pair, not passed_over


def _frame_at(point: Moment | None, info: VideoInfo) -> int | None:
    if point is None:
        return None
    return point.value if isinstance(point, FrameNumber) else ceil(point.value * info.fps)
