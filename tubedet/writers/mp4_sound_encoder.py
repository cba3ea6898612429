"""Decoded sound of any form, encoded in one: keeps a track in time through gaps and changes."""

from fractions import Fraction
from typing import TypeAlias

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream

AudioPacket: TypeAlias = "av.Packet[AudioStream]"

MAX_FILLED_S = 1  # gaps up to this become silence; a longer one stays a gap between packets
MAX_OFF_S = 0.03  # between sound and its timestamps, before silence is put in or sound cut off


class SoundEncoder:
    """Encodes frames at their times; the packets' timestamps are samples of the encoder's rate."""

    def __init__(self, context: AudioCodecContext) -> None:
        """Open `context`, whose codec, rate, layout and format are set."""
        if not context.is_open:
            context.open()
        self._context = context
        self._resampler = self._new_resampler()
        self._form: tuple[str, str, int] | None = None
        self._next: int | None = None
        self._moved = 0  # samples by which a clock that went back is behind
        self._fed = 0
        self._end: int | None = None  # of what was fed

    @property
    def has_begun(self) -> bool:
        """Whether there is something that a frame could follow on."""
        return self._next is not None

    def encode(self, frame: av.AudioFrame, time_s: Fraction | None) -> list[AudioPacket]:
        """Packets that a frame which begins at `time_s` completes; without a time it follows on.

        Raises:
            av.FFmpegError, ValueError: if its form cannot be converted; then it leaves a gap.
        """
        rate = self._context.sample_rate
        start = self._next or 0
        if time_s is not None:
            start = round(time_s * rate) + self._moved
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        packets = []
        if self._next is not None and abs(start - self._next) >= MAX_FILLED_S * rate:
            packets += self._break_off()
            if start < self._next:
                self._moved += self._next - start
                start = self._next
        elif self._form not in (None, form):  # broadcasts go from stereo to 5.1 and back
            packets += self._drain_resampler()
            # What overlaps is cut off, a hole filled up.
            if self._end is not None and not 0 <= start - self._end <= MAX_OFF_S * rate:
                end = round(Fraction(self._end * frame.sample_rate, rate))
                self._resampler = self._new_resampler({"first_pts": str(end)})
        self._form = form
        self._next = start + round(frame.samples * rate / frame.sample_rate)
        frame.time_base = Fraction(1, rate)
        frame.pts = start
        try:
            parts = self._resampler.resample(frame)
        except (av.FFmpegError, ValueError):
            self._resampler, self._form = self._new_resampler(), None
            raise
        return packets + self._feed(parts)

    def flush(self) -> list[AudioPacket]:
        """What resampler and encoder have kept."""
        return self._drain_resampler() + self._context.encode(None)

    def _feed(self, parts: list[av.AudioFrame]) -> list[AudioPacket]:
        self._fed += sum(part.samples for part in parts)
        if parts and parts[-1].pts is not None:
            self._end = parts[-1].pts + parts[-1].samples
        return [packet for part in parts for packet in self._context.encode(part)]

    def _drain_resampler(self) -> list[AudioPacket]:
        rest = self._resampler.resample(None)
        self._resampler = self._new_resampler()
        return self._feed(rest)

    def _break_off(self) -> list[AudioPacket]:
        """Encode what came before a gap, filled up with silence: no packet spans the gap."""
        packets = self._drain_resampler()
        missing = -self._fed % self._context.frame_size
        return packets + (self._feed(self._silence(missing)) if missing else [])

    def _silence(self, samples: int) -> list[av.AudioFrame]:
        context = self._context
        zeros = np.zeros((1, samples * context.layout.nb_channels), np.float32)
        silence = av.AudioFrame.from_ndarray(zeros, "flt", context.layout.name)
        silence.sample_rate = context.sample_rate
        silence.time_base, silence.pts = Fraction(1, context.sample_rate), self._next
        # PyAV makes no planar frame of 8 channels from an array.
        return AudioResampler(context.format, context.layout).resample(silence)

    def _new_resampler(self, options: dict[str, str] | None = None) -> AudioResampler:
        """To the encoder's form; gaps between timestamps are filled, overlaps trimmed."""
        # Without a frame size PyAV would hand sound of the right format through, gaps and all.
        context = self._context
        # By itself it lets sound be up to 0.1 s off: each hole or overlap adds to that.
        return AudioResampler(
            context.format,
            context.layout,
            context.sample_rate,
            context.frame_size,
            {"async": "1", "min_hard_comp": str(MAX_OFF_S), **(options or {})},
        )
