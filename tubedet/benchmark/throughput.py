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

from tubedet.benchmark.machine import convolution_peak, processor_name
from tubedet.checkpoints.catalog import catalog
from tubedet.labels import UCF101_24
from tubedet.models.presets import DetectorConfig, build_detector
from tubedet.models.yolov2.anchors import VOC_2016
from tubedet.pipeline import load_detector, process_video
from tubedet.run.detection import DetectionWork
from tubedet.run.events import FrameDone
from tubedet.run.jobs import VideoJob
from tubedet.run.plan import RunPlan
from tubedet.runtime.detector import Detector
from tubedet.runtime.torch import TorchDetector, pick_device

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
    """All rows and the machine; `peaks` are GFLOP/s of a convolution on the processor, by type."""

    processor: str
    threads: int
    torch_version: str
    device: str
    peaks: dict[str, float]
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
) -> Iterator[RoundDone | Benchmark]:
    """Measure some presets, yielding progress, and at the end the result.

    In every round the processor's peak and all figures of a preset are taken one after the other,
    so that what else the machine does meets them alike. `Detector.look` answers on the
    processor, so a GPU has finished when it returns.

    Args:
        video: its first frames go through the pipeline.
        presets: names of `PRESETS`.
        batch_sizes: pairs that the network sees at once.
        device: see `pick_device`.
        precision: see `pick_precision`.

    Raises:
        VideoError: if the file is no video.
        UsageError: if the device or the precision cannot be had.
    """
    peaks: list[tuple[float, float]] = []
    rows: list[Throughput] = []
    total, done = len(presets) * ROUNDS, 0
    for preset in presets:
        detector, weights = _detector(preset, device, precision)
        cases = [_Case(detector, size, video) for size in batch_sizes]
        for _ in range(ROUNDS):
            peaks.append((convolution_peak(torch.float32), convolution_peak(torch.bfloat16)))
            for case in cases:
                case.measure()
            done += 1
            yield RoundDone(done, total)
        rows += [case.row(preset, weights) for case in cases]
    fp32, bf16 = (statistics.median(each) for each in zip(*peaks, strict=True))
    yield Benchmark(
        processor=processor_name(),
        threads=torch.get_num_threads(),
        torch_version=torch.__version__,
        device=str(pick_device(device)),
        peaks={"fp32": fp32, "bf16": bf16},
        rows=tuple(rows),
    )


def _detector(preset: str, device: str, precision: str) -> tuple[Detector, str]:
    """The preset's network, and where its weights are from."""
    if any(entry.name == preset and entry.path for entry in catalog()):
        return load_detector(preset, device=device, precision=precision), "bundled"
    config = DetectorConfig(
        preset=preset, class_names=UCF101_24, anchors_wh=VOC_2016, input_size=320
    )
    network = build_detector(config)
    return TorchDetector(network, config, device=device, precision=precision), "random"


class _Case:
    """One detector at one batch size, and what was measured of it so far."""

    def __init__(self, detector: Detector, batch_size: int, video: Path) -> None:
        self.detector, self.batch_size, self.video = detector, batch_size, video
        self.clip = 255 * torch.rand(batch_size, 3, 2, detector.input_size, detector.input_size)
        self.network: list[float] = []
        self.pipeline: list[float] = []
        self._predict()  # the first one is slower: it is not counted
        started = time.perf_counter()
        self._predict()
        affordable = SECONDS / (time.perf_counter() - started)
        self.predictions = round(min(max(affordable, 1), MOST_PREDICTIONS))

    def measure(self) -> None:
        """Take each figure once."""
        started = time.perf_counter()
        for _ in range(self.predictions):
            self._predict()
        seconds = time.perf_counter() - started
        self.network.append(self.predictions * self.batch_size / seconds)
        if not self.detector.uses_flow_images:
            self.pipeline.append(self._pipeline_fps())

    def _predict(self) -> None:
        """One batch, every pair of it in the middle of a video."""
        for glimpse in self.detector.look(self.clip):
            self.detector.predict(glimpse, [glimpse] * (2 * self.detector.reach + 1))

    def _pipeline_fps(self) -> float:
        plan = RunPlan(max_frames=self.predictions * self.batch_size, batch_size=self.batch_size)
        with tempfile.TemporaryDirectory() as folder:
            stem = self.video.stem
            job = VideoJob(self.video, self.video.name, Path(folder), stem, PurePosixPath(stem))
            started = time.perf_counter()
            events = process_video(job, DetectionWork(self.detector, plan), ("mp4", "csv"))
            frames = sum(isinstance(event, FrameDone) for event in events)
            return frames / (time.perf_counter() - started)

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
