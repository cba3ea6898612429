"""The paper's Table IV for this machine: frames a second of every preset, at batch 1 and 4.

Speed does not depend on what a network has learned: presets without bundled weights are measured
with random ones, at the paper's 320x320 px and for its 24 classes.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from tubedet.benchmark.machine import convolution_peaks, memory_bytes, wait_for
from tubedet.checkpoints.catalog import catalog
from tubedet.labels import UCF101_24
from tubedet.models.presets import LightConfig, build_detector, config_from_dict
from tubedet.models.yolov2.anchors import VOC_2016
from tubedet.pipeline import load_detector, process_video
from tubedet.run.detection import DetectionWork
from tubedet.run.events import FrameDone
from tubedet.run.jobs import VideoJob
from tubedet.run.plan import RunPlan
from tubedet.run.reach import delay_s
from tubedet.runtime.detector import Detector, PairTask, StepPrediction, StreamState
from tubedet.runtime.device_names import device_name, processor_name
from tubedet.runtime.torch import Precision, TorchDetector, pick_device
from tubedet.runtime.torch_light import TorchLightDetector
from tubedet.video.reader import VideoReader

ROUNDS = 5
BATCH_SIZES = (1, 4)  # the paper's
# A measurement lasts about so long where the network is quick, and one batch where it is not.
SECONDS = 1.0
MOST_PREDICTIONS = 40


@dataclass(frozen=True, slots=True)
class Throughput:
    """One row: medians over the rounds, in frames a second.

    `network` is predictions alone, `pipeline` all from the file to the annotated MP4 and its rows;
    None for `brox`, which needs stored flow of the video.
    """

    preset: str
    weights: str
    detector: str
    input_size: int
    batch_size: int
    network: float
    pipeline: float | None


@dataclass(frozen=True, slots=True)
class RoundDone:
    """Progress: so many of all rounds are over."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Benchmark:
    """All rows and the machine.

    Attributes:
        processor: by its maker's name.
        threads: of the processor.
        torch_version: with which CUDA.
        device: as PyTorch calls it.
        device_name: by its maker's name.
        memory_bytes: of a card, else None.
        peaks: GFLOP/s of a convolution on the device, by precision.
        rows: one a preset and batch size.
    """

    processor: str
    threads: int
    torch_version: str
    device: str
    device_name: str
    memory_bytes: int | None
    peaks: dict[Precision, float]
    rows: tuple[Throughput, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def benchmark_presets(
    video: Path,
    presets: Sequence[str],
    *,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    device: str = "auto",
    precision: str = "auto",
    compile: bool = False,
) -> Iterator[RoundDone | Benchmark]:
    """Measure some presets, yielding progress, and at the end the result.

    In every round the device's peak and all figures of a preset are taken one after the other, so
    that what else the machine does meets them alike.

    Args:
        video: its first frames go through the pipeline.
        presets: names of `PRESETS`.
        batch_sizes: pairs that the network sees at once.
        device: see `pick_device`.
        precision: see `pick_precision`.
        compile: see `TorchDetector`.

    Raises:
        VideoError: if the file is no video.
        UsageError: if the device or the precision cannot be had.
    """
    place = pick_device(device)
    peaks: list[dict[Precision, float]] = []
    rows: list[Throughput] = []
    total, done = len(presets) * ROUNDS, 0
    for preset in presets:
        detector, weights = _detector(preset, device, precision, compile=compile)
        cases = [_Case(detector, size, video, place) for size in batch_sizes]
        for _ in range(ROUNDS):
            peaks.append(convolution_peaks(place))
            for case in cases:
                case.measure()
            done += 1
            yield RoundDone(done, total)
        rows += [case.row(preset, weights) for case in cases]
    yield Benchmark(
        processor=processor_name(),
        threads=torch.get_num_threads(),
        torch_version=torch.__version__,
        device=str(place),
        device_name=device_name(place),
        memory_bytes=memory_bytes(place),
        peaks={name: statistics.median(peak[name] for peak in peaks) for name in peaks[0]},
        rows=tuple(rows),
    )


def _detector(preset: str, device: str, precision: str, *, compile: bool) -> tuple[Detector, str]:
    """The preset's network, and where its weights are from."""
    if any(entry.name == preset and entry.path for entry in catalog()):
        bundled = load_detector(preset, device=device, precision=precision, compile=compile)
        return bundled, "bundled"
    config = config_from_dict(
        {"preset": preset, "class_names": UCF101_24, "anchors_wh": VOC_2016, "input_size": 320}
    )
    kind = TorchLightDetector if isinstance(config, LightConfig) else TorchDetector
    detector = kind(
        build_detector(config), config, device=device, precision=precision, compile=compile
    )
    return detector, "random"


class _Case:
    """One detector at one batch size, and what was measured of it so far."""

    def __init__(
        self, detector: Detector, batch_size: int, video: Path, device: torch.device
    ) -> None:
        self.detector, self.batch_size, self.video = detector, batch_size, video
        self.device = device
        self.clip = 255 * torch.rand(batch_size, 3, 2, detector.input_size, detector.input_size)
        self.network: list[float] = []
        self.pipeline: list[float] = []
        self._frames = 0
        self._state: StreamState | None = None
        self._latest_step: StepPrediction | None = None
        # The first ones are slower and not counted; every second frame is a step, or none.
        batches = 2 if detector.temporal else 1
        self._predict(batches)
        started = time.perf_counter()
        self._predict(batches)
        affordable = SECONDS / (time.perf_counter() - started)
        self.predictions = batches * round(min(max(affordable, 1), MOST_PREDICTIONS / batches))

    def measure(self) -> None:
        """Take each figure once."""
        wait_for(self.device)
        started = time.perf_counter()
        self._predict(self.predictions)
        wait_for(self.device)
        seconds = time.perf_counter() - started
        self.network.append(self.predictions * self.batch_size / seconds)
        if not self.detector.uses_flow_images:
            self.pipeline.append(self._pipeline_fps())

    def _predict(self, batches: int) -> None:
        """So many batches from the middle of a video of 30 frames a second, with their boxes."""
        temporal = self.detector.temporal
        steps = 0
        if temporal:
            of_window_s = temporal.seconds_before + temporal.seconds_after
            steps = 1 + round(of_window_s / temporal.step_seconds)
        for _ in range(batches):
            predictions, self._state = self.detector.predict(self.clip, self._tasks(), self._state)
            for prediction in predictions:
                self._latest_step = prediction.step or self._latest_step
                window = [self._latest_step] * steps if self._latest_step else []
                self.detector.decode(prediction, window)

    def _tasks(self) -> list[PairTask]:
        """Of the next batch; every second frame is a backbone step."""
        numbers = range(self._frames, self._frames + self.batch_size)
        self._frames += self.batch_size
        streams = self.detector.temporal is not None
        return [
            PairTask(is_step=streams and n % 2 == 0, next_is_step=streams and n % 2 == 1)
            for n in numbers
        ]

    def _pipeline_fps(self) -> float:
        frames = self.predictions * self.batch_size
        plan = RunPlan(max_frames=frames, batch_size=self.batch_size)
        with tempfile.TemporaryDirectory() as folder:
            stem = self.video.stem
            job = VideoJob(self.video, self.video.name, Path(folder), stem, PurePosixPath(stem))
            started = time.perf_counter()
            events = process_video(job, DetectionWork(self.detector, plan), ("mp4", "csv"))
            frames = sum(isinstance(event, FrameDone) for event in events)
            seconds = time.perf_counter() - started
        return (frames + self._frames_behind(frames)) / seconds

    def _frames_behind(self, frames: int) -> int:
        """How many more frames than so many a run looks at, on which their boxes wait."""
        with VideoReader(self.video) as reader:
            info = reader.info
        behind = int(delay_s(self.detector.temporal, smooth=True) * info.fps)
        left = (info.promised_frames or frames) - frames
        return max(0, min(behind, left))

    def row(self, preset: str, weights: str) -> Throughput:
        """The medians."""
        return Throughput(
            preset=preset,
            weights=weights,
            detector=self.detector.description,
            input_size=self.detector.input_size,
            batch_size=self.batch_size,
            network=statistics.median(self.network),
            pipeline=statistics.median(self.pipeline) if self.pipeline else None,
        )
