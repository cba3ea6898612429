"""Video files to frames: every picture that decodes, with the source's own timestamps.

Nothing is corrected here. Timestamps may be missing or run backwards, the container's frame count
may be wrong; pictures are only turned upright and converted to 8-bit RGB. Sample aspect ratio and
mirroring are left alone. Playlists are refused: they name other files and network addresses.
A folder of images 00001.jpg, 00002.jpg, … is read as the video that they were extracted from.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from fractions import Fraction
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tubedet.errors import VideoError
from tubedet.video.frame import VideoFrame, VideoInfo
from tubedet.video.time_range import TimePoint, TimeRange, has_reached

NOMINAL_FPS = Fraction(25)  # where a stream has no rate at all; FFmpeg assumes it too
NOT_VIDEO_FORMATS = {"tty", "hls", "dash", "concat"}  # FFmpeg draws any .txt; the rest: playlists
# What is taken from a folder, the likelier first; a file of any other name is read when it is named
# itself.
VIDEO_SUFFIXES = tuple(
    """.mp4 .mkv .avi .mov .webm .m4v .mpg .mpeg .wmv .3g2 .3gp .asf .divx .dv .f4v .flv .gif .h264
    .hevc .m2ts .m2v .mjpeg .mts .mxf .ogm .ogv .rm .rmvb .ts .vob .y4m""".split()
)
EXTRACTED_FRAMES = "%05d.jpg"  # from 1 on, as UCF101-24's frames are published (gurkirt)
CONTAINER_TIME_BASE = Fraction(1, av.time_base)


class VideoReader:
    """Reads one video stream: the first that isn't a cover picture.

    Attributes:
        info: what is known before reading; its size and rotation are those of the first frame.
        decoded_frames: pictures decoded so far, in a range or not.
        skipped_frames: packets so far that could not be decoded, usually one frame each.

    Raises:
        VideoError: if the file is absent, is no video, or holds no frame that can be decoded.
    """

    info: VideoInfo

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.decoded_frames = 0
        self.skipped_frames = 0
        self._running: Generator[VideoFrame] | None = None
        with self._opened() as container:
            self.info = self._read_info(container)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the iterator that runs, and close its file."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def frames(
        self, start: TimePoint | None = None, end: TimePoint | None = None
    ) -> Iterator[VideoFrame]:
        """Iterate over the frames from `start` up to, not including, `end`.

        Every call starts over and ends the iterator before it. Decoding begins with the first
        frame, so that `VideoFrame.frame` is exact, but only frames of the range are converted to
        RGB. A range is one run in decoder order: it begins with the first frame at or after
        `start` and ends before the first frame at or after `end`, even if timestamps jump.
        A picture of another size than the first is resized to it.

        Raises:
            UsageError: if the range has no room for a frame.
            VideoError: while iterating, if no frame lies in the range.
        """
        self.close()
        self.decoded_frames = self.skipped_frames = 0
        self._running = self._read(TimeRange(start, end))
        return self._running

    def count_frames(self) -> int:
        """How many pictures decode; what a container says of it is often wrong.

        Ends the iterator that runs. All is decoded, but nothing converted to RGB.
        """
        self.close()
        self.decoded_frames = self.skipped_frames = 0
        with self._opened() as container:
            return sum(1 for _ in self._pictures(container))

    def _read(self, wanted: TimeRange) -> Generator[VideoFrame]:
        begun = False
        time_s = None
        with self._opened() as container:
            for picture, after_gap in self._pictures(container):
                frame = self.decoded_frames - 1
                time_s = self._seconds(picture.pts)
                if has_reached(wanted.end, frame, time_s):
                    break
                begun = begun or wanted.start is None or has_reached(wanted.start, frame, time_s)
                if begun:
                    yield VideoFrame(frame, picture.pts, time_s, self._rgb(picture), after_gap)
        if not begun:
            last = "no known time" if time_s is None else f"{time_s:.3f} s"
            raise VideoError(
                f"{self.path}: expected frames {wanted}, found none among the first "
                f"{self.decoded_frames}, which end at {last}; choose another range"
            )

    def _pictures(self, container: InputContainer) -> Iterator[tuple[av.VideoFrame, bool]]:
        """Decoded pictures in presentation order, each with whether a lost one lies before it.

        A picture whose damage the decoder could conceal is kept, as players do; the decoder's
        "corrupt" flag marks only some of them and says nothing of their looks.
        """
        # One decoding thread: with more, errors come up some packets late, those in the last
        # packets make PyAV drop good pictures, and concealed pixels depend on the machine.
        stream = self._video_stream(container)
        stream.codec_context.thread_count = 1
        lost: list[float] = []
        for packet in container.demux(stream):
            try:
                pictures = packet.decode()
            except av.FFmpegError:
                self.skipped_frames += 1
                lost.append(-inf if packet.pts is None else packet.pts)
                continue
            for picture in pictures:
                self.decoded_frames += 1
                # B-frames come out later than packets go in: only the timestamp says on which
                # side of a lost picture this one lies.
                pts = inf if picture.pts is None else picture.pts
                yield picture, any(lost_pts < pts for lost_pts in lost)
                lost = [lost_pts for lost_pts in lost if lost_pts >= pts]

    @contextmanager
    def _opened(self) -> Iterator[InputContainer]:
        """The container while it is open; whatever FFmpeg refuses becomes a VideoError."""
        problem = _problem_of_path(self.path)
        if problem:
            raise VideoError(f"{self.path}: expected a video file, found {problem}")
        readable = ",".join(av.formats_available - NOT_VIDEO_FORMATS)
        name, kind = str(self.path), None
        if self.path.is_dir():
            name, kind = f"{name.replace('%', '%%')}/{EXTRACTED_FRAMES}", "image2"
        try:
            with av.open(
                f"file:{name}",  # else a name such as "http:…" would be an address
                format=kind,
                metadata_errors="replace",
                options={"format_whitelist": readable},
            ) as container:
                yield container
        except av.FFmpegError as error:
            raise VideoError(
                f"{self.path}: expected a video file, found data that cannot be read "
                f"({error.strerror}); check that it is complete and plays elsewhere"
            ) from error

    def _video_stream(self, container: InputContainer) -> VideoStream:
        streams = container.streams
        for stream in streams.video:
            if stream.disposition & Disposition.attached_pic:
                continue
            if not stream.codec_context:
                break
            return stream
        found = ", ".join(f"{stream.type} ({_codec_name(stream)})" for stream in streams)
        raise VideoError(
            f"{self.path}: expected a video stream that can be decoded, found "
            f"{found or 'no stream'}; give a file that shows a picture"
        )

    def _read_info(self, container: InputContainer) -> VideoInfo:
        stream = self._video_stream(container)
        picture, _ = next(self._pictures(container), (None, False))
        codec = _codec_name(stream)
        if picture is None:
            raise VideoError(
                f"{self.path}: expected frames, found a {codec} stream without one that can be "
                f"decoded ({self.skipped_frames} failed); fetch or export the file again"
            )
        # FFmpeg counts degrees counter-clockwise; a turn that isn't square can't be applied.
        rotation = -90 * round(picture.rotation / 90) % 360
        size = (picture.width, picture.height)
        width, height = size if rotation % 180 == 0 else size[::-1]
        time_base = _fraction(stream.time_base) or 1 / NOMINAL_FPS
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate
        return VideoInfo(
            width=width,
            height=height,
            rotation=rotation,
            time_base=time_base,
            fps=_fraction(rate) or NOMINAL_FPS,
            frames=stream.frames or None,
            duration_s=_duration_s(container, stream, time_base),
            video_codec=codec,
            audio_codecs=tuple(_codec_name(audio) for audio in container.streams.audio),
        )

    def _seconds(self, pts: int | None) -> float | None:
        return None if pts is None else float(pts * self.info.time_base)

    def _rgb(self, picture: av.VideoFrame) -> NDArray[np.uint8]:
        """The picture upright, in the size of the first one."""
        size = (self.info.width, self.info.height)
        width, height = size if self.info.rotation % 180 == 0 else size[::-1]
        # A second scaling thread costs more than it saves up to full HD.
        rgb = picture.to_ndarray(format="rgb24", width=width, height=height, threads=1)
        upright = np.rot90(rgb, k=-self.info.rotation // 90)
        return np.ascontiguousarray(upright, dtype=np.uint8)


def _problem_of_path(path: Path) -> str | None:
    """What is wrong with a path before its content is looked at, in words."""
    if path.is_dir():
        first = path / (EXTRACTED_FRAMES % 1)
        return None if first.is_file() else "a folder; name a file in it"
    if not path.exists():
        return "nothing there; check the path"
    if not path.is_file():
        return "a pipe or device; save the video to a file first"
    if path.stat().st_size == 0:
        return "an empty file (0 bytes); fetch or export it again"
    return None


def _codec_name(stream: Stream) -> str:
    return stream.codec_context.codec.canonical_name if stream.codec_context else "unknown codec"


def _duration_s(
    container: InputContainer, stream: VideoStream, time_base: Fraction
) -> float | None:
    if stream.duration:
        return float(stream.duration * time_base)
    return float(container.duration * CONTAINER_TIME_BASE) if container.duration else None


def _fraction(rational: Fraction | None) -> Fraction | None:
    """An exact rate; None if there is none. PyAV 18 says that with None, PyAV 19 with 0/0."""
    return Fraction(rational.numerator, rational.denominator) if rational else None
