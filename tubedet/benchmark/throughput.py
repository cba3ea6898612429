"""Frames a second of one detector: the network alone, and all from the file to the MP4."""

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from tubedet.benchmark.machine import wait_for
from tubedet.benchmark.stages import job_for
from tubedet.pipeline import process_video
from tubedet.run.detection import DetectionWork
from tubedet.run.events import FrameDone
from tubedet.run.plan import RunPlan
from tubedet.run.reach import delay_s
from tubedet.runtime.detector import Detector, PairTask, StepPrediction, StreamState
from tubedet.runtime.peak_memory import forget_peak_memory, peak_memory
from tubedet.video.reader import VideoReader

# A measurement lasts about so long where the network is quick, and one batch where it is not.
SECONDS = 2.0
MOST_PREDICTIONS = 200


@dataclass(frozen=True, slots=True)
class Throughput:
    """Medians over the rounds, in frames a second.

    `network` is predictions alone, `pipeline` all from the file to the annotated MP4 and its rows;
    None for `brox`, which needs stored flow of the video. `memory_bytes` is what the process, or on
    a GPU its tensors, took at most meanwhile; None where the system does not say.
    """

    preset: str
    weights: str
    detector: str
    input_size: int
    batch_size: int
    network: float
    pipeline: float | None
    memory_bytes: int | None


class Case:
    """One detector at one batch size, and what was measured of it so far."""

    def __init__(
        self, detector: Detector, batch_size: int, video: Path, device: torch.device
    ) -> None:
        self.detector, self.batch_size, self.video = detector, batch_size, video
        self.device = device
        self.clip = 255 * torch.rand(batch_size, 3, 2, detector.input_size, detector.input_size)
        self.network: list[float] = []
        self.pipeline: list[float] = []
        self.memory_bytes: list[int] = []
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
        forget_peak_memory(self.device)
        wait_for(self.device)
        started = time.perf_counter()
        self._predict(self.predictions)
        wait_for(self.device)
        seconds = time.perf_counter() - started
        self.network.append(self.predictions * self.batch_size / seconds)
        if not self.detector.uses_flow_images:
            self.pipeline.append(self._pipeline_fps())
        if (peak := peak_memory(self.device)) is not None:
            self.memory_bytes.append(peak)

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
            job = job_for(self.video, folder)
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
            memory_bytes=max(self.memory_bytes, default=None),
        )
