"""A frame has the same boxes however it is asked for: by itself, in a range, by a stride, resumed.

The detector of these tests says other things wherever a frame of its windows or its state is
another one; which those have to be is told by a slow twin.
"""

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.scripted_run import (
    SHORT,
    SIDE,
    TellingDetector,
    inverted,
    pictures_of,
    telling_video,
    write_pictures,
)
from tests.small_detector import (
    heed_context,
    learn_statistics,
    seeded_clip,
    small_config,
    small_network,
)
from tests.synthetic_video import corrupt, draw_picture, write_video
from tubedet.detections import FrameDetections
from tubedet.errors import VideoError
from tubedet.models.yolov2.box_decoding import DecodedBoxes
from tubedet.pipeline import detect_video
from tubedet.run.detection import DetectionWork
from tubedet.run.plan import RunPlan
from tubedet.run.stop import StopRequest
from tubedet.runtime.detector import Detector, PairPrediction, StepPrediction, TemporalReach
from tubedet.runtime.torch_light import TorchLightDetector
from tubedet.tubes.best_box import SelectionRule
from tubedet.video.frame import VideoFrame
from tubedet.video.reader import VideoReader

FRAMES = 80  # so many can be told apart
RULE = SelectionRule(min_score=0, max_boxes=None, nms_iou=None)
RATES = [10, 15, 24, 25, 30, 50, 60]

Look = tuple[list[int], list[list[int]]]


class WatchedDetector(TellingDetector):
    """Remembers by the frame's number what its boxes were made of: its state, and its window's."""

    def __init__(self, temporal: TemporalReach | None = SHORT) -> None:
        super().__init__(temporal)
        self.looks: dict[int, Look] = {}

    def decode(
        self, prediction: PairPrediction, window: Sequence[StepPrediction] = ()
    ) -> DecodedBoxes:
        assert prediction.raw is not None
        number, *state = prediction.raw.int().tolist()
        self.looks[number] = (state, [each.logits.int().tolist() for each in window])
        return super().decode(prediction, window)


def slow_twin(times_s: Sequence[Fraction], every: int, rate: Fraction) -> dict[int, Look]:
    """By hand, of one shot at an even rate: what goes into each frame but the last."""
    steps = [n for n in range(len(times_s)) if n % every == 0]

    def state(upto: int) -> list[int]:
        return [step for step in steps if step <= upto][-SHORT.state_steps - 1 :]

    def is_near(step: int, n: int) -> bool:
        behind = float(times_s[step] - times_s[n])
        a_little = 0.1 / float(rate)
        return -SHORT.seconds_before - a_little <= behind <= SHORT.seconds_after + a_little

    last = len(times_s) - 1
    return {
        n: (
            state(n + 1),
            [[min(step, last - 1), *state(step)] for step in steps if is_near(step, n)],
        )
        for n in range(last)
    }


def found_in(video: Path, detector: Detector | None = None, **asked: Any) -> list[Any]:
    """Every frame's detections; not linked, since a tube depends on where it began."""
    settings = {"rule": RULE, "link": False, **asked}
    return list(detect_video(video, detector or TellingDetector(SHORT), **settings))


def check_parts(video: Path, parts: Sequence[dict[str, Any]], **settings: Any) -> None:
    """Each part has the boxes that the whole has there."""
    whole = {each.frame: each for each in found_in(video, **settings)}
    for part in parts:
        found = found_in(video, **settings, **part)
        assert found == [whole[each.frame] for each in found], part


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("rates")
    return {
        rate: telling_video(folder / f"{rate}.mp4", frames=FRAMES, fps=Fraction(rate))
        for rate in RATES
    }


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_boxes_are_made_of_the_steps_in_their_state_and_window(
    videos: dict[int, Path], rate: int, batch_size: int
) -> None:
    every = {10: 1, 15: 1, 24: 2, 25: 2, 30: 2, 50: 3, 60: 4}[rate]
    detector = WatchedDetector()
    found_in(videos[rate], detector, batch_size=batch_size, smooth=False, end_frame=FRAMES - 1)
    times = [Fraction(n, rate) for n in range(FRAMES)]
    assert detector.looks == slow_twin(times, every, Fraction(rate))
    assert max(detector.batch_sizes) == batch_size


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("rate", RATES)
def test_every_range_has_the_boxes_of_the_whole(
    videos: dict[int, Path], rate: int, smooth: bool
) -> None:
    parts: list[dict[str, Any]] = [
        {"start_frame": 1, "end_frame": 3},
        {"start_frame": 41},
        {"start_frame": 79},
        {"start_s": 40.5 / rate, "end_s": 47 / rate},
        {"start_s": 60 / rate, "end_frame": 61},
        {"end_frame": 1},
        {"end_s": 30 / rate},
        {"max_frames": 5},
        {"start_frame": 50, "max_frames": 2, "stride": 7},
    ]
    check_parts(videos[rate], parts, smooth=smooth)


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("rate", [10, 30, 60])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_every_stride_has_the_boxes_of_the_whole(
    videos: dict[int, Path], rate: int, smooth: bool, batch_size: int
) -> None:
    parts = [{"stride": stride, "start_frame": stride // 2} for stride in (2, 3, 5, 17, 40)]
    check_parts(videos[rate], parts, smooth=smooth, batch_size=batch_size)


@pytest.mark.parametrize("smooth", [False, True])
def test_frames_are_those_that_were_asked_for(videos: dict[int, Path], smooth: bool) -> None:
    asked: dict[str, Any] = {"start_frame": 20, "stride": 7, "max_frames": 4, "smooth": smooth}
    assert [each.frame for each in found_in(videos[30], **asked)] == [20, 27, 34, 41]
    in_seconds: dict[str, Any] = {"start_s": 1, "end_s": 1.2, "smooth": smooth}
    assert [each.frame for each in found_in(videos[30], **in_seconds)] == list(range(30, 36))


def test_a_range_behind_the_end_is_a_video_error(videos: dict[int, Path]) -> None:
    for start in (FRAMES, 10_000):
        with pytest.raises(VideoError, match="choose another range"):
            found_in(videos[30], start_frame=start)


def test_the_network_is_spared_what_nothing_depends_on(videos: dict[int, Path]) -> None:
    detector = TellingDetector(SHORT)
    found_in(videos[30], detector, stride=70, smooth=False)
    # Frame 70 needs 0.2 s and 3 steps before, so frame 58; one and a half times that, and spare.
    spared = set(range(FRAMES)) - set(detector.looked)
    assert set(range(6, 45)) <= spared
    assert not spared & set(range(58, 74))
    assert {*range(0, 5, 2), *range(58, 74, 2)} <= set(detector.looked)


def test_a_stride_spares_boxes_and_the_frames_between_steps(videos: dict[int, Path]) -> None:
    detector = WatchedDetector()
    found_in(videos[60], detector, stride=16, smooth=False)
    assert sorted(detector.looks) == [0, 16, 32, 48, 64]
    # A step, the frame before it, whose pair brings it, and none of the two between.
    assert {n % 4 for n in detector.looked} == {0, 3}


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_the_shortest_videos_have_a_box_in_every_frame(
    tmp_path: Path, frames: int, smooth: bool
) -> None:
    video = telling_video(tmp_path / "clip.mp4", frames=frames)
    assert [each.frame for each in found_in(video, smooth=smooth)] == list(range(frames))
    check_parts(video, [{"start_frame": n} for n in range(frames)], smooth=smooth)


@pytest.mark.parametrize("smooth", [False, True])
def test_where_the_rate_varies_parts_have_the_boxes_of_the_whole(
    tmp_path: Path, smooth: bool
) -> None:
    """Between 20 and 45 frames a second, with a short pause."""
    steps_ms = np.random.default_rng(1).integers(22, 50, FRAMES)
    steps_ms[50] = 200
    stamps = [0, *np.cumsum(steps_ms[1:]).tolist()]
    video = telling_video(
        tmp_path / "clip.mkv",
        frames=FRAMES,
        fps=Fraction(30),
        timestamps=stamps,
        time_base=Fraction(1, 1000),
    )
    parts: list[dict[str, Any]] = [{"start_frame": n, "max_frames": 3} for n in range(0, 80, 9)]
    parts += [{"start_s": n / 4, "max_frames": 4} for n in range(11)]
    parts += [{"stride": n} for n in (2, 3, 5, 40)]
    check_parts(video, parts, smooth=smooth)


@pytest.mark.parametrize("with_pictures", [False, True])
def test_no_more_pictures_are_held_than_boxes_wait_for(
    videos: dict[int, Path], with_pictures: bool
) -> None:
    """0.15 s of window and 0.27 s of smoothing at 30 a second, each up to the frame behind it."""
    waiting = 5 + 9 if with_pictures else 0
    for_cuts_and_pairs = 8
    work = DetectionWork(TellingDetector(SHORT), RunPlan(rule=RULE, stride=3))
    alive: list[weakref.ref[NDArray[np.uint8]]] = []
    with VideoReader(videos[30]) as reader:
        frames = reader.frames

        def watched(*arguments: Any, **options: Any) -> Iterator[VideoFrame]:
            for frame in frames(*arguments, **options):
                alive.append(weakref.ref(frame.rgb))
                yield frame

        reader.frames = watched  # type: ignore[method-assign]
        held = [
            sum(each() is not None for each in alive)
            for _ in work.results(reader, StopRequest(), with_pictures=with_pictures)
        ]
    assert len(held) == FRAMES
    assert waiting <= max(held) <= waiting + for_cuts_and_pairs


def two_shots(path: Path, first: int, second: int) -> Path:
    """A telling video that is cut after so many frames to one with another background."""
    pictures = [draw_picture(n, SIDE, 64) for n in range(first)]
    pictures += [inverted(draw_picture(n + 40, SIDE, 64)) for n in range(second)]
    return write_pictures(path, pictures)


def shots_of(found: Sequence[FrameDetections], start: int, end: int) -> Iterator[Any]:
    for each in found[start:end]:
        yield [(box.label, box.score, box.box_xyxy) for box in each.detections]


@pytest.mark.parametrize("smooth", [False, True])
def test_two_videos_in_one_have_the_boxes_of_both_by_themselves(
    tmp_path: Path, smooth: bool
) -> None:
    both = two_shots(tmp_path / "both.mp4", 30, 20)
    pictures = pictures_of(both)
    first = write_pictures(tmp_path / "first.mp4", pictures[:30])
    second = write_pictures(tmp_path / "second.mp4", pictures[30:])
    found = found_in(both, smooth=smooth)
    assert list(shots_of(found, 0, 30)) == list(shots_of(found_in(first, smooth=smooth), 0, 30))
    assert list(shots_of(found, 30, 50)) == list(shots_of(found_in(second, smooth=smooth), 0, 20))
    parts = [{"start_frame": n, "max_frames": 2} for n in range(26, 36)]
    check_parts(both, [*parts, {"stride": 29}, {"stride": 7}], smooth=smooth)


def test_a_cut_parts_pairs_of_a_detector_of_pairs_only_if_that_is_asked_for(
    tmp_path: Path,
) -> None:
    video = two_shots(tmp_path / "both.mp4", 30, 20)
    for find_cuts, before_cut in ((False, 29), (True, 28)):
        detector = TellingDetector()
        found_in(video, detector, find_cuts=find_cuts)
        assert detector.looked[29] == before_cut


def test_a_gap_ends_a_shot(tmp_path: Path) -> None:
    video = write_video(
        tmp_path / "clip.mkv", frames=40, width=SIDE, height=64, fps=Fraction(30), codec="ffv1"
    )
    corrupt(video, packets=[21])
    detector = WatchedDetector()
    whole = found_in(video, detector, smooth=False)
    assert [each.frame for each in whole] == list(range(39))
    # What is numbered 20 in the file stands before the gap, and 22 behind it is frame 21.
    state, window = detector.looks[22]
    assert min(*state, *map(min, window)) == 22
    state, window = detector.looks[19]
    assert max(*state, *map(max, window)) == 20
    check_parts(video, [{"start_frame": n, "max_frames": 2} for n in range(17, 26)])


@pytest.mark.parametrize("with_delay", [True, False])
def test_without_latency_nothing_waits_and_nothing_behind_a_frame_counts(
    videos: dict[int, Path], with_delay: bool
) -> None:
    detector = WatchedDetector(SHORT if with_delay else SHORT._replace(seconds_after=0))
    results = detect_video(videos[30], detector, rule=RULE, link=False)
    next(results)
    # 0.15 s of the window and 0.27 s of smoothing, each up to the frame behind it.
    assert len(detector.looked) == (0 + 1 if not with_delay else 5 + 9 + 1)
    list(results)
    latest = {n: max(step for step, *_ in window) - n for n, (_, window) in detector.looks.items()}
    assert max(latest.values()) == (4 if with_delay else 0)


@pytest.fixture(scope="module")
def light() -> TorchLightDetector:
    """A small network that heeds what comes before and around a frame."""
    config = replace(small_config("light"), flow_size=64)
    network = small_network(config)
    heed_context(network)
    learn_statistics(network, seeded_clip(64, batch=4))
    return TorchLightDetector(network, config, device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of which the last frames do not depend on the first."""
    path = tmp_path_factory.mktemp("light") / "clip.mp4"
    return write_video(path, frames=160, width=96, height=64, fps=Fraction(30))


@pytest.mark.parametrize("smooth", [False, True])
def test_the_network_has_the_same_boxes_in_any_part(
    light: TorchLightDetector, long_video: Path, smooth: bool
) -> None:
    whole = found_in(long_video, light, smooth=smooth)
    parts: list[dict[str, Any]] = [
        {"start_frame": 150},
        {"start_s": 4.9, "max_frames": 3, "batch_size": 3},
        {"end_frame": 20, "batch_size": 8},
        {"stride": 40},
        {"start_frame": 139, "stride": 3},
    ]
    for part in parts:
        found = found_in(long_video, light, smooth=smooth, **part)
        assert is_near(whole, found), part


def test_such_a_network_is_another_one_where_it_begins_too_late(
    light: TorchLightDetector, long_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With three steps before the window instead of thirty."""
    whole = found_in(long_video, light, smooth=False)
    monkeypatch.setattr("tubedet.run.reach.SLACK", Fraction(1))
    monkeypatch.setattr("tubedet.run.reach.SPARE_STEPS", 3 - 28)
    assert not is_near(whole, found_in(long_video, light, smooth=False, start_frame=150))


def is_near(whole: Sequence[FrameDetections], part: Sequence[FrameDetections]) -> bool:
    """Whether boxes are within half a pixel and scores within 0.005 of those of the whole."""
    of_whole = {each.frame: as_rows(each) for each in whole}
    return all(
        np.all(np.abs(of_whole[each.frame][:, None] - as_rows(each)[None]) < 1, axis=-1)
        .any(axis=0)
        .all()
        for each in part
    )


def as_rows(found: FrameDetections) -> NDArray[np.float64]:
    """Boxes, scores and class scores (N, 7), in units of what they may differ by."""
    rows = [(*box.box_xyxy, box.score, *box.class_scores) for box in found.detections]
    return np.array(rows) / (0.5, 0.5, 0.5, 0.5, 0.005, 0.005, 0.005)
