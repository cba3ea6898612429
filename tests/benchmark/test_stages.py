"""The stages of a run with a stand-in network, on a clock that only they move."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.scripted_detector import ScriptedDetector
from tests.small_detector import seeded_clip, small_config, small_network
from tests.synthetic_video import write_video
from tubedet.benchmark import stages
from tubedet.benchmark.preset_figures import flow_alone
from tubedet.benchmark.stages import STAGES, Stages, StageTime, least_ms
from tubedet.errors import VideoError
from tubedet.run.detection import DetectionWork
from tubedet.video.frame import VideoFrame
from tubedet.video.preprocess import PairInputs
from tubedet.video.reader import VideoReader
from tubedet.writers.mp4 import Mp4Writer
from tubedet.writers.writer import FrameResult

CPU = torch.device("cpu")


class Clock:
    """Time passes only where something takes it."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now

    def process_time(self) -> float:
        """Of two processors, which all work keeps busy."""
        return 2 * self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stages, "time", clock)
    return clock


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "a.mp4", frames=6, width=64, height=48)


def test_a_stage_has_the_time_of_what_works_in_it_and_no_other(
    clock: Clock, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(kind: type, method: str, seconds: float) -> None:
        original = getattr(kind, method)

        def slowed(*arguments: Any, **options: Any) -> Any:
            clock.now += seconds
            return original(*arguments, **options)

        monkeypatch.setattr(kind, method, slowed)

    def slowly_read(self: VideoReader) -> Iterator[VideoFrame]:
        for frame in read(self):
            clock.now += 0.001
            yield frame

    def flow(clip: Tensor) -> None:
        assert clip.shape == (1, 3, 2, 64, 64)
        clock.now += 0.012

    read: Callable[[VideoReader], Iterator[VideoFrame]] = VideoReader.frames
    monkeypatch.setattr(VideoReader, "frames", slowly_read)
    slow(PairInputs, "inputs_of", 0.002)
    slow(ScriptedDetector, "predict", 0.020)
    slow(ScriptedDetector, "decode", 0.003)
    slow(DetectionWork, "drawn", 0.004)
    slow(Mp4Writer, "write", 0.005)
    measured = Stages(ScriptedDetector(), flow, video, CPU, predictions=4)

    measured.measure()
    measured.measure()

    times = measured.times()
    assert tuple(each.stage for each in times) == STAGES
    assert [each.ms for each in times] == pytest.approx([1, 2, 12, 8, 3, 4, 5])
    assert [each.processor_ms for each in times] == pytest.approx([2, 4, 24, 16, 6, 8, 10])
    assert [each.share for each in times] == pytest.approx(
        [1 / 35, 2 / 35, 12 / 35, 8 / 35, 3 / 35, 4 / 35, 5 / 35]
    )
    assert measured.fps == 24


def test_the_median_of_the_rounds_counts(clock: Clock, video: Path) -> None:
    seconds = iter([0.030, 0.010, 0.020])

    class Unsteady(ScriptedDetector):
        def predict(self, *arguments: Any, **options: Any) -> Any:
            clock.now += next(seconds)
            return super().predict(*arguments, **options)

    measured = Stages(Unsteady(), None, video, CPU, predictions=1)
    for _ in range(3):
        measured.measure()

    times = {each.stage: each.ms for each in measured.times()}
    assert times["streams"] == pytest.approx(20)
    assert "flow" not in times, "it has no flow network"


def test_chance_does_not_let_the_streams_take_less_than_nothing(clock: Clock, video: Path) -> None:
    def flow(clip: Tensor) -> None:
        clock.now += 0.012

    measured = Stages(ScriptedDetector(), flow, video, CPU, predictions=2)
    measured.measure()

    shares = {each.stage: each.share for each in measured.times()}
    assert shares == dict.fromkeys(STAGES, 0.0) | {"flow": 1.0}


def test_the_few_boxes_of_a_slow_network_are_drawn_on_all_frames(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[int, int]] = []
    draw = DetectionWork.drawn

    def watched(self: DetectionWork, result: FrameResult) -> FrameResult:
        assert result.found is not None
        drawn.append((result.frame.frame, result.found.frame))
        return draw(self, result)

    monkeypatch.setattr(DetectionWork, "drawn", watched)
    detector = ScriptedDetector()
    measured = Stages(detector, None, video, CPU, predictions=2)
    measured.measure()

    assert detector.batch_sizes == [1, 1]
    assert drawn == [(0, 0), (1, 1), (2, 0), (3, 1), (4, 0), (5, 1)]
    assert all(each.ms > 0 for each in measured.times())
    assert sum(each.share for each in measured.times()) == pytest.approx(1)


def test_a_single_picture_is_measured(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", frames=1, width=64, height=48)
    measured = Stages(ScriptedDetector(), None, video, CPU, predictions=4)
    measured.measure()
    assert len(measured.times()) == len(STAGES) - 1


def test_no_video_is_said_to_be_none(tmp_path: Path) -> None:
    measured = Stages(ScriptedDetector(), None, tmp_path / "a.mp4", CPU, predictions=1)
    with pytest.raises(VideoError, match="nothing there"):
        measured.measure()


@pytest.mark.parametrize(("threads", "expected"), [(1, 36), (2, 18), (3, 12), (4, 10), (64, 10)])
def test_a_pipeline_waits_for_its_slowest_stage_or_for_the_processor(
    threads: int, expected: float
) -> None:
    alone = [StageTime(str(ms), ms, 1.5 * ms, ms / 24) for ms in (8.0, 10.0, 6.0)]
    assert least_ms(alone, threads) == expected


def test_flow_alone_is_that_of_the_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []

    def compile_(forward: object, **options: object) -> object:
        compiled.append(forward)
        return forward

    monkeypatch.setattr(torch, "compile", compile_)
    network = small_network(small_config("flownet2-sd", input_size=64))
    assert network.flow is not None
    clip = seeded_clip(64)
    with torch.no_grad():
        expected = network.flow(clip)

    eager = flow_alone(network, "fp32", CPU, compile=False)
    assert eager is not None
    torch.testing.assert_close(eager(clip), expected)
    assert flow_alone(network, "fp32", CPU, compile=True) is not None
    assert compiled == [network.flow]
    stored = small_network(small_config("brox", input_size=64))
    assert flow_alone(stored, "fp32", CPU, compile=False) is None
