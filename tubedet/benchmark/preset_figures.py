"""All figures of one preset.

Speed does not depend on what a network has learned: presets without bundled weights are measured
with random ones, at the paper's 320x320 px and for its 24 classes.
"""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tubedet.benchmark.machine import convolution_peaks, memory_bandwidth
from tubedet.benchmark.network_cost import gflop_a_frame
from tubedet.benchmark.stages import FRAMES, Stages, StageTime, least_ms
from tubedet.benchmark.throughput import Case, Throughput
from tubedet.checkpoints.catalog import catalog, resolve_weights
from tubedet.checkpoints.native import load_checkpoint
from tubedet.labels import UCF101_24
from tubedet.models.presets import DetectorConfig, LightConfig, build_detector, config_from_dict
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.models.yolov2.anchors import VOC_2016
from tubedet.pipeline import DETECTORS
from tubedet.run.reach import delay_s
from tubedet.runtime.compiled import CompiledForward
from tubedet.runtime.onnx_detector import pick_runtime
from tubedet.runtime.onnx_graphs import write_graphs
from tubedet.runtime.torch import DTYPES, Precision, autocast

BATCH_SIZES = (1, 4)  # the paper's


@dataclass(frozen=True, slots=True)
class FrameCost:
    """Where a frame's time goes at batch 1, and how near that is to what the machine can do.

    Attributes:
        preset: its name.
        gflop: of the network, see `gflop_a_frame`.
        of_peak: the network's GFLOP/s, alone, over the convolution peak in its precision; None if
            that is not measured.
        delay_frames: so many frames of the video after a frame its boxes wait for,
        delay_s: and so many seconds.
        stages: of a run, see `Stages`; none for `brox`, which has no pipeline.
        least_ms: what a pipeline of these stages takes at least a frame, see `least_ms`.
        overlap: what the pipeline takes over `least_ms`: 1 if its stages overlap as they can. It
            also opens and ends its files, which in a benchmark's short run counts.
    """

    preset: str
    gflop: float
    of_peak: float | None
    delay_frames: int
    delay_s: float
    stages: tuple[StageTime, ...]
    least_ms: float | None
    overlap: float | None


class PresetFigures:
    """What was measured of a preset so far, and of the machine meanwhile.

    Args:
        name: one of `PRESETS`.
        video: its first frames go through the pipeline.
        place: the device that is waited for and measured.
        device, precision, compile: see `TorchDetector`.
        runtime: see `pick_runtime`.

    Attributes:
        peaks: GFLOP/s of a convolution by precision, of each round.
        memory_gb_per_s: see `memory_bandwidth`, of each round.
    """

    def __init__(
        self,
        name: str,
        video: Path,
        place: torch.device,
        *,
        device: str,
        precision: str,
        compile: bool,
        runtime: str,
    ) -> None:
        network, self._config, self._weights, min_score = _network(name)
        how: dict[str, Any] = {"device": device, "precision": precision, "compile": compile}
        chosen = pick_runtime(runtime, self._config, **how)
        kind = DETECTORS[chosen, isinstance(self._config, LightConfig)]
        with TemporaryDirectory() as folder:
            if chosen == "onnx":
                write_graphs(network, self._config.input_size, Path(folder), {})
                how = {"graphs": Path(folder)}
            self._detector = kind(network, self._config, min_score=min_score, **how)
        self._place = place
        self._cases = [Case(self._detector, size, video, place) for size in BATCH_SIZES]
        self._stages: Stages | None = None
        if not self._detector.uses_flow_images:
            flow = None
            if chosen == "torch":  # in ONNX flow is a part of a graph
                flow = flow_alone(network, self._detector.precision, place, compile=compile)
            predictions = min(FRAMES, self._cases[0].predictions)
            self._stages = Stages(self._detector, flow, video, place, predictions)
        self.peaks: list[Mapping[Precision, float]] = []
        self.memory_gb_per_s: list[float] = []

    def measure(self) -> None:
        """Take each figure once, one after the other.

        Raises:
            VideoError: if the file is no video.
        """
        self.peaks.append(convolution_peaks(self._place))
        self.memory_gb_per_s.append(memory_bandwidth(self._place))
        for case in self._cases:
            case.measure()
        if self._stages:
            self._stages.measure()

    def rows(self) -> list[Throughput]:
        """Frames a second, one row a batch size."""
        return [case.row(self._config.preset, self._weights) for case in self._cases]

    def cost(self) -> FrameCost:
        """A frame's cost at batch 1."""
        times = self._stages.times() if self._stages else ()
        least = least_ms(times, torch.get_num_threads()) if times else None
        pipeline = self.rows()[0].pipeline
        waits_s = delay_s(self._detector.temporal, smooth=True)
        gflop = gflop_a_frame(self._config)
        return FrameCost(
            preset=self._config.preset,
            gflop=gflop,
            of_peak=self._of_peak(gflop),
            delay_frames=int(waits_s * self._stages.fps) if self._stages else 0,
            delay_s=waits_s,
            stages=times,
            least_ms=least,
            overlap=1000 / pipeline / least if pipeline and least else None,
        )

    def _of_peak(self, gflop: float) -> float | None:
        for precision in DTYPES:
            if precision == self._detector.precision and precision in self.peaks[0]:
                rounds = zip(self._cases[0].network, self.peaks, strict=True)
                return statistics.median(gflop * fps / peak[precision] for fps, peak in rounds)
        return None


class _Network(NamedTuple):
    network: TwoStreamDetector
    config: DetectorConfig
    weights: str
    min_score: float | None


def _network(name: str) -> _Network:
    """The preset's network with its bundled weights, or else with random ones."""
    if any(entry.name == name and entry.path for entry in catalog()):
        network, header = load_checkpoint(resolve_weights(name))
        return _Network(network, config_from_dict(header.config), "bundled", header.min_score)
    config = config_from_dict(
        {"preset": name, "class_names": UCF101_24, "anchors_wh": VOC_2016, "input_size": 320}
    )
    return _Network(build_detector(config), config, "random", None)


def flow_alone(
    network: TwoStreamDetector, precision: Precision, device: torch.device, *, compile: bool
) -> Callable[[Tensor], object] | None:
    """The flow network of a detector that has taken the whole over, run as it is in that.

    From a clip (B, 3, 2, S, S) on the CPU; None if there is none.
    """
    if network.flow is None:
        return None
    forward: Callable[[Tensor], object] = network.flow
    if compile:
        forward = CompiledForward(network.flow, device)

    def flow(clip: Tensor) -> object:
        with torch.inference_mode(), autocast(device, precision):
            return forward(clip.to(device))

    return flow
