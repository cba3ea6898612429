"""Where a frame's time goes: the stages of a run, each by itself, at batch 1."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from tubedet.benchmark.machine import wait_for
from tubedet.boxes import FloatArray
from tubedet.run.detection import DetectionWork
from tubedet.run.jobs import VideoJob
from tubedet.run.plan import RunPlan
from tubedet.run.video_run import VideoRun
from tubedet.runtime.detector import Detector
from tubedet.runtime.torch import a_core_left
from tubedet.video.reader import VideoReader
from tubedet.writers.mp4 import Mp4Writer
from tubedet.writers.writer import FrameResult

STAGES = ("decode", "resize", "flow", "streams", "boxes", "draw", "encode")
FRAMES = 24  # of the video, whose pictures are held: about as many as a run of `light` holds

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class StageTime:
    """A stage's milliseconds a frame, and its share in the sum of all, in [0, 1].

    `processor_ms` is what it takes of all processors together: more than `ms` where it keeps
    several busy, less where it waits.
    """

    stage: str
    ms: float
    processor_ms: float
    share: float


class Stages:
    """The stages of one detector's run over the first frames of a video.

    Each is the part of `DetectionWork` or the writer that a run uses, and goes over all frames
    before the next one begins, so that no other one is at work meanwhile:

    - `decode`: `VideoReader.frames`; opening the file is not counted.
    - `resize`: pairs, cuts if they are looked for, backbone steps, the network's pictures.
    - `flow`: the flow network alone, on the same pairs; not where it cannot be had alone.
    - `streams`: the network's whole prediction less `flow`, so everything else in it.
    - `boxes`: raw predictions decoded; boxes picked, smoothed and linked.
    - `draw`: boxes on the frame in its own size.
    - `encode`: MP4, with its end but without its beginning.

    Each may use all processors, but PyTorch leaves one out where a run does.

    Args:
        detector: one that makes its own flow.
        flow: its flow network: a clip (1, 3, 2, S, S) on the CPU → anything; None: it cannot be had
            alone.
        video: its first frames are used.
        device: of the detector.
        predictions: so many pairs go through the network, at most `FRAMES`; on further frames
            their boxes are drawn again.

    Attributes:
        fps: the video's nominal rate, known when it was measured; 0 before.
    """

    def __init__(
        self,
        detector: Detector,
        flow: Callable[[Tensor], object] | None,
        video: Path,
        device: torch.device,
        predictions: int,
    ) -> None:
        self._detector, self._flow = detector, flow
        self._video, self._device = video, device
        self._predictions = predictions
        self._seconds: dict[str, list[tuple[float, float]]] = {}  # by the clock, of processors
        self.fps = 0.0

    def measure(self) -> None:
        """Take the time of each stage once.

        Raises:
            VideoError: if the file is no video.
        """
        work = DetectionWork(self._detector, RunPlan(max_frames=FRAMES))
        with (
            tempfile.TemporaryDirectory() as folder,
            VideoReader(self._video) as reader,
            a_core_left(to_others=work.is_quick),
        ):
            info = reader.info
            self.fps = float(info.fps)
            frames = self._timed("decode", islice(reader.frames(), FRAMES))
            reach = work.reach(info)
            given = self._timed("resize", work.given(frames, reach))[: self._predictions]
            through_network = work.predicted(given, reach, with_pictures=True)
            predicted = self._timed("network", through_network)
            if self._flow is not None:
                clips = [inputs[None].float() for _, inputs in given if inputs is not None]
                self._timed("flow", map(self._flow, clips))
            results = self._timed("boxes", work.found(predicted, info))
            boxes = [result.found for result in results]
            shown = [FrameResult(frame, boxes[n % len(boxes)]) for n, frame in enumerate(frames)]
            drawn = self._timed("draw", map(work.drawn, shown))
            run = VideoRun(job_for(self._video, folder), reader, work)
            self._encode(Mp4Writer(run.target(spreadsheet_safe=False)), drawn)

    def times(self) -> tuple[StageTime, ...]:
        """Medians over the measurements, of which there is one at least."""
        ms = {stage: self._medians_ms(stage) for stage in self._seconds}
        # Where nearly all of the network is flow, the whole may by chance take less.
        ms["streams"] = np.maximum(0.0, ms.pop("network") - ms.get("flow", 0.0))
        whole = sum(alone for alone, _ in ms.values())
        return tuple(
            StageTime(stage, float(ms[stage][0]), float(ms[stage][1]), float(ms[stage][0] / whole))
            for stage in STAGES
            if stage in ms
        )

    def _medians_ms(self, stage: str) -> FloatArray:
        return 1000 * np.median(self._seconds[stage], axis=0)

    def _timed(self, stage: str, items: Iterable[Item]) -> list[Item]:
        """All items of an iterator; what one takes is noted."""
        wait_for(self._device)
        started, busy = time.perf_counter(), time.process_time()
        done = list(items)
        wait_for(self._device)
        seconds, of_processors = time.perf_counter() - started, time.process_time() - busy
        count = max(1, len(done))
        self._seconds.setdefault(stage, []).append((seconds / count, of_processors / count))
        return done

    def _encode(self, writer: Mp4Writer, drawn: Sequence[FrameResult]) -> None:
        try:
            writer.write(drawn[0])  # opens the source again, and the encoder
            self._timed("encode", _written(writer, drawn[1:]))
        finally:
            writer.abandon()


def least_ms(stages: Sequence[StageTime], threads: int) -> float:
    """Milliseconds a frame that a pipeline of these stages takes at least.

    All go on at the same time, but none is quicker than it is alone, and all share the processors.
    """
    return max(*(each.ms for each in stages), sum(each.processor_ms for each in stages) / threads)


def job_for(video: Path, folder: str) -> VideoJob:
    """The video on its way to a folder."""
    return VideoJob(video, video.name, Path(folder), video.stem, PurePosixPath(video.stem))


def _written(writer: Mp4Writer, results: Iterable[FrameResult]) -> Iterator[FrameResult]:
    for result in results:
        writer.write(result)
        yield result
    writer.close(complete=True)
