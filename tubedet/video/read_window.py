"""A few consecutive frames from anywhere in a video file, decoded from the key frame before them.

Frame numbers and pixels are `VideoReader`'s. What a packet holds is learned by reading the packets
of the whole file without decoding them, which costs a tenth of a millisecond for a second of video.
Where that leaves a doubt which picture has which number, decoding begins with the first frame.
"""

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import chain, dropwhile
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import av
import numpy as np
from numpy.typing import NDArray

from tubedet.errors import VideoError
from tubedet.video.container import (
    AnyPacket,
    PacketReader,
    codec_name,
    open_container,
    video_stream_of,
)
from tubedet.video.picture import PictureConverter
from tubedet.video.reader import VideoReader
from tubedet.video.time_range import FrameNumber

# Where each packet is one picture and says when it is shown, and a key frame can be sought.
FORMATS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
CODECS = {"h264", "hevc", "av1", "vp9"}
NO_TIME = -(2**63)  # as FFmpeg has it: earlier than all others


def read_window(path: Path | str, frames: range) -> NDArray[np.uint8]:
    """Consecutive frames (T, H, W, 3) RGB of a video; see `WindowReader.read`."""
    with WindowReader(path) as windows:
        return windows.read(frames)


class _Packet(NamedTuple):
    """What tells a packet from others; `is_hidden`: its picture is decoded but not shown."""

    pts: int
    dts: int
    pos: int | None
    is_key: bool
    is_hidden: bool


class WindowReader:
    """Reads windows of a video file, which is opened once.

    Attributes:
        frames: how many frames the video has, by its packets: exact in MP4 and Matroska of
            H.264, HEVC, AV1 and VP9 without damage. Elsewhere some packets may hold none.

    Raises:
        VideoError: if the file is absent, is no video or has no video stream.
    """

    frames: int

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        with ExitStack() as opened:
            self._container = opened.enter_context(open_container(self.path))
            self._stream = video_stream_of(self._container, self.path)
            packets = PacketReader(self._container)
            self._packets = [_described(packet) for packet in self._of_stream(packets)]
            self._opened = opened.pop_all()
        context = self._stream.codec_context
        self._size = context.width, context.height  # until a picture of another size is decoded
        context.thread_count = 1  # as in decoding.py
        self.frames = sum(not packet.is_hidden for packet in self._packets)
        # When each frame is shown, in the order of their numbers; empty where that is unknown.
        self._shown = self._times_of_frames()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._opened.close()

    def read(self, frames: range) -> NDArray[np.uint8]:
        """Consecutive frames (T, H, W, 3) RGB by their numbers, those of `VideoReader.frames`.

        Damage before the window is not noticed: a picture that cannot be decoded counts there.

        Raises:
            ValueError: if `frames` is empty or leaves frames out.
            VideoError: if the video is shorter, or none of the window can be decoded.
        """
        if not frames or frames.step != 1 or frames.start < 0:
            raise ValueError(f"expected consecutive frames, found {frames}")
        rgb = self._decoded_from_key_frame(frames)
        return self._decoded_from_first(frames) if rgb is None else rgb

    def _of_stream(self, packets: PacketReader) -> Iterator[AnyPacket]:
        return (packet for packet in packets if packet.stream_index == self._stream.index)

    def _times_of_frames(self) -> list[int]:
        if self._container.format.name not in FORMATS or codec_name(self._stream) not in CODECS:
            return []
        shown = sorted(packet.pts for packet in self._packets if not packet.is_hidden)
        # What is shown before the first key frame cannot be decoded.
        if not (shown and self._packets[0].is_key and self._packets[0].pts <= shown[0]):
            return []
        return shown

    def _decoded_from_key_frame(self, frames: range) -> NDArray[np.uint8] | None:
        """The window; None where other pictures come than expected."""
        wanted = self._shown[frames.start : frames.stop]
        if len(wanted) < len(frames):
            return None
        keys = [packet for packet in self._packets if packet.is_key and packet.pts <= wanted[0]]
        key = keys[-1]
        expected = iter(self._shown[bisect_left(self._shown, key.pts) :])
        window: list[NDArray[np.uint8]] = []
        converter = None
        with suppress(av.FFmpegError):
            for picture in self._pictures_from(key):
                pts, size = picture.pts, (picture.width, picture.height)
                if pts is None or pts != next(expected, None) or size != self._size:
                    return None
                converter = converter or PictureConverter(picture)
                if pts >= wanted[0]:
                    window.append(converter.to_rgb(picture))
                if len(window) == len(frames):
                    return np.stack(window)
        return None

    def _pictures_from(self, key: _Packet) -> Iterator[av.VideoFrame]:
        """Decoded pictures from a key frame on; none if it cannot be sought.

        Those behind it in the file that are shown before it need others and do not come.
        """
        decode = self._stream.codec_context.decode
        self._container.seek(key.dts, stream=self._stream)
        packets = self._of_stream(PacketReader(self._container))
        from_key = dropwhile(lambda packet: _described(packet) != key, packets)
        for packet in chain(from_key, [None]):
            yield from decode(packet)

    def _decoded_from_first(self, frames: range) -> NDArray[np.uint8]:
        start, stop = FrameNumber(frames.start), FrameNumber(frames.stop)
        with VideoReader(self.path) as reader:
            window = [frame.rgb for frame in reader.frames(start, stop)]
        if len(window) < len(frames):
            raise VideoError(
                f"{self.path}: expected frames {frames.start} to {frames.stop - 1}, found a video "
                f"of {frames.start + len(window)}"
            )
        return np.stack(window)


def _described(packet: AnyPacket) -> _Packet:
    pts = NO_TIME if packet.pts is None else packet.pts
    dts = pts if packet.dts is None else packet.dts
    return _Packet(pts, dts, packet.pos, packet.is_keyframe, packet.is_discard)
