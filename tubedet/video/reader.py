"""Video files to frames: every picture that decodes, upright, in 8-bit RGB, with a time.

Times are the source's, counted from the first frame and made to increase (`source_clock`,
`picture_times`); the container's frame count is only reported. Sample aspect ratio is left alone.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tubedet.errors import VideoError
from tubedet.notes import Note
from tubedet.video.container import (
    codec_name,
    describe_stream,
    images_left_out,
    moving_streams,
    number_of,
    open_container,
    video_stream_of,
)
from tubedet.video.decoding import Decoding, DecodingCounts, TimedPicture
from tubedet.video.frame import VideoFrame, VideoInfo
from tubedet.video.picture import PictureConverter
from tubedet.video.time_range import Moment, TimeRange, has_reached

NOMINAL_FPS = Fraction(25)  # where a stream has no rate at all; FFmpeg assumes it too
# Rates beyond these are not a camera's but a damaged header's.
SLOWEST_FPS, FASTEST_FPS = Fraction(1, 3600), 100_000
AT_MOST_UNREAD = 0.2  # of a file, behind its last packet
CONTAINER_TIME_BASE = Fraction(1, av.time_base)


def never() -> bool:
    """Nothing stops the reading."""
    return False


class VideoReader:
    """Reads one video stream of a file, which is opened once: the first pass goes on from there.

    Attributes:
        info: what is known once the first picture is decoded; its size is that picture's.
        decoded_frames: pictures of this pass so far, in a range or not.

    Raises:
        VideoError: if the file is absent, is no video, has no video stream of the number
            `video_stream`, or holds no frame that can be decoded.
    """

    info: VideoInfo
    decoded_frames: int

    def __init__(self, path: Path | str, *, video_stream: int | None = None) -> None:
        self.path = Path(path)
        self._wanted = video_stream
        self._opened = ExitStack()
        self._running: Generator[VideoFrame] | None = None
        self._open()

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
        """End the iterator that runs, and close the file."""
        if self._running is not None:
            self._running.close()
            self._running = None
        self._opened.close()
        self._is_fresh = False

    @property
    def skipped_frames(self) -> int:
        """Packets of this pass so far that could not be decoded, usually one frame each."""
        return self._decoding.skipped

    @property
    def repaired_timestamps(self) -> int:
        """Frames of this pass so far whose time was missing or did not increase."""
        return self._decoding.repaired

    def frames(
        self,
        start: Moment | None = None,
        end: Moment | None = None,
        stop: Callable[[], bool] = never,
    ) -> Iterator[VideoFrame]:
        """Iterate over the frames from `start` up to, not including, `end`.

        Every call starts over and ends the iterator before it. Decoding begins with the first
        frame, so that `VideoFrame.frame` is exact, but only frames of the range are converted to
        RGB. `stop` is asked for every frame before the range, and ends the iterator if it is True.
        A picture of another size than the first is resized to it.

        Raises:
            UsageError: if the range has no room for a frame.
            VideoError: while iterating, if no frame lies in the range.
        """
        wanted = TimeRange(start, end)
        self._begin()
        self._running = self._read(wanted, stop)
        return self._running

    def count_frames(self) -> int:
        """How many pictures decode; what a container says of it is often wrong.

        Ends the iterator that runs. All is decoded, but nothing converted to RGB.
        """
        self._begin()
        count = sum(1 for _ in self._all_pictures())
        self.close()
        return count

    def notes(self) -> list[Note]:
        """What is odd about the source, as far as this pass has come."""
        counts = self._decoding.counts
        return [
            *notes_on_losses(counts, is_of_any_rate=self._decoding.is_of_any_rate),
            *_notes_on_times(counts),
            *self._notes_on_source(),
            *self._converter.notes,
        ]

    def _open(self) -> None:
        """Open the file and decode its first picture, which says what all are converted to."""
        with ExitStack() as opened:
            container = opened.enter_context(open_container(self.path))
            stream = video_stream_of(container, self.path, self._wanted)
            self._decoding = Decoding(container, stream, fps_of(stream))
            self._pictures = self._decoding.pictures()
            first = next(self._pictures, None)
            if first is None:
                raise VideoError(
                    f"{self.path}: expected frames, found a {codec_name(stream)} stream without "
                    f"one that can be decoded ({self.skipped_frames} failed); fetch or export the "
                    "file again"
                )
            self._first = first
            self._converter = PictureConverter(first.picture)
            self._others = [
                describe_stream(other) for other in moving_streams(container) if other != stream
            ]
            self._are_counted = bool(stream.frames)
            self.info = info_of(container, stream, self._converter, self._decoding.start_s)
            self._opened = opened.pop_all()
        self._is_fresh, self._at_end = True, False
        self.decoded_frames = 0

    def _begin(self) -> None:
        """A new pass, in the file as it was opened if none has begun there."""
        if not self._is_fresh:
            self.close()
            self._open()
        self._is_fresh = False

    def _all_pictures(self) -> Iterator[TimedPicture]:
        for timed in chain([self._first], self._pictures):
            self.decoded_frames += 1
            self._last_s = timed.time_s
            yield timed
        self._at_end, self._unread_share = True, self._decoding.unread_share

    def _read(self, wanted: TimeRange, stop: Callable[[], bool]) -> Generator[VideoFrame]:
        begun = False
        with self._opened:
            for picture, time_s, after_gap, _ in self._all_pictures():
                frame = self.decoded_frames - 1
                if has_reached(wanted.end, frame, time_s):
                    break
                begun = begun or wanted.start is None or has_reached(wanted.start, frame, time_s)
                if begun:
                    yield VideoFrame(frame, picture.pts, time_s, self._rgb(picture), after_gap)
                elif stop():
                    return
        if not begun:
            raise VideoError(
                f"{self.path}: expected frames {wanted}, found {self.decoded_frames} from 0 s to "
                f"{float(self._last_s):.3f} s; choose another range"
            )

    def _rgb(self, picture: av.VideoFrame) -> NDArray[np.uint8]:
        return converted(self._converter, picture, self.path)

    def _seems_cut_off(self) -> bool:
        decoding, last_s = self._decoding, self._last_s
        if not self._are_counted:
            if not decoding.knows_duration:
                return False
            # It may be the duration of another stream, which is longer.
            last_s = max(last_s, decoding.end_s - 1 / self.info.fps) + decoding.lead_s
        read = decoding.decoded + decoding.skipped + decoding.missing
        return self.info.seems_cut_off(read, last_s)

    def _notes_on_source(self) -> Iterator[Note]:
        info, decoding = self.info, self._decoding
        if self._others:
            yield Note(
                f"video stream {info.video_stream} was read, not {' and '.join(self._others)}: "
                "--video-stream chooses another"
            )
        if self._at_end and self._seems_cut_off():
            promise = f"{'' if info.frames else 'about '}{info.promised_frames} frames"
            yield Note(
                f"the container promises {promise}, {decoding.decoded} could be read: the file "
                "may be cut off",
                loss=True,
            )
        if self._at_end and self._unread_share > AT_MOST_UNREAD:
            yield Note(
                f"the last {self._unread_share:.0%} of the file could not be read: it may be "
                "damaged",
                loss=True,
            )
        if left_out := images_left_out(self.path):
            yield Note(f"images left out, empty or of another kind: {left_out}", loss=True)


def converted(
    converter: PictureConverter, picture: av.VideoFrame, path: Path | str
) -> NDArray[np.uint8]:
    """A picture of the source that messages call `path`, converted.

    Raises:
        VideoError: if it cannot be converted.
    """
    try:
        return converter.to_rgb(picture)
    except av.FFmpegError as error:
        raise VideoError(
            f"{path}: expected pictures that can be shown, found one of "
            f"{picture.format.name} that cannot be converted ({error.strerror})"
        ) from error


def notes_on_losses(counts: DecodingCounts, *, is_of_any_rate: bool) -> Iterator[Note]:
    """What of a stream could not be read; pictures may be absent from one of any rate."""
    if skipped := counts.skipped:
        yield Note(f"damaged packets that could not be decoded: {skipped}", loss=True)
    if errors := counts.container_errors:
        yield Note(f"damaged places of the container that were passed over: {errors}", loss=True)
    if missing := counts.missing:
        is_loss = not is_of_any_rate or counts.skipped + counts.container_errors > 0
        about = f"pictures missing between others, by their times: about {missing}"
        yield Note(about, loss=is_loss)


def _notes_on_times(counts: DecodingCounts) -> Iterator[Note]:
    if resets := counts.clock_resets:
        yield Note(
            f"the source's clock starts anew {resets} times: each part was placed after the one "
            "before"
        )
    if counts.untimed == counts.decoded:
        yield Note("the source has no timestamps: its frames follow each other at its nominal rate")
    elif repaired := counts.repaired:
        yield Note(f"timestamps missing or not increasing, made up: {repaired}", loss=True)


def fps_of(stream: VideoStream) -> Fraction:
    """The nominal rate, in frames a second; 25 where there is none that can be believed."""
    # PyAV 18 says that there is none with None, PyAV 19 with 0/0.
    rates = filter(None, (stream.average_rate, stream.guessed_rate, stream.base_rate))
    believable = (rate for rate in rates if SLOWEST_FPS <= rate <= FASTEST_FPS)
    return Fraction(next(believable, NOMINAL_FPS))


def info_of(
    container: InputContainer, stream: VideoStream, shape: PictureConverter, start_s: Fraction
) -> VideoInfo:
    """What is known of a stream whose first picture, shown at `start_s`, has this shape."""
    fps = fps_of(stream)
    time_base = Fraction(stream.time_base or 1 / fps)
    return VideoInfo(
        width=shape.width,
        height=shape.height,
        rotation=shape.rotation,
        time_base=time_base,
        fps=fps,
        frames=stream.frames or None,
        duration_s=_duration_s(container, stream, time_base),
        video_codec=codec_name(stream),
        audio_codecs=tuple(codec_name(audio) for audio in container.streams.audio),
        start_s=start_s,
        video_stream=number_of(stream),
    )


def _duration_s(
    container: InputContainer, stream: VideoStream, time_base: Fraction
) -> float | None:
    """What the container says; a damaged one may say less than nothing."""
    own_s, container_s = (
        (duration or 0) * tick
        for duration, tick in (
            (stream.duration, time_base),
            (container.duration, CONTAINER_TIME_BASE),
        )
    )
    return float(next((seconds for seconds in (own_s, container_s) if seconds > 0), 0)) or None
