"""Everything a training run needs, small enough for tests: two clips, 64 px, a few steps."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tests.small_detector import small_config, small_network
from tests.synthetic_video import square_xyxy, write_video
from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset, LabelledBox
from tubedet.datasets.batching import BatchShare, TrainingBatch, TrainingSamples
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.datasets.step_windows import StepWindows, WindowBatch
from tubedet.models.light.detector import LightDetector
from tubedet.models.presets import DetectorConfig, LightConfig
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.training.detection_objective import DetectionObjective
from tubedet.training.light_objective import LightObjective
from tubedet.training.loop import Trainer
from tubedet.training.objective import Event, StepDone
from tubedet.training.parameter_groups import detector_optimizer, freeze, tune
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
    """Six steps of two 64 px samples, saved after every third, without validation.

    `light` tunes all of its network from the fifth step on.
    """
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
        return LightRecipe(**{"flow_size": 64, "tune_steps": 2, **settings})
    return DetectionRecipe(preset=preset, **settings)


def small_trainer(
    data: AnnotatedDataset, folder: Path, recipe: DetectionRecipe, **parts: Any
) -> Trainer[TwoStreamDetector]:
    """A trainer on the CPU whose run lies in `folder`; `parts` replace arguments of `Trainer`."""
    config = small_config(recipe.preset)
    network = small_network(config)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if not isinstance(network, LightDetector):  # a run that goes on needs random numbers for it
        network.fusion.dropout = nn.Dropout(0.5)
        network.fusion.register_forward_pre_hook(lambda fusion, maps: (*map(fusion.dropout, maps),))
    freeze(network, recipe)
    samples = parts.pop("samples", None) or small_samples(data, recipe, KINDS[type(recipe)])
    arguments: dict[str, Any] = {
        "samples": samples,
        "run": RunFolder(folder),
        "publish": lambda path, network, measures: None,
        "loader_workers": 0,
        **parts,
    }
    optimizer = detector_optimizer(network, recipe)
    if not isinstance(recipe, LightRecipe):
        objective = DetectionObjective(config, recipe)
        return Trainer(network, optimizer, objective, recipe, **arguments)
    assert isinstance(network, LightDetector)
    network.fusion.dropout.p = 0.5
    tune(network, recipe, step=0)
    windows = small_objective(network, config, recipe, samples)
    arguments |= {
        "before_step": partial(tune, network, recipe),
        "kept": windows.start.state_dict(),
    }
    return Trainer(network, optimizer, windows, recipe, **arguments)


def small_objective(
    network: LightDetector, config: DetectorConfig, recipe: LightRecipe, samples: StepWindows
) -> LightObjective:
    """What `light` learns; spreads are measured on three windows."""
    assert isinstance(config, LightConfig)
    return LightObjective(
        config,
        recipe,
        network.rgb_stream.backbone,
        lambda: [samples.sample(number).steps for number in range(3)],
    )


def small_samples(data: AnnotatedDataset, recipe: DetectionRecipe, kind: Any) -> Any:
    """What a recipe draws from a data set, without a sampler or regions of its own.

    Args:
        kind: a class of `TrainingSamples` or `StepWindows`, or one made of them.
    """
    return kind(
        data,
        ClipFrames(),
        seed=recipe.seed,
        input_size=recipe.input_size,
        share=BatchShare(recipe.batch_size),
        recipe=augmentation_of(recipe),
    )


KINDS = {DetectionRecipe: TrainingSamples, LightRecipe: StepWindows}


class OneBatch(TrainingSamples):
    """The same batch of the first samples for ever."""

    def batch(self, step: int) -> TrainingBatch:
        """That of step 0."""
        return super().batch(0 * step)


class OneBatchOfWindows(StepWindows):
    """The same for windows."""

    def batch(self, step: int) -> WindowBatch:
        """That of step 0."""
        return super().batch(0 * step)


@contextmanager
def one_thread_of_torch() -> Iterator[None]:
    """Layers this small lose more by waiting for a second thread than they gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


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
