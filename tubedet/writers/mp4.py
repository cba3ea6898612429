"""The annotated video: H.264 in MP4, made to play and seek in any browser, in the source's time.

- libx264 without B-frames: every packet's decoding time is its presentation time, so there is no
  negative timestamp and no edit list for a player to get wrong. That costs 5 to 15 % of size.
- 4:2:0 needs an even size: an odd edge is repeated once. BT.709, limited range, is what the pixels
  are converted to and what the stream says, whatever the size.
- Time: every frame keeps the source's timestamp, in the source's time base where MP4 can hold it,
  so a variable frame rate stays variable. A run that begins inside the video starts at 0.
"""

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import av
import av.container
import numpy as np
from av.stream import Disposition
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tubedet.detections import FrameDetections
from tubedet.errors import OutputError, VideoError
from tubedet.video.frame import VideoFrame, VideoInfo
from tubedet.writers.mp4_audio import AudioTracks
from tubedet.writers.output_target import OutputTarget, PendingFile

# Measured on real clips at 320x180 and 1080p: half the size of "superfast" at the same speed, and
# smaller than "faster". Its short look-ahead (10 frames) keeps memory low at 4K.
ENCODER_OPTIONS = {"preset": "veryfast", "crf": "20", "bf": "0", "g": "60"}
MAX_TIMESCALE = 10_000_000  # MP4 stores durations in 32 bits: 429 s a frame at this many ticks
FALLBACK_TIMESCALE = 90_000
MAX_LATE_START_S = Fraction(1, 10)  # kept as it is
UNREAD_AUDIO_S = Fraction(1)  # audio stays this far behind, until it is known where the video ends


class VideoClock:
    """Turns source timestamps into MP4 ticks that never go back.

    Attributes:
        tick: seconds, 1 over an integer as MP4 wants it.
        origin_s: time in the source that is 0 in the MP4.
        nominal: ticks a frame lasts at the source's nominal rate.
        repaired: timestamps that were missing or did not increase.
    """

    def __init__(self, info: VideoInfo, origin_s: Fraction) -> None:
        exact = info.time_base.denominator <= MAX_TIMESCALE
        self.tick = Fraction(1, info.time_base.denominator if exact else FALLBACK_TIMESCALE)
        self.origin_s = origin_s
        self.nominal = max(1, round(1 / (info.fps * self.tick)))
        self.repaired = 0
        self._time_base = info.time_base
        self._last: int | None = None

    @property
    def last(self) -> int:
        """Ticks of the latest frame."""
        return self._last or 0

    def advance(self, pts: int | None) -> int:
        """Ticks of the next frame; one nominal duration after the last if `pts` is unusable."""
        ticks = None if pts is None else self.ticks(pts * self._time_base)
        if ticks is None or (self._last is not None and ticks <= self._last):
            self.repaired += 1
            ticks = 0 if self._last is None else self._last + self.nominal
        self._last = ticks
        return ticks

    def ticks(self, source_s: Fraction) -> int:
        """A time of the source in ticks of the MP4."""
        return round((source_s - self.origin_s) / self.tick)


class Mp4File:
    """Frames as they are given, with the source's audio."""

    suffix: ClassVar[str]
    needs_pixels: ClassVar[bool] = True

    def __init__(self, target: OutputTarget) -> None:
        """Reserve the hidden file; the encoder starts with the first frame.

        Raises:
            OutputError: if it cannot be written.
        """
        self.warnings: list[str] = []
        self._target = target
        self._pending = PendingFile(target, self.suffix)
        self._recording: _Recording | None = None

    @property
    def repaired_timestamps(self) -> int:
        """Frames so far that got the previous timestamp plus one nominal duration."""
        return self._recording.clock.repaired if self._recording else 0

    def add(self, frame: VideoFrame) -> None:
        """Encode `frame.rgb` at the time of `frame.pts`.

        Raises:
            OutputError: if the file cannot be written.
            VideoError: if the source cannot be opened again for its audio.
        """
        with self._pending.errors(av.FFmpegError):
            if self._recording is None:
                self._recording = _Recording(self._pending.path, self._target, frame, self.warnings)
            self._recording.add(frame)

    def finish(self) -> Path:
        """Encode what is waiting, add the rest of the audio, and name the file."""
        return self._close(partial=False)

    def finish_partial(self) -> Path:
        """End video and audio with the latest frame, and name the file STEM.partial.mp4."""
        return self._close(partial=True)

    def discard(self) -> None:
        """Leave nothing behind; after `finish` nothing happens."""
        if self._recording:
            self._recording.abandon()
        self._pending.discard()

    def _close(self, *, partial: bool) -> Path:
        try:
            with self._pending.errors(av.FFmpegError):
                if self._recording is None:
                    raise OutputError(f"no frame for {self._target.path(self.suffix)}")
                self._recording.complete(to_the_end=not (partial or self._target.cut_end))
            return self._pending.commit(partial=partial)
        except OutputError:
            self.discard()
            raise


class Mp4Writer(Mp4File):
    """STEM.tubedet.mp4: the annotated frames."""

    suffix: ClassVar[str] = ".tubedet.mp4"

    def write(self, frame: VideoFrame, detections: FrameDetections) -> None:
        """Encode `frame.rgb`, which is annotated already; errors as `add`."""
        self.add(frame)


class _Recording:
    """An MP4 that is being written, and the source that its audio comes from."""

    def __init__(
        self, path: Path, target: OutputTarget, first: VideoFrame, warnings: list[str]
    ) -> None:
        self._source = _open_source(target.source)
        self._shown = _shown_stream(self._source)
        self._info = target.info
        self._latest = first
        self.clock = VideoClock(target.info, _origin_s(self._source, target, first))
        # A first timestamp above 0 is told in units of the movie: at its usual 1 ms it is rounded.
        options = {"movflags": "+faststart", "movie_timescale": str(self.clock.tick.denominator)}
        self._output = av.open(str(path), "w", format="mp4", container_options=options)
        self._stream = _add_video(self._output, target.info, first, self.clock)
        self._keep_pixel_aspect(target.info.rotation)
        self._audio = AudioTracks(
            self._source, self._output, self.clock.origin_s, target.cut_start, warnings
        )

    def add(self, frame: VideoFrame) -> None:
        picture = _picture(frame.rgb, self._stream.width, self._stream.height)
        picture.pts = self.clock.advance(frame.pts)
        picture.time_base = self.clock.tick
        self._output.mux(self._stream.encode(picture))
        self._latest = frame
        self._audio.copy_until(picture.pts * self.clock.tick - UNREAD_AUDIO_S)

    def complete(self, *, to_the_end: bool) -> None:
        """Write what is left; the last frame lasts as long as in the source, if `to_the_end`.

        Where the source's last frames are missing, it does not stand still in their stead.
        """
        duration = self.clock.nominal
        latest = self._latest
        if to_the_end and not self._info.seems_cut_off(latest.frame + 1, latest.time_s):
            duration = max(duration, self._source_end() - self.clock.last)
        for packet in self._stream.encode(None):
            if packet.pts == self.clock.last:
                packet.duration = duration
            self._output.mux(packet)
        end_s = (self.clock.last + duration) * self.clock.tick
        self._audio.complete(None if to_the_end else end_s)
        self._output.close()
        self._source.close()

    def abandon(self) -> None:
        """Close both files, whatever state they are in."""
        with suppress(OSError, av.FFmpegError):  # the file is removed anyway
            self._output.close()
        self._source.close()

    def _keep_pixel_aspect(self, rotation: int) -> None:
        """Give pixels that are not square the source's shape, turned as the frames are."""
        aspect = self._shown.sample_aspect_ratio
        if aspect:
            upright = rotation in (0, 180)
            self._stream.sample_aspect_ratio = Fraction(aspect) if upright else 1 / Fraction(aspect)

    def _source_end(self) -> int:
        """Where the source says its video ends, in ticks; 0 if it does not say."""
        shown = self._shown
        if shown.duration is None or not shown.time_base:
            return 0
        return self.clock.ticks(((shown.start_time or 0) + shown.duration) * shown.time_base)


def _open_source(path: Path) -> av.container.InputContainer:
    try:
        return av.open(str(path.absolute()), metadata_errors="ignore")
    except (OSError, av.FFmpegError) as error:
        raise VideoError(f"cannot open {path} again for its audio: {error.strerror}") from error


def _shown_stream(source: av.container.InputContainer) -> VideoStream:
    """The video that frames come from, not the picture on an album's cover."""
    moving = (v for v in source.streams.video if not v.disposition & Disposition.attached_pic)
    return next(moving)


def _origin_s(
    source: av.container.InputContainer, target: OutputTarget, first: VideoFrame
) -> Fraction:
    """The time in the source that becomes 0.

    Usually 0 itself. It is the first frame's when the run begins inside the video, or when that is
    negative, which MP4 would hide. A source that begins late, as transport streams do, is moved to
    0: Chromium takes the length of such a movie for its end, and its last part is out of reach.
    """
    info = target.info
    first_s = first.frame / info.fps if first.pts is None else first.pts * info.time_base
    if target.cut_start or first_s < 0:
        return first_s
    begin_s = first_s
    if source.start_time is not None:
        begin_s = min(first_s, Fraction(source.start_time, av.time_base))
    return begin_s if begin_s > MAX_LATE_START_S else Fraction(0)


def _add_video(
    output: av.container.OutputContainer, info: VideoInfo, first: VideoFrame, clock: VideoClock
) -> VideoStream:
    """The H.264 stream, sized for the first frame."""
    stream = output.add_stream("libx264", rate=info.fps)
    stream.options = dict(ENCODER_OPTIONS)
    height, width = first.rgb.shape[:2]
    stream.width, stream.height = width + width % 2, height + height % 2
    stream.pix_fmt = "yuv420p"
    stream.time_base = stream.codec_context.time_base = clock.tick
    stream.color_range = ColorRange.MPEG
    stream.colorspace = Colorspace.ITU709
    stream.color_primaries = ColorPrimaries.BT709
    stream.color_trc = ColorTrc.BT709
    return stream


def _picture(rgb: NDArray[np.uint8], width: int, height: int) -> av.VideoFrame:
    """An RGB frame as 4:2:0 of an even size; one of another size than the first is stretched."""
    odd_rows, odd_columns = rgb.shape[0] % 2, rgb.shape[1] % 2
    even = np.pad(rgb, ((0, odd_rows), (0, odd_columns), (0, 0)), mode="edge")
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(even), "rgb24").reformat(
        width, height, "yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )
