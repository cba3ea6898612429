"""Everything a training run needs, small enough for tests: two clips, 64 px, a few steps."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tests.small_detector import small_config, small_network
from tests.synthetic_video import square_xyxy, write_video
from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset, LabelledBox
from tubedet.datasets.batching import BatchShare, TrainingBatch, TrainingSamples
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.models.light.detector import LightDetector
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.training.detection_objective import DetectionObjective
from tubedet.training.loop import Trainer
from tubedet.training.objective import Event, StepDone
from tubedet.training.parameter_groups import detector_optimizer, freeze
from tubedet.training.recipes import DetectionRecipe, LightRecipe
from tubedet.training.run_folder import RunFolder
from tubedet.training.train_detector import augmentation_of

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


def small_recipe(preset: str = "light", **changes: Any) -> DetectionRecipe:
    """Six steps of two 64 px samples, saved after every third, without validation."""
    settings: dict[str, Any] = {
        "input_size": 64,
        "batch_size": 2,
        "steps": 6,
        "save_every": 3,
        "evaluate_every": 0,
        "warmup_steps": 2,
        "cooldown_steps": 2,
        "flow_rate": 1e-5,
        **changes,
    }
    if preset == "light":
        return LightRecipe(**{"flow_size": 64, **settings})
    return DetectionRecipe(preset=preset, **settings)


def small_trainer(
    data: AnnotatedDataset, folder: Path, recipe: DetectionRecipe, **parts: Any
) -> Trainer[TwoStreamDetector]:
    """A trainer on the CPU whose run lies in `folder`; `parts` replace arguments of `Trainer`."""
    config = small_config(recipe.preset)
    network = small_network(config)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if isinstance(network, LightDetector):
        network.fusion.dropout.p = 0.5
    else:  # so that a run that goes on has random numbers to go on with
        network.fusion.dropout = nn.Dropout(0.5)
        network.fusion.register_forward_pre_hook(lambda fusion, maps: (*map(fusion.dropout, maps),))
    freeze(network, recipe)
    arguments: dict[str, Any] = {
        "samples": small_samples(data, recipe),
        "run": RunFolder(folder),
        "publish": lambda path, network, measures: None,
        "loader_workers": 0,
        **parts,
    }
    objective = DetectionObjective(config, recipe)
    return Trainer(network, detector_optimizer(network, recipe), objective, recipe, **arguments)


def small_samples(
    data: AnnotatedDataset, recipe: DetectionRecipe, kind: type[TrainingSamples] = TrainingSamples
) -> TrainingSamples:
    """What a recipe draws from a data set, without a sampler or regions of its own."""
    return kind(
        data,
        ClipFrames(),
        seed=recipe.seed,
        input_size=recipe.input_size,
        share=BatchShare(recipe.batch_size),
        recipe=augmentation_of(recipe),
    )


class OneBatch(TrainingSamples):
    """The same batch of the first samples for ever."""

    def batch(self, step: int) -> TrainingBatch:
        """That of step 0."""
        return super().batch(0 * step)


def save(trainer: Trainer[TwoStreamDetector]) -> None:
    """Save its state, and wait until it is there."""
    trainer.save()
    trainer.run.flush()


def steps_of(events: Iterator[Event], most: int | None = None) -> list[StepDone]:
    """All steps, or the first ones: the run is then left as a kill would leave it."""
    found: list[StepDone] = []
    for event in events:
        if isinstance(event, StepDone):
            found.append(event)
        if len(found) == most:
            break
    return found
