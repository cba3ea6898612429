"""Runs over small videos without a network, and what they leave, read back."""

import csv
import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.scripted_detector import ScriptedDetector, brightest_region
from tests.synthetic_video import write_video
from tubedet.models.yolov2.box_decoding import DecodedBoxes
from tubedet.pipeline import process_video
from tubedet.run.detection import DetectionWork
from tubedet.run.events import DiskNeeded, FrameDone, VideoDone
from tubedet.run.jobs import VideoJob
from tubedet.run.plan import RunPlan
from tubedet.run.stop import StopRequest
from tubedet.run.work import Work
from tubedet.runtime.detector import (
    PairPrediction,
    PairTask,
    StepPrediction,
    StreamState,
    TemporalReach,
)
from tubedet.writers.writer import FrameResult

CLASSES = ("walk", "run", "jump")
LOSSLESS = {"preset": "veryfast", "qp": "0"}
LAST_ACTOR_LEAVES = 10  # so a tube ends before a short video does
# So that there are frames on which nothing depends.
SHORT = TemporalReach(step_seconds=1 / 15, state_steps=3, seconds_before=0.2, seconds_after=0.15)
SIDE = 96  # of the telling video's pictures in the network's eyes: 2 px a frame, as in the video


def telling_video(path: Path, *, frames: int = 24, **options: Any) -> Path:
    """A video that tells `TellingDetector` the numbers of its frames, the first 81.

    The square stands at x = 2 · frame modulo 81, and no encoder moves its edges.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {"options": LOSSLESS, **options}
    return write_video(path, frames=frames, width=SIDE, height=64, **settings)


def write_pictures(
    path: Path, pictures: Sequence[NDArray[np.uint8]], options: Mapping[str, str] | None = None
) -> Path:
    """A telling video of these pictures, (64, SIDE) RGB, at 30 frames a second."""
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = SIDE, 64, "yuv444p"
        stream.options = dict(options or LOSSLESS)
        for picture in pictures:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        output.mux(stream.encode(None))
    return path


def inverted(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """All but the square of a picture, which stays the brightest."""
    is_square = (rgb == 255).all(axis=-1, keepdims=True)
    return np.where(is_square, rgb, 230 - np.minimum(rgb, 230)).astype(np.uint8)


class TellingDetector(ScriptedDetector):
    """Finds boxes that depend on the frame's number and, with `temporal`, on what that allows.

    Three actors walk about, are missed now and then, and change what they do. With `temporal` all
    depends on the steps in a frame's context window, and on those that have a say in the state.
    `looked` are the frames that the network was shown: of a pair, the first, so the last frame
    comes as the one before it.
    """

    def __init__(
        self,
        temporal: TemporalReach | None = None,
        description: str = "telling",
        min_score: float = 0.3,
    ) -> None:
        super().__init__(class_names=CLASSES, input_size=SIDE, min_score=min_score)
        self.temporal = temporal
        self.description = description
        self.looked: list[int] = []

    def predict(
        self, clip: Tensor, tasks: Sequence[PairTask], state: StreamState | None = None
    ) -> tuple[list[PairPrediction], StreamState | None]:
        self.batch_sizes.append(len(clip))
        numbers = [number_of(pair[:, 0]) for pair in clip]
        self.looked += numbers
        if self.temporal is None:
            return [PairPrediction(torch.tensor([number])) for number in numbers], None
        kept = self.temporal.state_steps + 1
        steps = [int(step) for step in state[0]] if state else [numbers[0]]
        predictions = []
        for pair, number, task in zip(clip, numbers, tasks, strict=True):
            own = torch.tensor([number, *steps[-kept:]])
            if task.next_is_step:
                steps.append(number_of(pair[:, 1]))
            raw = torch.tensor([number, *steps[-kept:]])
            step = StepPrediction(own, own) if task.is_step else None
            predictions.append(PairPrediction(raw if task.boxes else None, step))
        return predictions, (torch.tensor(steps[-kept:]),)

    def decode(
        self, prediction: PairPrediction, window: Sequence[StepPrediction] = ()
    ) -> DecodedBoxes:
        assert prediction.raw is not None
        number = int(prediction.raw[0])
        around = [each.logits for each in window]
        random = np.random.default_rng(torch.cat([prediction.raw, *around]).tolist())
        seen = [actor for actor in range(3) if random.random() < 0.8]
        boxes = [
            self._box(actor, number, random)
            for actor in seen
            if actor < 2 or number < LAST_ACTOR_LEAVES
        ]
        boxes = boxes or [(0.0, 0.0, 0.0, 0.0)]
        overlap = random.uniform(0.4, 1.0, len(boxes))
        class_prob = random.dirichlet((0.7,) * len(CLASSES), len(boxes))
        of_frame = (
            torch.tensor(each, dtype=torch.float32) for each in (boxes, overlap, class_prob)
        )
        return DecodedBoxes(*(each[None] for each in of_frame))

    def _box(
        self, actor: int, number: int, random: np.random.Generator
    ) -> tuple[float, float, float, float]:
        x = 0.1 + 0.2 * actor + 0.01 * number + random.uniform(0, 0.01)
        y = 0.2 + random.uniform(0, 0.01)
        return (x, y, x + 0.15, y + 0.5)


def number_of(rgb: Tensor) -> int:
    """The number of a frame (3, SIDE, SIDE) of a telling video."""
    x = round(brightest_region(rgb)[0].x1 * SIDE)
    return x * 41 % 81  # 2 · 41 = 1 modulo 81


def job_of(video: Path, folder: Path | None = None) -> VideoJob:
    """The video on its way to a folder, `out` beside it if none is named."""
    out = folder or video.parent / "out"
    return VideoJob(video, video.name, out, video.stem, PurePosixPath(video.stem))


def run(
    job: VideoJob,
    work: Work,
    formats: Sequence[str] = ("mp4", "csv"),
    *,
    after: int | None = None,
    **options: Any,
) -> VideoDone:
    """Process a video, and stop after so many frames."""
    stop = StopRequest(asked=after == 0)
    done: VideoDone | None = None
    numbers = count(1)
    for event in process_video(job, work, formats, stop=stop, **options):
        if isinstance(event, FrameDone) and next(numbers) == after:
            stop.asked = True
        done = event if isinstance(event, VideoDone) else done
    assert done is not None
    return done


def ending(
    job: VideoJob, work: Work, formats: Sequence[str], error: type[BaseException]
) -> tuple[BaseException, list[DiskNeeded | FrameDone | VideoDone]]:
    """The error with which a run ends, and the events before it."""
    events = []
    try:
        for event in process_video(job, work, formats):
            events.append(event)
    except error as ended_by:
        return ended_by, events
    raise AssertionError(f"expected {error.__name__}, found a run that ended well")


class WorkThatFails(DetectionWork):
    """Raises instead of the result of the frame with this number."""

    def __init__(self, error: BaseException, at: int, **options: Any) -> None:
        detector = options.pop("detector", None) or TellingDetector()
        super().__init__(detector, options.pop("plan", None) or RunPlan(), **options)
        self._error, self._at = error, at

    def results(self, *arguments: Any, **options: Any) -> Generator[FrameResult]:
        for result in super().results(*arguments, **options):
            if result.frame.frame == self._at:
                raise self._error
            yield result


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, every cell as text."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def meta_of(path: Path) -> dict[str, Any]:
    """What a meta file says."""
    told = json.loads(path.read_text("utf-8"))
    assert isinstance(told, dict)
    return told


def names_in(folder: Path) -> list[str]:
    """All files and empty folders below a folder, hidden ones too; none if it is not there."""
    if not folder.exists():
        return []
    found = (path for path in folder.rglob("*") if path.is_file() or not any(path.iterdir()))
    return sorted(path.relative_to(folder).as_posix() for path in found)


def pictures_of(path: Path) -> list[NDArray[np.uint8]]:
    """Every picture of a video."""
    with av.open(str(path)) as container:
        decoded = container.decode(video=0)
        return [np.asarray(each.to_ndarray(format="rgb24"), np.uint8) for each in decoded]


def times_of(path: Path) -> list[Fraction]:
    """The time of every picture, in seconds."""
    with av.open(str(path)) as container:
        return [
            (each.pts or 0) * Fraction(each.time_base or 0) for each in container.decode(video=0)
        ]


def sound_of(path: Path) -> NDArray[np.float32]:
    """The samples of the first audio track (channels, samples)."""
    with av.open(str(path)) as container:
        return np.concatenate([each.to_ndarray() for each in container.decode(audio=0)], axis=-1)


def renamed(job: VideoJob, folder: Path) -> VideoJob:
    """The same video on its way to another folder."""
    return replace(job, folder=folder)
