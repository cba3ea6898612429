"""A few consecutive frames from anywhere in a video file, decoded from the key frame before them.

Frame numbers and pixels are `VideoReader`'s. Which packet is which frame is told by the packets of
the whole file (`packet_frames`). Where they leave a doubt, decoding begins with the first frame.
"""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from numpy.typing import NDArray

from tubedet.errors import VideoError
from tubedet.video.container import PacketReader, open_container, video_stream_of
from tubedet.video.packet_frames import (
    KeyFrame,
    PacketFrame,
    PacketFrames,
    UncertainFramesError,
    can_tell_frames,
    from_key_frame,
    seek,
)
from tubedet.video.picture import PictureConverter
from tubedet.video.reader import VideoReader, fps_of
from tubedet.video.time_range import FrameNumber


def read_window(path: Path | str, frames: range) -> NDArray[np.uint8]:
    """Consecutive frames (T, H, W, 3) RGB of a video; see `WindowReader.read`."""
    with WindowReader(path) as windows:
        return windows.read(frames)


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
            self._told, self.frames = self._frames_by_packets()
            self._opened = opened.pop_all()
        context = self._stream.codec_context
        self._size = context.width, context.height  # until a picture of another size is decoded
        context.thread_count = 1  # as in decoding.py

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

    def _frames_by_packets(self) -> tuple[list[PacketFrame], int]:
        """The frames in order, none where they are in doubt; and how many packets there are."""
        packets = PacketFrames(self._container, self._stream, fps_of(self._stream))
        told: list[PacketFrame] = []
        if can_tell_frames(self._container, self._stream):
            with suppress(UncertainFramesError):
                told = list(packets)
        return told, packets.count()

    def _decoded_from_key_frame(self, frames: range) -> NDArray[np.uint8] | None:
        """The window; None where other pictures come than expected."""
        wanted = self._told[frames.start : frames.stop]
        if len(wanted) < len(frames):
            return None
        key = wanted[0].key
        expected = iter(self._told[key.number :])
        window: list[NDArray[np.uint8]] = []
        converter = None
        with suppress(av.FFmpegError):
            for picture in self._pictures_from(key):
                frame, size = next(expected, None), (picture.width, picture.height)
                if frame is None or picture.pts != frame.pts or size != self._size:
                    return None
                converter = converter or PictureConverter(picture)
                if frame.number >= frames.start:
                    window.append(converter.to_rgb(picture))
                if len(window) == len(frames):
                    return np.stack(window)
        return None

    def _pictures_from(self, key: KeyFrame) -> Iterator[av.VideoFrame]:
        """Decoded pictures from a key frame on; none if it cannot be sought.

        Those behind it in the file that are shown before it need others and do not come.
        """
        seek(self._container, self._stream, key)
        packets = from_key_frame(iter(PacketReader(self._container)), key)
        own = (packet for packet in packets if packet.stream_index == self._stream.index)
        for packet in chain(own, [None]):
            yield from self._stream.codec_context.decode(packet)

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
