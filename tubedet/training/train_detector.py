"""From a recipe and a data set to a trainer that is ready to run: the set-up of a training run."""

from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tubedet.checkpoints.native import CheckpointHeader, save_checkpoint
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.augmentation import AugmentationRecipe
from tubedet.datasets.batching import TrainingSamples
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.datasets.ignore_regions import IgnoreRegions
from tubedet.errors import UsageError
from tubedet.evaluation.evaluate import ClipEvaluated, evaluate_detector
from tubedet.evaluation.scoring import EvaluationResult
from tubedet.models.presets import DetectorConfig
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.runtime.torch import TorchDetector, pick_device
from tubedet.training.detection_training import Trainer
from tubedet.training.recipes import Recipe
from tubedet.training.run_description import describe_data, describe_file, describe_program
from tubedet.training.run_folder import RunFolder
from tubedet.training.start_network import StartWeights, resumed_network, start_network


def prepare_training(
    recipe: Recipe,
    training: AnnotatedDataset,
    validation: AnnotatedDataset | None,
    run: RunFolder,
    *,
    start: StartWeights | None = None,
    frames_folder: Path | None = None,
    ignore_regions: Path | None = None,
    device: str = "auto",
    resume: bool = False,
) -> Trainer:
    """Build network, samples and trainer; no weight is trained yet.

    Args:
        recipe: all numbers of the run.
        training: clips to learn from.
        validation: clips that choose the best weights; None: the last ones are kept.
        run: where state and log go; config.json is written here.
        start: start weights; a resumed run has no use for them.
        frames_folder: where decoded frames are kept between runs; None: in memory.
        ignore_regions: JSON file of regions that show unlabelled bystanders.
        device: see `pick_device`.
        resume: go on from the state in `run`.

    Raises:
        UsageError: if the recipe fits no network, or a resumed run had other data.
        WeightsError: if start weights or the state cannot be read or do not fit.
        DatasetError: if a class has no clip.
        OutputError: if the folder cannot be written.
    """
    torch.manual_seed(recipe.seed)
    place, start = pick_device(device), start or StartWeights()
    samples = TrainingSamples(
        training,
        ClipFrames(frames_folder),
        seed=recipe.seed,
        recipe=AugmentationRecipe(background_chance=recipe.background_fraction),
        ignore_regions=IgnoreRegions.load(ignore_regions) if ignore_regions else None,
    )
    stored = run.read_config() if resume else {}
    if resume:
        config, network = resumed_network(recipe, stored["detector"])
    else:
        config, network = start_network(recipe, training, start)
    described = {
        **describe_program(),
        "recipe": recipe.to_dict(),
        "detector": config.to_dict(),
        "data": describe_data(training),
        "validation": describe_data(validation) if validation else None,
        "ignore_regions": describe_file(ignore_regions),
        "start": stored["start"] if resume else _describe_start(start),
    }
    _require_same_data(stored, described, run)
    network.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    validate = partial(_validate, validation, config, device) if validation else None
    publish = partial(_publish, run.best, described)
    trainer = Trainer(network, config, recipe, samples, run, publish=publish, validate=validate)
    if resume:
        trainer.resume()
    run.write_config(described)
    return trainer


def _describe_start(start: StartWeights) -> dict[str, Any]:
    return {
        "checkpoints": [describe_file(path) for path in start.checkpoints],
        "imagenet": describe_file(start.imagenet),
        "flow": describe_file(start.flow),
    }


def _require_same_data(stored: dict[str, Any], now: dict[str, Any], run: RunFolder) -> None:
    """Whoever goes on with other clips no longer knows what the weights were trained on."""
    for part in ("data", "ignore_regions"):
        if stored and stored[part] != now[part]:
            raise UsageError(
                f"{run.config}: this run has other {part.replace('_', ' ')}: resume with the same, "
                "or begin a new run with --init"
            )


def _validate(
    validation: AnnotatedDataset, config: DetectorConfig, device: str, network: TwoStreamDetector
) -> Iterator[ClipEvaluated | EvaluationResult]:
    # A detector takes its network over, and this one is still in training.
    return evaluate_detector(TorchDetector(deepcopy(network), config, device=device), validation)


def _publish(
    path: Path, described: dict[str, Any], network: TwoStreamDetector, f_map: dict[str, float]
) -> None:
    header = CheckpointHeader(
        config=described["detector"],
        recipe=described["recipe"],
        training_data_sha256=described["data"]["sha256"],
        git_revision=described["git_revision"],
        metrics={f"validation_f_map@{threshold}": value for threshold, value in f_map.items()},
    )
    save_checkpoint(path, network, header, torch.float16)
