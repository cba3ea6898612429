"""Everything a training run needs, small enough for tests: two clips, 64 px, a few steps."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from tests.small_detector import small_config, small_network
from tests.synthetic_video import square_xyxy, write_video
from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset, LabelledBox
from tubedet.datasets.batching import TrainingBatch, TrainingSamples
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.training.detection_training import Trainer
from tubedet.training.events import Event, StepDone
from tubedet.training.recipes import Recipe
from tubedet.training.run_folder import RunFolder

FRAMES, WIDTH, HEIGHT = 6, 64, 48


def two_clips(folder: Path) -> AnnotatedDataset:
    """One clip of each of two classes; the actor is the white square."""
    clips = []
    for class_index, label in enumerate(("walk", "run")):
        path = write_video(folder / f"{label}.avi", frames=FRAMES, width=WIDTH, height=HEIGHT)
        squares = (square_xyxy(t, WIDTH, HEIGHT) for t in range(FRAMES))
        boxes = tuple((LabelledBox(class_index, square),) for square in squares)
        clips.append(AnnotatedClip(label, path, class_index, label, WIDTH, HEIGHT, boxes))
    return AnnotatedDataset("d", 1, "train", ("walk", "run"), tuple(clips))


def small_recipe(**changes: Any) -> Recipe:
    """Six steps of two 64 px samples, saved after every third, without validation."""
    settings: dict[str, Any] = {
        "input_size": 64,
        "flow_size": 64,
        "batch_size": 2,
        "steps": 6,
        "save_every": 3,
        "evaluate_every": 0,
        "warmup_steps": 2,
        "cooldown_steps": 2,
        "flow_rate": 1e-5,
    }
    return Recipe(**{**settings, **changes})


def small_trainer(
    data: AnnotatedDataset, folder: Path, recipe: Recipe, preset: str = "flownet2-sd", **parts: Any
) -> Trainer:
    """A trainer on the CPU whose run lies in `folder`; `parts` replace arguments of `Trainer`."""
    config = small_config(preset)
    network = small_network(config)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.fusion.dropout.p = 0.5
    arguments: dict[str, Any] = {
        "samples": TrainingSamples(data, ClipFrames(), seed=recipe.seed),
        "run": RunFolder(folder),
        "publish": lambda path, network, f_map: None,
        "validate": None,
        **parts,
    }
    return Trainer(network, config, recipe, **arguments)


class OneBatch(TrainingSamples):
    """The same batch of the first samples for ever."""

    def batches(
        self,
        input_size: int,
        batch_size: int,
        *,
        first_sample: int = 0,
        every: int | None = None,
        threads: int = 2,
    ) -> Iterator[TrainingBatch]:
        """Yield it."""
        batch = next(super().batches(input_size, batch_size))
        while True:
            yield batch


def steps_of(events: Iterator[Event], most: int | None = None) -> list[StepDone]:
    """All steps, or the first ones: the run is then left as a kill would leave it."""
    found: list[StepDone] = []
    for event in events:
        if isinstance(event, StepDone):
            found.append(event)
        if len(found) == most:
            break
    return found
