"""A long video in parts, each of which is found by itself, wherever and whenever that is.

    parts = split(path, work, part_s=120)
    found = [work.find_part(path, part, stop) for part in parts]
    DetectionWork(detector, plan, parts=found)      # the run, with the network's part done

A part begins with a key frame, and its network so many frames earlier that boxes are those of a
run over the whole video. The run links, draws and writes as any other, so its outputs are the same.
"""

from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tubedet.errors import VideoError
from tubedet.run.detection import DetectionWork
from tubedet.run.part_boxes import FramePart, part_behind
from tubedet.run.reach import SPARE_STEPS, Reach, tolerance_s
from tubedet.run.steps import StepGrid
from tubedet.runtime.detector import TemporalReach
from tubedet.video.container import open_container, video_stream_of
from tubedet.video.cuts import FRAMES_BEFORE
from tubedet.video.packet_frames import (
    PacketFrame,
    PacketFrames,
    UncertainFramesError,
    can_tell_frames,
)
from tubedet.video.reader import VideoReader
from tubedet.video.time_range import Seconds, TimeRange, has_reached

MOST_LOOKED_BACK = 10_000  # frames; a video that needs more is read from its first


def split(path: Path, work: DetectionWork, *, part_s: float) -> list[FramePart]:
    """Parts of a video, of about so many seconds each.

    None if the video is to go as a whole: it is shorter than two parts, `work.can_be_split` is
    false, or its packets leave a doubt which frame they are.
    """
    if not work.can_be_split:
        return []
    with suppress(VideoError, UncertainFramesError):
        with VideoReader(path, video_stream=work.plan.video_stream) as reader:
            info = reader.info
        if info.duration_s is not None and info.duration_s < 2 * part_s:
            return []
        with open_container(path) as container:
            stream = video_stream_of(container, path, info.video_stream)
            if can_tell_frames(container, stream):
                frames = PacketFrames(container, stream, info.fps)
                return _parts(frames, work, work.reach(info), part_s)
    return []


class _Begin(NamedTuple):
    """The first frame of a part, and how many seconds before it the network begins."""

    frame: PacketFrame
    before_s: Fraction


def _parts(
    frames: Iterable[PacketFrame], work: DetectionWork, reach: Reach, part_s: float
) -> list[FramePart]:
    plan = work.plan
    warm_up = _WarmUp(work.temporal, reach)
    begins: list[_Begin] = []
    first: int | None = None
    last_s = Fraction(0)
    for frame in frames:
        number, time_s = frame.number, frame.time_s
        if first is None and has_reached(plan.span.start or Seconds(Fraction(0)), number, time_s):
            first = number
        if first is not None:
            is_full = plan.max_frames is not None and number - first >= plan.max_frames
            if is_full or has_reached(plan.span.end, number, time_s):
                break
            is_long = bool(begins) and time_s - begins[-1].frame.time_s >= part_s
            if number >= work.known_frames and (
                not begins or (is_long and frame.key.number == number)
            ):
                begins.append(_Begin(frame, warm_up.before_s(frame)))
        warm_up.pass_over(frame)
        last_s = time_s
    if begins and last_s - begins[-1].frame.time_s < part_s / 2:
        begins.pop()
    if first is None or len(begins) < 2:
        return []
    frame, before_s = begins[-1]
    parts = [
        FramePart(
            TimeRange(Seconds(each.frame.time_s), Seconds(following.frame.time_s)),
            before_s=each.before_s,
            is_last=False,
        )
        for each, following in pairwise(begins)
    ]
    last = part_behind(plan, first, frame.number, frame.time_s)
    return [*parts, replace(last, before_s=before_s)]


class _WarmUp:
    """How long before a frame a network has to begin, by the true times of frames.

    As many steps before the windows of the frame's voters as the state remembers, and before these
    the frames that cuts are told from.
    """

    def __init__(self, temporal: TemporalReach | None, reach: Reach) -> None:
        self._reach = reach
        self._frames: deque[tuple[Fraction, bool]] = deque(maxlen=MOST_LOOKED_BACK)
        self._grid, self._steps, self._windows_s = None, 0, Fraction(0)
        if temporal is not None:
            self._grid = StepGrid.of(temporal.step_seconds, reach.rate)
            self._steps = temporal.state_steps + SPARE_STEPS
            before_s = Fraction(temporal.seconds_before)
            self._windows_s = reach.votes_s + before_s + tolerance_s(reach.rate)

    def pass_over(self, frame: PacketFrame) -> None:
        """Go on to the next frame."""
        before_s = self._frames[-1][0] if self._frames else Fraction(0)
        is_step = self._grid is not None and self._grid.has_line(before_s, frame.time_s)
        self._frames.append((frame.time_s, is_step))

    def before_s(self, frame: PacketFrame) -> Fraction:
        """Seconds, of the frame that comes behind those that were passed over."""
        # Of a single frame nobody knows whether a shot begins with it.
        steps, frames = self._steps, FRAMES_BEFORE + 1 if self._reach.read_before_s else 1
        for time_s, is_step in reversed(self._frames):
            if steps:
                steps -= is_step and time_s < frame.time_s - self._windows_s
            elif frames:
                frames -= 1
            else:
                return max(frame.time_s - time_s, self._reach.read_before_s)
        return frame.time_s
