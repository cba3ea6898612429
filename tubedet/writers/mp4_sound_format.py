"""What the sound tracks of a source hold, and in what form the MP4 can keep it.

A container may say little or nothing of a track, or say it and hold none of it. So every track's
first packet that decodes is looked for. In an ordinary file that is one of the first packets; only
where a track begins late or never is the file read on to that place, or to its end: that costs
reading it once more, without decoding pictures.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import av.logging
from av.audio.layout import AudioLayout
from av.audio.resampler import AudioResampler
from av.container import InputContainer

from tubedet.video.container import AnyPacket, PacketReader, open_container
from tubedet.video.source_clock import SourceClock

ODD_ORDER = re.compile(r"^ *Stream #0:(\d+).*: Audio: .* \d+ channels \(\w+\+", re.MULTILINE)
TRIED_PACKETS = 50  # of a track, until one decodes

# AAC's channel configurations, which all decoders know, in order of size.
AAC_LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1")
# FFmpeg's assumption for a number of channels of which nothing else is known.
USUAL_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
AAC_RATES = {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000}


@dataclass(frozen=True, slots=True)
class Heard:
    """A track's first sound: its beginning on the source's clock (s), its rate (Hz), its layout."""

    begin_s: Fraction | None
    rate: int
    layout: AudioLayout


@dataclass(frozen=True, slots=True)
class SoundSurvey:
    """The tracks with sound, and those of whose packets none decodes, by index of the stream.

    A track that is in neither has no packet at all.
    """

    heard: dict[int, Heard]
    undecodable: set[int]


def survey_sound(path: Path) -> SoundSurvey:
    """Find the first sound of every track; VideoError if the file cannot be opened."""
    with open_container(path) as container:
        heard: dict[int, Heard] = {}
        missing = {stream.index for stream in container.streams.audio}
        undecodable = {each.index for each in container.streams.audio if not each.codec_context}
        undecodable |= _in_odd_order(container)
        packets = PacketReader(container)
        _listen(packets, SourceClock(container), missing - undecodable, heard, undecodable)
        if packets.errors:  # who knows what was in the damaged places
            undecodable |= missing
    return SoundSurvey(heard, undecodable - heard.keys())


def _in_odd_order(container: InputContainer) -> set[int]:
    """Indices of the tracks whose channels are in an order of their own, such as FL+FR+SL+SR+BL+BR.

    PyAV 18.1 frees the list of their channels twice, and the process dies (PyAV PR 2284). Only
    FFmpeg's own description of a file tells without that.
    """
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        described: str = cast(Any, container).dumps_format()
    finally:
        av.logging.set_level(level)
    return {int(number) for number in ODD_ORDER.findall(described)}


def _listen(
    packets: Iterable[AnyPacket],
    clock: SourceClock,
    wanted: set[int],
    heard: dict[int, Heard],
    failed: set[int],
) -> None:
    """Read until all tracks of `wanted` are in `heard`, or in `failed` after enough tries."""
    tries: Counter[int] = Counter()
    for packet in packets:
        if not wanted:
            return
        shift_s = clock.shift_s(packet)
        index = packet.stream_index
        if index not in wanted:
            continue
        tries[index] += 1
        failed.add(index)
        if sound := _decoded(packet):
            begin_s = None
            if packet.pts is not None:
                begin_s = packet.pts * Fraction(packet.time_base) + shift_s
            heard[index] = Heard(begin_s, sound.sample_rate, sound.layout)
        if sound or tries[index] >= TRIED_PACKETS:
            wanted.discard(index)


def aac_rate(rate: int) -> int:
    """The sampling rate (Hz) in which AAC keeps sound of this one."""
    return rate if rate in AAC_RATES else 48_000


def aac_layout(layout: AudioLayout) -> str:
    """The smallest AAC layout that has all channels of this one; else the one it is mixed down to.

    Surround channels at the side go behind where there are none yet, as in every 5.1 of AC-3.
    """
    channels = channels_of(layout)
    for name in AAC_LAYOUTS:
        if channels <= channels_of(AudioLayout(name)):
            return name
    return "7.1" if layout.nb_channels > 6 else "5.1" if layout.nb_channels > 2 else "stereo"


def channels_of(layout: AudioLayout) -> set[str]:
    """The channels by name, surround at the side as behind unless there is both."""
    names = {channel.name for channel in layout.channels}
    if "NONE" in names:
        usual = USUAL_LAYOUTS.get(layout.nb_channels)
        return channels_of(AudioLayout(usual)) if usual else names
    if names == {"DL", "DR"}:
        return {"FL", "FR"}
    if not names & {"BL", "BR"}:
        return {{"SL": "BL", "SR": "BR"}.get(name, name) for name in names}
    return names


def _decoded(packet: AnyPacket) -> av.AudioFrame | None:
    """The first sound of a packet that can also be brought into the form that AAC takes."""
    try:
        for sound in packet.decode():
            if isinstance(sound, av.AudioFrame) and sound.samples:
                AudioResampler("fltp", aac_layout(sound.layout), 48_000, 1024).resample(sound)
                return sound
    except (av.FFmpegError, ValueError):
        return None
    return None
