"""Real footage with real faults; the frame counts were taken with a plain decode of each file."""

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation, VideoReformatter

from tubedet.video.frame_pairs import pair_frames
from tubedet.video.reader import VideoReader
from tubedet.video.time_range import Seconds

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="real videos are not on this machine")
BACKWARDS = "hmdb51_Turnk_r_Pippi_Michel_cartwheel_f_cm_np2_le_med_6.avi"
EXACT = Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND


class Facts(NamedTuple):
    """What a file holds; `even`: it has decoding times only, one unit a frame."""

    frames: int
    width: int
    height: int
    time_base: Fraction
    even: bool = False


ROBUST = {
    "R6llTwEh07w.mp4": Facts(303, 340, 256, Fraction(1, 15360)),
    "RATRACE_wave_f_nm_np1_fr_goo_37.avi": Facts(72, 560, 240, Fraction(1, 30), even=True),
    "decord_video_0.mov": Facts(3, 568, 320, Fraction(1, 19200)),
    "flipping_a_pancake.mkv": Facts(310, 426, 240, Fraction(1, 1000)),
    BACKWARDS: Facts(83, 320, 240, Fraction(1, 30), even=True),
    "mmaction_demo.mp4": Facts(280, 340, 256, Fraction(1, 14336)),
    "tmbo_video1.webm": Facts(131, 320, 240, Fraction(1, 1000)),
    "tmbo_video2.avi": Facts(120, 320, 240, Fraction(1, 25)),
    "torchcodec_av1_video.mkv": Facts(125, 640, 360, Fraction(1, 1000)),
    "torchcodec_h264_10bits.mp4": Facts(30, 200, 200, Fraction(1, 15360)),
    "torchcodec_h265_video.mp4": Facts(10, 128, 128, Fraction(1, 10240)),
    "torchcodec_nasa_13013.mp4": Facts(325, 320, 180, Fraction(1, 12800)),
}
UCF101 = {
    "Basketball/v_Basketball_g01_c01.avi": Facts(141, 320, 240, Fraction(1001, 30000)),
    "CliffDiving/v_CliffDiving_g03_c01.mp4": Facts(92, 340, 256, Fraction(1, 1_200_000)),
    "CricketBowling/v_CricketBowling_g05_c02.avi": Facts(111, 320, 240, Fraction(1, 25)),
    "IceDancing/v_IceDancing_g02_c05.mp4": Facts(244, 340, 256, Fraction(1, 1_200_000)),
}
FILES = {
    **{DATA / "robust" / name: facts for name, facts in ROBUST.items()},
    **{DATA / "ucf101-24/videos" / name: facts for name, facts in UCF101.items()},
}


def plain_decode(path: Path) -> list[av.VideoFrame]:
    """The slow-but-obvious twin: the library's own loop, with its own threads."""
    with av.open(str(path), metadata_errors="ignore") as container:
        return list(container.decode(container.streams.video[0]))


@needs_data
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_real_file_gives_all_its_frames_with_their_own_timestamps(path: Path) -> None:
    facts = FILES[path]
    with VideoReader(path) as reader:
        frames = list(reader.frames())
        info = reader.info
        assert (reader.decoded_frames, reader.skipped_frames) == (facts.frames, 0)
    assert (info.width, info.height, info.time_base) == (facts.width, facts.height, facts.time_base)
    twin = plain_decode(path)
    assert len(frames) == len(twin) == facts.frames
    stamps = [picture.pts for picture in twin if picture.pts is not None]
    assert [frame.pts for frame in frames] == stamps
    # The two AVIs with B-frames have decoding times only, in an order of their own.
    shown = range(facts.frames) if facts.even else [stamp - stamps[0] for stamp in stamps]
    assert [frame.time_s for frame in frames] == [stamp * facts.time_base for stamp in shown]
    for number in (0, facts.frames // 2, facts.frames - 1):
        if twin[number].format.components[0].bits == 8:
            expected = twin[number].to_ndarray(format="rgb24")
            np.testing.assert_array_equal(frames[number].rgb, expected)
        else:  # swscale's quick way is up to 4 levels off there: its exact one is the measure
            exact = VideoReformatter().reformat(twin[number], format="rgb24", interpolation=EXACT)
            assert np.abs(frames[number].rgb - exact.to_ndarray().astype(int)).mean() < 1
    assert not any(frame.after_gap for frame in frames)


@needs_data
def test_a_phone_video_held_upright_is_turned_clockwise() -> None:
    path = DATA / "robust/decord_video_90.mov"
    with VideoReader(path) as reader:
        frames = list(reader.frames())
        info = reader.info
    assert (info.width, info.height, info.rotation, len(frames)) == (320, 568, 90, 3)
    lying = plain_decode(path)[0].to_ndarray(format="rgb24")
    # The keyboard's function keys, at the left edge as stored, belong to the top.
    np.testing.assert_array_equal(frames[0].rgb[0], lying[::-1, 0])
    np.testing.assert_array_equal(frames[0].rgb, np.rot90(lying, k=-1))


@needs_data
def test_a_file_with_an_undecodable_frame_keeps_the_rest_and_pairs_around_the_gap() -> None:
    path = DATA / "robust/decord_corrupted.mp4"
    with VideoReader(path) as reader:
        assert reader.info.frames == 50
        pairs = list(pair_frames(reader.frames()))
        assert reader.skipped_frames == 1
    stamps = [pair.at.pts for pair in pairs]
    assert stamps == [1024 * number for number in range(50) if number != 30]
    assert [pair.at.frame for pair in pairs if pair.at.after_gap] == [30]
    around = [(pair.first.frame, pair.second.frame) for pair in pairs[28:32]]
    assert around == [(28, 29), (28, 29), (30, 31), (31, 32)]


@needs_data
def test_a_range_of_a_file_with_decoding_times_only_holds_the_frames_shown_there() -> None:
    path = DATA / "robust" / BACKWARDS
    with VideoReader(path) as reader:
        inside = [
            f.frame for f in reader.frames(Seconds(Fraction(4, 30)), Seconds(Fraction(8, 30)))
        ]
    assert inside == [4, 5, 6, 7]
