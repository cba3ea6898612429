"""The paper's Table IV for this machine, at batch 1 and 4, and where a frame's time goes."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from tubedet import __version__
from tubedet.benchmark.machine import memory_bytes
from tubedet.benchmark.preset_figures import FrameCost, PresetFigures
from tubedet.benchmark.throughput import Throughput
from tubedet.runtime.device_names import device_name, processor_name
from tubedet.runtime.torch import Precision, pick_device

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class RoundDone:
    """Progress: so many of all rounds are over."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Benchmark:
    """All figures and the machine.

    Attributes:
        created: when it ended, UTC, as ISO 8601 has it.
        tubedet_version: of this package.
        processor: by its maker's name.
        threads: of the processor.
        torch_version: with which CUDA.
        device: as PyTorch calls it.
        device_name: by its maker's name.
        memory_bytes: of a card, else None.
        peaks: GFLOP/s of a convolution on the device, by precision.
        memory_gb_per_s: of the device's memory while it is copied, 10^9 bytes read or written.
        rows: one a preset and batch size.
        costs: one a preset.
    """

    created: str
    tubedet_version: str
    processor: str
    threads: int
    torch_version: str
    device: str
    device_name: str
    memory_bytes: int | None
    peaks: dict[Precision, float]
    memory_gb_per_s: float
    rows: tuple[Throughput, ...]
    costs: tuple[FrameCost, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def benchmark_presets(
    video: Path,
    presets: Sequence[str],
    *,
    device: str = "auto",
    precision: str = "auto",
    compile: bool = False,
    runtime: str = "auto",
) -> Iterator[RoundDone | Benchmark]:
    """Measure some presets, yielding progress, and at the end the result.

    In every round what the machine can do and all figures of a preset are taken one after the
    other, so that what else the machine does meets them alike.

    Args:
        video: its first frames go through the pipeline.
        presets: names of `PRESETS`.
        device: see `pick_device`.
        precision: see `pick_precision`.
        compile: see `TorchDetector`.
        runtime: see `pick_runtime`.

    Raises:
        VideoError: if the file is no video.
        UsageError: if the device or the precision cannot be had.
    """
    place = pick_device(device)
    peaks: list[Mapping[Precision, float]] = []
    copied: list[float] = []
    rows: list[Throughput] = []
    costs: list[FrameCost] = []
    total, done = len(presets) * ROUNDS, 0
    for preset in presets:
        figures = PresetFigures(
            preset,
            video,
            place,
            device=device,
            precision=precision,
            compile=compile,
            runtime=runtime,
        )
        for _ in range(ROUNDS):
            figures.measure()
            done += 1
            yield RoundDone(done, total)
        peaks += figures.peaks
        copied += figures.memory_gb_per_s
        rows += figures.rows()
        costs.append(figures.cost())
    yield Benchmark(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        tubedet_version=__version__,
        processor=processor_name(),
        threads=torch.get_num_threads(),
        torch_version=torch.__version__,
        device=str(place),
        device_name=device_name(place),
        memory_bytes=memory_bytes(place),
        peaks={name: statistics.median(peak[name] for peak in peaks) for name in peaks[0]},
        memory_gb_per_s=statistics.median(copied),
        rows=tuple(rows),
        costs=tuple(costs),
    )
