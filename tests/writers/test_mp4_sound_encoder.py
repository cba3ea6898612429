"""Encoded sound stays where its timestamps say."""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.audio.codeccontext import AudioCodecContext

from tubedet.writers.mp4_sound_encoder import SoundEncoder

RATE = 48_000


def tone(hz: int, seconds: float, layout: str = "mono") -> list[av.AudioFrame]:
    """Frames of 10 ms."""
    at = np.arange(round(seconds * RATE)) / RATE
    wave = (0.3 * np.sin(2 * np.pi * hz * at)).astype(np.float32)
    channels = av.AudioLayout(layout).nb_channels
    frames = [
        av.AudioFrame.from_ndarray(np.repeat(part, channels)[None], "flt", layout)
        for part in np.split(wave, range(480, len(wave), 480))
    ]
    for frame in frames:
        frame.sample_rate = RATE
    return frames


@pytest.mark.parametrize("layout", ["mono", "stereo"])
@pytest.mark.parametrize("begin_s", [0.92, 1.0, 1.064, 1.09])
def test_what_follows_a_hole_or_an_overlap_ends_at_its_time(begin_s: float, layout: str) -> None:
    context = av.CodecContext.create("aac", "w")
    assert isinstance(context, AudioCodecContext)
    context.sample_rate, context.layout, context.format = RATE, "mono", "fltp"
    context.time_base = Fraction(1, RATE)
    encoder = SoundEncoder(context)
    packets = []
    for begin, frames in ((0.0, tone(500, 1)), (begin_s, tone(3000, 1, layout))):
        for number, frame in enumerate(frames):
            packets += encoder.encode(frame, Fraction(begin) + Fraction(number, 100))
    packets += encoder.flush()

    decoder = av.CodecContext.create("aac", "r")
    decoder.extradata = context.extradata
    samples = np.concatenate(
        [frame.to_ndarray()[0] for packet in packets for frame in decoder.decode(packet)]
    )
    begins = (packets[0].pts or 0) / RATE  # the encoder's first samples are from before 0
    steps = np.abs(np.diff(samples)).reshape(-1)
    end_s = np.flatnonzero(steps > 0.06)[-1] / RATE + begins  # 500 Hz has steps up to 0.02
    assert end_s == pytest.approx(begin_s + 1, abs=0.035)
