"""Going to a moment of a video file without decoding all that is before it.

Decoding begins with the key frame before the moment. That its pictures are those that packets told
of is looked at up to the moment; the same packets then give the same pictures.
"""

from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from tubedet.errors import VideoError
from tubedet.video.container import open_container, video_stream_of
from tubedet.video.decoding import Decoding, TimedPicture
from tubedet.video.packet_frames import (
    KeyFrame,
    PacketFrames,
    UncertainFramesError,
    can_tell_frames,
    seek,
)
from tubedet.video.time_range import Moment, has_reached


@dataclass(frozen=True, slots=True)
class Approach:
    """The way to a moment.

    Attributes:
        key: the key frame that decoding begins with.
        shown: pts of the frames from that on, up to the first one that has reached the moment.
    """

    key: KeyFrame
    shown: "array[int]"


class Sought(NamedTuple):
    """Decoding that has come to a moment: the picture there, and those that follow."""

    decoding: Decoding
    picture: TimedPicture
    others: Iterator[TimedPicture]


def approach_to(
    moment: Moment, path: Path, video_stream: int, fps: Fraction, stop: Callable[[], bool]
) -> Approach | None:
    """The way to a moment; None if it leads from the first frame, or is in doubt.

    Args:
        moment: behind the end, it stands for that.
        path: of the video.
        video_stream: number of its stream, from 1.
        fps: the nominal rate.
        stop: asked for every frame before; ends the search if it is True.
    """
    key, shown = None, array("q")
    with suppress(VideoError, UncertainFramesError), open_container(path) as container:
        stream = video_stream_of(container, path, video_stream)
        if not can_tell_frames(container, stream):
            return None
        for frame in PacketFrames(container, stream, fps):
            if frame.key is not key:
                key, shown = frame.key, array("q")
            shown.append(frame.pts)
            if has_reached(moment, frame.number, frame.time_s) or stop():
                break
        return Approach(key, shown) if key and key.number else None
    return None


def decoding_along(
    approach: Approach,
    container: InputContainer,
    stream: VideoStream,
    fps: Fraction,
    stop: Callable[[], bool],
) -> Sought | None:
    """Decode up to a moment, or until `stop` is True; None if other pictures come than expected.

    Args:
        approach: to the moment.
        container: which is taken there.
        stream: of it.
        fps: the nominal rate.
        stop: asked for every frame before.
    """
    decoding = Decoding(container, stream, fps, approach.key)
    pictures = decoding.pictures()
    with suppress(av.FFmpegError):
        seek(container, stream, approach.key)
        for pts in approach.shown:
            timed = next(pictures, None)
            if timed is None or timed.picture.pts != pts:
                return None
            if decoding.decoded == approach.key.number + len(approach.shown) or stop():
                is_whole = not (decoding.skipped or decoding.container_errors)
                return Sought(decoding, timed, pictures) if is_whole else None
    return None
