"""One MP4 while it grows: H.264, made to play and seek in any browser, in the source's time.

- libx264 without B-frames: every packet's decoding time is its presentation time, so there is no
  negative timestamp and no edit list for a player to get wrong. That costs 5 to 15 % of size.
- 4:2:0 needs an even size: an odd edge is repeated once. BT.709, limited range, is what the pixels
  are converted to and what the stream says, whatever the size.
- Time: every frame keeps its `time_s`, moved by `offset_s`: a variable frame rate stays variable.
- Sound, subtitles, chapters and tags come from the source, which is opened a second time for them.
"""

from contextlib import ExitStack, suppress
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.format import Flags
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tubedet.notes import Note
from tubedet.video.container import open_container, video_stream_of
from tubedet.video.file_names import is_image_pattern
from tubedet.video.frame import VideoFrame, VideoInfo
from tubedet.writers.mp4_audio import MAX_TICKS
from tubedet.writers.mp4_metadata import carry_chapters, carry_names, carry_tags
from tubedet.writers.mp4_sound_format import SoundSurvey, survey_sound
from tubedet.writers.mp4_tracks import CarriedTracks, cover_and_files

# Measured on real clips at 320x180 and 1080p: half the size of "superfast" at the same speed, and
# smaller than "faster". Its short look-ahead (10 frames) keeps memory low at 4K.
ENCODER_OPTIONS = {"preset": "veryfast", "crf": "20", "bf": "0", "g": "60"}
MIN_TIMESCALE = 1_000
MAX_TIMESCALE = 10_000_000
FALLBACK_TIMESCALE = 90_000
MAX_EDGE = 16_384  # pixels, of H.264 as libx264 writes it
MAX_EARLY_SOUND_S = Fraction(1, 10)  # before the first frame, which is not waited for
UNREAD_S = Fraction(1)  # sound stays this far behind, until it is known where the video ends


class Recording:
    """An MP4 that is being written.

    Attributes:
        offset_s: what to add to a frame's `time_s` to get its time in the MP4.
    """

    offset_s: Fraction

    def __init__(
        self,
        path: Path,
        *,
        source: Path | None,
        info: VideoInfo,
        first: VideoFrame,
        cut_start: bool,
        notes: list[Note],
    ) -> None:
        """Begin the file; frames follow, `first` as the first of them.

        Args:
            path: the file to be written.
            source: the video, or a folder of images; of these, or of a stream (None), there is
                nothing to carry over.
            info: of the source.
            first: its size is that of the MP4.
            cut_start: the run begins inside the video: the MP4 begins with the first frame, without
                earlier sound. Otherwise it may begin with the sound.
            notes: gets what people should know, the last of it in `complete`.

        Raises:
            VideoError: if the source cannot be opened again.
            av.FFmpegError, OSError: if the file cannot be written.
        """
        self._info, self._notes = info, notes
        self._tick = Fraction(1, _timescale(info))
        self._last: tuple[int, av.VideoFrame] | None = None
        self._latest = first
        with ExitStack() as opened:
            carried = _source_of_tracks(source)
            self._source = carried and opened.enter_context(open_container(carried))
            survey = survey_sound(carried) if carried else SoundSurvey({}, set())
            self.offset_s = self._offset_s(first, cut_start, survey)
            # A first timestamp above 0 is told in units of the movie: at its usual 1 ms it is
            # rounded.
            scale = str(self._tick.denominator)
            options = {"movflags": "+faststart", "movie_timescale": scale}
            self._output = av.open(str(path), "w", format="mp4", container_options=options)
            opened.callback(_close_quietly, self._output)
            self._stream = _add_video(self._output, info, first, self._tick)
            if max(info.width, info.height) > MAX_EDGE:
                notes.append(
                    Note(
                        f"pictures of {info.width}x{info.height} were scaled down in the MP4 to "
                        f"{self._stream.width}x{self._stream.height}, the limit of H.264"
                    )
                )
            self._tracks: CarriedTracks | None = None
            if self._source and carried:
                self._carry(self._source, survey, carried, cut_start)
            self._opened = opened.pop_all()

    def add(self, frame: VideoFrame) -> None:
        """Encode `frame.rgb` at `frame.time_s`; one of another size than the first is stretched."""
        ticks = round((frame.time_s + self.offset_s) / self._tick)
        picture = _picture(frame.rgb, self._stream.width, self._stream.height)
        if self._last is not None:
            ticks = max(ticks, self._last[0] + 1)
            self._bridge(*self._last, ticks)
        self._encode(picture, ticks)
        self._latest = frame
        if self._tracks:
            self._tracks.copy_until(ticks * self._tick - UNREAD_S)

    def complete(self, *, to_the_end: bool) -> None:
        """Write what is left; the last frame lasts as long as in the source, if `to_the_end`.

        Where the source's last frames are missing, it does not stand still in their stead.
        """
        last = self._last[0] if self._last else 0
        duration = max(1, round(1 / (self._info.fps * self._tick)))
        latest = self._latest
        if to_the_end and not self._info.seems_cut_off(latest.frame + 1, latest.time_s):
            duration = min(max(duration, self._source_end() - last), MAX_TICKS)
        for packet in self._stream.encode(None):
            if packet.pts == last:
                packet.duration = duration
            self._output.mux(packet)
        end_s = (last + duration) * self._tick
        if self._source and self._tracks:
            self._tracks.complete(None if to_the_end else end_s, end_s)
            carry_chapters(self._source, self._output, self._zero_s, end_s)
        self._output.close()
        self._opened.close()

    def abandon(self) -> None:
        """Close both files, whatever state they are in."""
        self._opened.close()

    @property
    def _zero_s(self) -> Fraction:
        """The time on the source's clock that is 0 in the MP4."""
        return self._info.start_s - self.offset_s

    def _offset_s(self, first: VideoFrame, cut_start: bool, survey: SoundSurvey) -> Fraction:
        """The first frame is 0, or sound that begins before it, on a whole tick of the video."""
        begins = [heard.begin_s for heard in survey.heard.values() if heard.begin_s is not None]
        early_s = first.time_s + self._info.start_s - min(begins) if begins else Fraction(0)
        if cut_start or early_s <= MAX_EARLY_SOUND_S:
            early_s = Fraction(0)
        return ceil(early_s / self._tick) * self._tick - first.time_s

    def _carry(
        self, container: InputContainer, survey: SoundSurvey, path: Path, cut_start: bool
    ) -> None:
        """Declare in the MP4 all that comes from the source."""
        self._shown = video_stream_of(container, path, self._info.video_stream)
        aspect = self._shown.sample_aspect_ratio
        if aspect:  # pixels that are not square keep their shape, turned as the frames are
            upright = self._info.rotation in (0, 180)
            self._stream.sample_aspect_ratio = Fraction(aspect) if upright else 1 / Fraction(aspect)
        carry_names(self._shown, self._stream)
        self._notes += carry_tags(container, self._output)
        self._notes += cover_and_files(container)
        self._tracks = CarriedTracks(
            container,
            self._output,
            survey,
            zero_s=self._zero_s,
            cut_start=cut_start,
            notes=self._notes,
        )

    def _encode(self, picture: av.VideoFrame, ticks: int) -> None:
        picture.pts, picture.time_base = ticks, self._tick
        self._output.mux(self._stream.encode(picture))
        self._last = ticks, picture

    def _bridge(self, at: int, picture: av.VideoFrame, ticks: int) -> None:
        """Show the last picture again wherever a pause is longer than MP4 can tell."""
        while ticks - at > MAX_TICKS:
            at += MAX_TICKS
            self._encode(picture, at)

    def _source_end(self) -> int:
        """Where the source says its video ends, in ticks; 0 if it does not say.

        A transport stream has no durations: FFmpeg takes its last timestamp for that.
        """
        if not self._source or self._source.format.flags & cast(int, Flags.ts_discont.value):
            return 0
        shown = self._shown
        if shown.duration is None or not shown.time_base:
            return 0
        end_s = ((shown.start_time or 0) + shown.duration) * shown.time_base
        return round((end_s - self._zero_s) / self._tick)


def _source_of_tracks(source: Path | None) -> Path | None:
    """The file that may hold sound; None where frames are files, or come from a stream."""
    if source is None:
        return None
    images = source.is_dir() or (is_image_pattern(source) and not source.exists())
    return None if images else source


def _timescale(info: VideoInfo) -> int:
    """Ticks a second: the source's own or a multiple, coarser where they overflow or are too fine.

    A video that is longer than MP4 can tell in one step may hold a pause of that length.
    """
    own = info.time_base.denominator
    scale = own * ceil(MIN_TIMESCALE / own) if own <= MAX_TIMESCALE else FALLBACK_TIMESCALE
    steps = ceil((info.duration_s or 0) * scale / MAX_TICKS)
    return max(MIN_TIMESCALE, scale // max(steps, 1))


def _add_video(
    output: OutputContainer, info: VideoInfo, first: VideoFrame, tick: Fraction
) -> VideoStream:
    """The H.264 stream, sized for the first frame."""
    stream = output.add_stream("libx264", rate=info.fps)
    stream.options = dict(ENCODER_OPTIONS)
    height, width = first.rgb.shape[:2]
    stream.width, stream.height = (_even_edge(edge, max(width, height)) for edge in (width, height))
    stream.pix_fmt = "yuv420p"
    stream.time_base = stream.codec_context.time_base = tick
    stream.color_range = ColorRange.MPEG
    stream.colorspace = Colorspace.ITU709
    stream.color_primaries = ColorPrimaries.BT709
    stream.color_trc = ColorTrc.BT709
    return stream


def _even_edge(edge: int, longest: int) -> int:
    """An edge of the MP4's pictures, in pixels: even, and scaled if the longest is too long."""
    if longest <= MAX_EDGE:
        return edge + edge % 2
    return max(2, edge * MAX_EDGE // longest // 2 * 2)


def _picture(rgb: NDArray[np.uint8], width: int, height: int) -> av.VideoFrame:
    """An RGB frame as 4:2:0 of an even size; one of another size than the first is stretched."""
    odd_rows, odd_columns = rgb.shape[0] % 2, rgb.shape[1] % 2
    even = np.pad(rgb, ((0, odd_rows), (0, odd_columns), (0, 0)), mode="edge")
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(even), "rgb24").reformat(
        width, height, "yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )


def _close_quietly(output: OutputContainer) -> None:
    with suppress(OSError, av.FFmpegError):  # a file that is abandoned is removed anyway
        output.close()
