"""What tests of writers need: frames of a file straight from PyAV, a target, the meta of a run."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from tubedet.detections import Detection, FrameDetections
from tubedet.errors import OutputError
from tubedet.video.frame import VideoFrame, VideoInfo
from tubedet.writers.formats import Kind, writer_class
from tubedet.writers.mp4 import Mp4Writer
from tubedet.writers.run_meta import RunMeta
from tubedet.writers.target import OutputTarget
from tubedet.writers.transaction import OutputTransaction
from tubedet.writers.writer import FrameResult, Writer

RUN_META = RunMeta(
    video="clips/a.mp4",
    source={"bytes": 123_456, "modified_ns": 1_700_000_000_123_456_789},
    width=320,
    height=240,
    rotation=0,
    time_base="1/12800",
    fps="30/1",
    frames_in_container=300,
    decoded_frames=300,
    source_start_s=1.4,
    mp4_offset_s=None,
    start=None,
    end="4.5",
    first_frame=0,
    stride=2,
    processed_frames=150,
    skipped_frames=1,
    repaired_timestamps=0,
    complete=True,
    notes=({"text": "1 packet could not be decoded", "loss": True},),
    class_names=("walk", "run"),
    weights_sha256=None,
    settings={"min_score": 0.25, "classes": ["walk"]},
    runtime={"detector": "scripted", "batch_size": 1},
    tubedet_version="0.1.0",
)


def video_info(path: Path) -> VideoInfo:
    """What the container says, without rotation."""
    with av.open(str(path)) as source:
        video = source.streams.video[0]
        first = next(source.decode(video)).pts or 0
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
            start_s=first * Fraction(video.time_base or 0),
        )


def frames_of(path: Path) -> Iterator[VideoFrame]:
    """Every frame, at the source's timestamp, counted from the first."""
    with av.open(str(path)) as source:
        first_s = None
        for number, picture in enumerate(source.decode(video=0)):
            time_s = (picture.pts or 0) * Fraction(picture.time_base or 0)
            first_s = time_s if first_s is None else first_s
            rgb = np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)
            yield VideoFrame(number, picture.pts, time_s - first_s, rgb)


def plain_frame(number: int, width: int = 64, height: int = 48, fps: int = 25) -> VideoFrame:
    """A black frame at its time."""
    rgb = np.zeros((height, width, 3), np.uint8)
    return VideoFrame(number, number * 512, Fraction(number, fps), rgb)


def target_for(folder: Path, source: Path, **changes: Any) -> OutputTarget:
    """A target of the whole of `source`, or of a file that is not there if nothing reads it."""
    target = OutputTarget(
        folder=folder,
        stem=source.stem,
        source=source,
        video=source.name,
        info=video_info(source) if source.exists() else any_info(),
        run_meta=lambda: RUN_META,
    )
    return replace(target, **changes)


def any_info(fps: Fraction = Fraction(25), time_base: Fraction = Fraction(1, 25)) -> VideoInfo:
    """A small video that exists nowhere."""
    return VideoInfo(64, 48, 0, time_base, fps, None, None, "h264", ())


def found(frame: VideoFrame, detections: Sequence[Detection] = ()) -> FrameDetections:
    """The detections of a frame."""
    return FrameDetections(frame.frame, frame.pts, float(frame.time_s), tuple(detections))


def result(frame: VideoFrame, *detections: Detection) -> FrameResult:
    """A frame with its detections, as writers take it."""
    return FrameResult(frame, found(frame, detections))


def open_writer(name: str, target: OutputTarget, kind: Kind = "boxes") -> Writer:
    """The writer of a format, in a folder that is there."""
    target.folder.mkdir(parents=True, exist_ok=True)
    return writer_class(kind, name)(target)


def write_until_refused(
    outputs: Writer | OutputTransaction, results: Iterable[FrameResult]
) -> tuple[int, str]:
    """How many results are taken, and what is said of the next one."""
    for number, each in enumerate(results):
        try:
            outputs.write(each)
        except OutputError as error:
            return number, str(error)
    raise AssertionError("all were taken")


def finished(writer: Writer) -> Path:
    """The output of a whole run under its final name."""
    final = writer.target.path(writer.suffix)
    writer.close(complete=True)
    writer.rename(final)
    return final


def write_mp4(target: OutputTarget, frames: Iterable[VideoFrame]) -> tuple[Path, Mp4Writer]:
    """A finished MP4 of these frames, and its writer with its offset and notes."""
    target.folder.mkdir(parents=True, exist_ok=True)
    writer = Mp4Writer(target)
    for frame in frames:
        writer.write(result(frame))
    return finished(writer), writer
