"""What tests of writers need: frames of a file straight from PyAV, a target, the meta of a run."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from tubedet.detections import Detection, FrameDetections
from tubedet.video.frame import VideoFrame, VideoInfo
from tubedet.writers.mp4 import Mp4Writer
from tubedet.writers.output_target import OutputTarget
from tubedet.writers.run_meta import RunMeta

RUN_META = RunMeta(
    video="clips/a.mp4",
    width=320,
    height=240,
    rotation=0,
    time_base="1/12800",
    fps="30/1",
    frames_in_container=300,
    decoded_frames=300,
    start=None,
    end="4.5",
    first_frame=0,
    stride=2,
    processed_frames=150,
    skipped_frames=1,
    repaired_timestamps=0,
    complete=True,
    source_sha256="ab" * 32,
    weights_sha256=None,
    settings={"min_score": 0.25, "classes": ["walk"]},
    tubedet_version="0.1.0",
)


def video_info(path: Path) -> VideoInfo:
    """What the container says, without rotation."""
    with av.open(str(path)) as source:
        video = source.streams.video[0]
        return VideoInfo(
            width=video.width,
            height=video.height,
            rotation=0,
            time_base=Fraction(video.time_base or 0),
            fps=Fraction(video.average_rate or 25),
            frames=video.frames or None,
            duration_s=None,
            video_codec=video.codec_context.name,
            audio_codecs=(),
        )


def frames_of(path: Path) -> Iterator[VideoFrame]:
    """Every frame, with the source's timestamp."""
    with av.open(str(path)) as source:
        for number, picture in enumerate(source.decode(video=0)):
            rgb = np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)
            yield VideoFrame(number, picture.pts, picture.time, rgb)


def target_for(folder: Path, source: Path, **changes: Any) -> OutputTarget:
    """A target of the whole of `source`, or of a file that is not there if nothing reads it."""
    info = video_info(source) if source.exists() else any_info()
    target = OutputTarget(folder, source.stem, source, source.name, info, lambda: RUN_META)
    return replace(target, **changes)


def any_info(fps: Fraction = Fraction(25), time_base: Fraction = Fraction(1, 25)) -> VideoInfo:
    """A small video that exists nowhere."""
    return VideoInfo(64, 48, 0, time_base, fps, None, None, "h264", ())


def found(frame: VideoFrame, detections: Sequence[Detection] = ()) -> FrameDetections:
    """The detections of a frame."""
    return FrameDetections(frame.frame, frame.pts, frame.time_s, tuple(detections))


def write_mp4(target: OutputTarget, frames: Iterator[VideoFrame]) -> tuple[Path, Mp4Writer]:
    """A finished MP4 of these frames, and its writer with its counts and warnings."""
    writer = Mp4Writer(target)
    for frame in frames:
        writer.write(frame, found(frame))
    return writer.finish(), writer
