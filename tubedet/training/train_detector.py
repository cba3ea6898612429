"""From a recipe and a data set to a trainer that is ready to run: the set-up of a training run."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tubedet.checkpoints.native import read_header, save_checkpoint
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.augmentation import PAPER_AUGMENTATION, AugmentationRecipe
from tubedet.datasets.batching import TrainingSamples
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.datasets.flow_images import FlowImages
from tubedet.datasets.frame_pair_sampling import FramePairSampler, SequenceSampler
from tubedet.datasets.ignore_regions import IgnoreRegions
from tubedet.datasets.kinetics import KineticsDataset
from tubedet.datasets.kinetics_samples import KineticsSamples
from tubedet.errors import UsageError
from tubedet.evaluation.evaluate import ClipEvaluated, evaluate_detector
from tubedet.evaluation.scoring import EvaluationResult
from tubedet.models.presets import DetectorConfig
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.runtime.torch import TorchDetector, pick_device
from tubedet.training.detection_training import Trainer, Validate
from tubedet.training.distributed import Processes, share_batch_norm
from tubedet.training.kinetics_pretraining import (
    RecognitionObjective,
    publish_start_weights,
    recognise,
)
from tubedet.training.recipes import Recipe
from tubedet.training.run_description import (
    checkpoint_header,
    describe_data,
    describe_file,
    describe_program,
)
from tubedet.training.run_folder import RunFolder
from tubedet.training.start_network import StartWeights, resumed_network, start_network
from tubedet.video.preprocess import require_flow_images

Data = AnnotatedDataset | KineticsDataset


def prepare_training(
    recipe: Recipe,
    training: Data,
    validation: Data | None,
    run: RunFolder,
    *,
    start: StartWeights | None = None,
    frames_folder: Path | None = None,
    ignore_regions: Path | None = None,
    flow_images: Path | None = None,
    device: str = "auto",
    resume: bool = False,
    processes: Processes | None = None,
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
        flow_images: folder of stored flow, for the `brox` preset alone.
        device: see `pick_device`.
        resume: go on from the state in `run`.
        processes: those that train together.

    Raises:
        UsageError: if the recipe fits no network, data or number of processes, or a resumed run
            had other data.
        WeightsError: if start weights or the state cannot be read or do not fit.
        DatasetError: if a class has no clip.
        OutputError: if the folder cannot be written.
    """
    torch.manual_seed(recipe.seed)
    place, start, processes = pick_device(device), start or StartWeights(), processes or Processes()
    _require_fitting(recipe, training, processes, ignore_regions)
    stored = run.read_config() if resume else {}
    if resume:
        config, network = resumed_network(recipe, stored["detector"])
    else:
        config, network = start_network(recipe, training, start)
    _require_flow(recipe, flow_images)
    samples = _samples(recipe, training, frames_folder, ignore_regions, flow_images)
    described = {
        **describe_program(),
        "recipe": recipe.to_dict(),
        "detector": config.to_dict(),
        "data": describe_data(training),
        "validation": describe_data(validation) if validation else None,
        "ignore_regions": describe_file(ignore_regions),
        "start": stored["start"] if resume else _describe_start(start),
        "processes": processes.count,
    }
    _require_same_data(stored, described, run)
    share_batch_norm(network, processes, place)
    network.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    recognises = recipe.task == "recognition"
    publish = publish_start_weights if recognises else _publish
    trainer = Trainer(
        network,
        config,
        recipe,
        samples,
        run,
        publish=partial(publish, described) if run.writes else _leave_it,
        validate=_validation(validation, config, device, flow_images),
        objective=RecognitionObjective() if recognises else None,
        processes=processes,
    )
    if resume:
        trainer.resume()
    run.write_config(described)
    return trainer


def _require_fitting(
    recipe: Recipe, training: Data, processes: Processes, ignore_regions: Path | None
) -> None:
    """Refuse what contradicts itself, before anything large is read."""
    parts = processes.count * recipe.accumulation
    if recipe.batch_size % parts:
        raise UsageError(
            f"batch_size={recipe.batch_size}: expected a multiple of {parts}, accumulation times "
            "the number of processes"
        )
    if isinstance(training, KineticsDataset) != (recipe.task == "recognition"):
        raise UsageError(
            f"recipe {recipe.name} learns {recipe.task}, which {training.name} is not for"
        )
    if ignore_regions is not None and recipe.loss != "giou":
        raise UsageError(f"loss={recipe.loss} knows no ignore regions: leave {ignore_regions} out")


def _require_flow(recipe: Recipe, flow_images: Path | None) -> None:
    """Flow is either read or estimated."""
    if recipe.preset == "brox" and flow_images is None:
        raise UsageError("preset brox reads stored flow: give --flow-images FOLDER")
    if recipe.preset != "brox" and flow_images is not None:
        raise UsageError(f"preset {recipe.preset} makes its own flow: leave --flow-images out")
    require_flow_images(flow_images)


def _samples(
    recipe: Recipe,
    training: Data,
    frames_folder: Path | None,
    ignore_regions: Path | None,
    flow_images: Path | None,
) -> TrainingSamples | KineticsSamples:
    if isinstance(training, KineticsDataset):
        return KineticsSamples(training, seed=recipe.seed, recipe=augmentation_of(recipe))
    return TrainingSamples(
        training,
        ClipFrames(frames_folder),
        seed=recipe.seed,
        recipe=augmentation_of(recipe),
        ignore_regions=IgnoreRegions.load(ignore_regions) if ignore_regions else None,
        sampler=_sampler_of(recipe, training),
        flow_images=FlowImages(flow_images) if flow_images else None,
    )


def augmentation_of(recipe: Recipe) -> AugmentationRecipe:
    """How strongly a recipe changes its samples."""
    chosen = PAPER_AUGMENTATION if recipe.augmentation == "paper" else AugmentationRecipe()
    return replace(chosen, background_chance=recipe.background_fraction)


def _sampler_of(recipe: Recipe, training: AnnotatedDataset) -> FramePairSampler | SequenceSampler:
    if recipe.sampling == "sequence":
        return SequenceSampler(training, seed=recipe.seed)
    return FramePairSampler(training)


def _describe_start(start: StartWeights) -> dict[str, Any]:
    headers = [read_header(path) for path in start.checkpoints]
    licences = sorted({header.licence for header in headers if header.licence})
    return {
        "licence": " AND ".join(licences) or None,
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


def _validation(
    validation: Data | None, config: DetectorConfig, device: str, flow_images: Path | None
) -> Validate | None:
    """What measures a network on the validation part."""
    if validation is None:
        return None
    if isinstance(validation, KineticsDataset):
        return partial(recognise, validation, config.input_size)

    def detect(network: TwoStreamDetector) -> Iterator[ClipEvaluated | EvaluationResult]:
        # A detector takes its network over, and this one is still in training.
        detector = TorchDetector(deepcopy(network), config, device=device)
        return evaluate_detector(detector, validation, flow_images=flow_images)

    return detect


def _leave_it(path: Path, network: TwoStreamDetector, measures: dict[str, float]) -> None:
    """What a run publishes that does not write: nothing."""


def _publish(
    described: dict[str, Any], path: Path, network: TwoStreamDetector, f_map: dict[str, float]
) -> None:
    measures = {f"f_map@{threshold}": value for threshold, value in f_map.items()}
    save_checkpoint(path, network, checkpoint_header(described, measures), torch.float16)
