"""One connection to a live source, from its opening until it is lost."""

import errno
from collections.abc import Iterator
from fractions import Fraction
from types import TracebackType
from typing import NamedTuple, Self

import av
from av.container import InputContainer

from tubedet.errors import VideoError
from tubedet.video.container import NOT_VIDEO_FORMATS, video_stream_of
from tubedet.video.decoding import Decoding
from tubedet.video.live_address import LiveSource
from tubedet.video.live_packets import LivePackets, NothingToSeeError, monotonic_us
from tubedet.video.reader import fps_of

STALLED_S = 10  # without anything from the source
NO_TIMESTAMPS = 0x0080  # FFmpeg's AVFMT_NOTIMESTAMPS, as of multipart JPEGs: it makes times up
PROBED_US = 3_000_000  # at most, of the stream, before its first picture


class LivePicture(NamedTuple):
    """A decoded picture of a connection, in microseconds.

    Attributes:
        own_us: its time on the source's clock; None if the source has none.
        arrived_us: when it came, by `monotonic_us`.
        after_gap: a picture before it could not be decoded.
        after_reset: the source's clock started anew before it.
    """

    picture: av.VideoFrame
    own_us: int | None
    arrived_us: int
    after_gap: bool
    after_reset: bool


class LostError(Exception):
    """The connection was lost; the message says why, in a few words."""


class LiveConnection:
    """An open source.

    Attributes:
        is_whole: it can be read as slowly as wanted: a file on a server.
        has_end: it ends by itself, and cannot be opened again where it broke off.
        has_times: its format has times of its own; else it is known only when pictures come.

    Raises:
        VideoError: if it cannot be opened, or has no such stream.
    """

    def __init__(self, source: LiveSource, video_stream: int | None) -> None:
        self.container = _opened(source)
        try:
            self.stream = video_stream_of(self.container, source.name, video_stream)
        except VideoError:
            self.container.close()
            raise
        self.is_whole = source.is_network and _is_file(self.container)
        self.has_end = self.is_whole or source.is_pipe
        self.has_times = not self.container.format.flags & NO_TIMESTAMPS
        has_bursts = not self.is_whole and (source.is_network or source.is_pipe)
        self._packets = LivePackets(
            self.container, has_bursts=has_bursts, has_times=self.has_times or self.is_whole
        )
        self._opened_us = monotonic_us()
        fps = fps_of(self.stream)
        self.decoding = Decoding(self.container, self.stream, fps, packets=self._packets)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.container.close()

    @property
    def fps(self) -> Fraction:
        """The nominal rate, in frames a second; as soon as it can be, the measured one."""
        return self._packets.measured_fps or fps_of(self.stream)

    def pictures(self) -> Iterator[LivePicture]:
        """Pictures as they come, until the source ends.

        Raises:
            LostError: if the connection is lost.
        """
        own_us: int | None = None
        came_us = arrived_us = resets = 0
        try:
            for picture, time_s, after_gap, own_s in self.decoding.pictures():
                self._packets.shown()
                # Without a packet since the last picture, it is one that the decoder held.
                is_held, came_us = came_us == self._packets.arrived_us, self._packets.arrived_us
                arrived_us = arrived_us + int(1_000_000 / self.fps) if is_held else came_us
                if self.is_whole:  # read as quickly as wanted: it says itself when a picture is due
                    own_us = int(time_s * 1_000_000)
                    arrived_us = self._opened_us + own_us
                elif own_s is not None and self.has_times:
                    own_us = int(own_s * 1_000_000)
                elif own_us is not None:
                    own_us += int(1_000_000 / self.fps)
                is_reset, resets = self.decoding.clock_resets > resets, self.decoding.clock_resets
                yield LivePicture(picture, own_us, arrived_us, after_gap, is_reset)
        except NothingToSeeError:
            raise LostError("data came, but no picture") from None
        if self._packets.failure:  # only now: what was held, here and in the decoder, has come
            raise LostError(_in_words(self._packets.failure))


def _opened(source: LiveSource) -> InputContainer:
    # Playlists are refused as in files: they name other addresses, and come in bursts of seconds.
    formats = ",".join(sorted(av.formats_available - NOT_VIDEO_FORMATS))
    options = {
        "format_whitelist": formats,
        "analyzeduration": str(PROBED_US),
        **dict(source.options),
    }
    stalled_s = None if source.is_pipe else STALLED_S
    try:
        return av.open(
            source.opened,
            mode="r",
            format=source.format_name,
            options=options,
            metadata_errors="replace",
            timeout=stalled_s,
        )
    except ValueError as error:
        if not isinstance(error, av.FFmpegError):  # no such format
            raise VideoError(
                f"{source.name}: expected an FFmpeg that reads {source.format_name} cameras, found "
                f"one without it; give a network address"
            ) from None
        problem = _why_not_opened(error)
    except av.FFmpegError as error:
        problem = _why_not_opened(error)
    # The error itself would show the address with its password in a traceback.
    raise VideoError(
        f"{source.name}: expected live video, found none ({problem}); {_advice(source)}"
    )


def _advice(source: LiveSource) -> str:
    if source.is_playlist:
        return "playlists are not read: give the address of the stream itself"
    if source.is_pipe:
        return "look at what the program before the pipe says"
    if not source.is_network:
        return "check the camera's number, and that no other program uses it"
    return "check the address, and whether it plays elsewhere"


def _why_not_opened(error: av.FFmpegError) -> str:
    # FFmpeg says no more of a name that it cannot resolve.
    return "no host of that name answers" if error.errno == errno.EIO else _in_words(error)


def _is_file(container: InputContainer) -> bool:
    """Whether what a server sends has an end; some cameras say that of their endless JPEGs."""
    return bool(container.duration) or (container.size > 0 and container.format.name != "mpjpeg")


def _in_words(error: av.FFmpegError) -> str:
    if isinstance(error, av.error.ExitError):
        return f"nothing came for {STALLED_S} s"
    if isinstance(error, av.error.ProtocolNotFoundError):
        return "the FFmpeg in use has no such protocol"
    if error.errno == errno.EIO:
        return "the connection broke off"
    return error.strerror or str(type(error).__name__)
