"""From a recipe and a data set to a trainer that is ready to run: the set-up of a training run."""

from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tubedet.checkpoints.native import FUSED_HEAD, save_checkpoint
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.augmentation import AugmentationRecipe
from tubedet.datasets.batching import BatchShare, TrainingSamples
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.datasets.flow_images import FlowImages
from tubedet.datasets.frame_pair_sampling import FramePairSampler, SequenceSampler
from tubedet.datasets.ignore_regions import IgnoreRegions
from tubedet.datasets.kinetics import KineticsDataset
from tubedet.datasets.kinetics_samples import KineticsSamples
from tubedet.datasets.step_windows import StepWindows
from tubedet.errors import UsageError, WeightsError
from tubedet.models.light.detector import LightDetector
from tubedet.models.presets import DetectorConfig, LightConfig
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.runtime.torch import pick_device
from tubedet.training.detection_objective import DetectionObjective, detection_validation
from tubedet.training.distributed import Processes, share_batch_norm
from tubedet.training.light_objective import LightObjective
from tubedet.training.loop import Trainer
from tubedet.training.objective import Objective, Validation
from tubedet.training.parameter_groups import detector_optimizer, freeze, tune
from tubedet.training.recipes import DetectionRecipe, LightRecipe, Recipe
from tubedet.training.recognition_objective import RecognitionObjective, recognition_validation
from tubedet.training.run_description import (
    checkpoint_header,
    describe_data,
    describe_file,
    describe_program,
    describe_start,
)
from tubedet.training.run_folder import RunFolder
from tubedet.training.start_network import Data, StartWeights, resumed_network, start_network
from tubedet.video.preprocess import require_flow_images

MEASURED_WINDOWS = 48  # for the spread of the start's features
Samples = TrainingSamples | StepWindows | KineticsSamples


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
    loader_workers: int | None = None,
) -> Trainer[TwoStreamDetector]:
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
        loader_workers: processes that make batches for this one; 0: it makes them itself; None:
            `default_loader_workers`.

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
    _require_flow(recipe, flow_images)
    stored = run.read_config() if resume else {}
    if resume:
        _require_complete(stored, run)
        config, network = resumed_network(recipe, stored["detector"])
    else:
        config, network = start_network(recipe, training, start)
    share = BatchShare(recipe.batch_size, processes.rank, processes.count)
    samples = _samples(
        recipe,
        training,
        share,
        frames=ClipFrames(frames_folder),
        ignore_regions=IgnoreRegions.load(ignore_regions) if ignore_regions else None,
        flow_images=FlowImages(flow_images) if flow_images else None,
    )
    described = {
        **describe_program(),
        "recipe": recipe.to_dict(),
        "detector": config.to_dict(),
        "data": describe_data(training),
        "validation": describe_data(validation) if validation else None,
        "ignore_regions": describe_file(ignore_regions),
        "start": stored["start"] if resume else describe_start(start),
        "processes": processes.count,
    }
    _require_same_data(stored, described, run)
    share_batch_norm(network, processes, place)
    network.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    freeze(network, recipe)
    optimizer = detector_optimizer(network, recipe)
    objective, by_phase = _objective(config, recipe, network, samples)
    trainer = Trainer(
        network,
        optimizer,
        objective,
        recipe,
        samples=samples,
        run=run,
        publish=partial(_publish, described, recipe),
        validation=_validation(validation, config, recipe, device, flow_images),
        **by_phase,
        processes=processes,
        loader_workers=loader_workers,
    )
    if resume:
        trainer.resume()
    run.write_config(described)
    return trainer


def _objective(
    config: DetectorConfig, recipe: Recipe, network: TwoStreamDetector, samples: Samples
) -> tuple[Objective[Any], dict[str, Any]]:
    """What is learned, and what the trainer is told of its phases; the network is in the first."""
    if not isinstance(recipe, DetectionRecipe):
        return RecognitionObjective(), {}
    if not isinstance(recipe, LightRecipe):
        return DetectionObjective(config, recipe), {}
    assert isinstance(network, LightDetector)
    assert isinstance(config, LightConfig)
    assert isinstance(samples, StepWindows)
    tune(network, recipe, step=0)
    objective = LightObjective(
        config,
        recipe,
        network.rgb_stream.backbone,
        lambda: (samples.sample(number).steps for number in range(MEASURED_WINDOWS)),
    )
    return objective, {
        "before_step": partial(tune, network, recipe),
        "kept": objective.start.state_dict(),
    }


def _require_fitting(
    recipe: Recipe, training: Data, processes: Processes, ignore_regions: Path | None
) -> None:
    """Refuse what contradicts itself, before anything large is read."""
    processes.require_equal_parts(recipe)
    if isinstance(training, KineticsDataset) != (recipe.task == "recognition"):
        raise UsageError(
            f"recipe {recipe.name} learns {recipe.task}, which {training.name} is not for"
        )
    if isinstance(training, AnnotatedDataset) and isinstance(recipe, LightRecipe):
        training.require_every_class()  # of which its action layers are fitted in the end
    loss = recipe.loss if isinstance(recipe, DetectionRecipe) else "cross-entropy"
    if ignore_regions is not None and loss != "giou":
        raise UsageError(f"loss={loss} knows no ignore regions: leave {ignore_regions} out")


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
    share: BatchShare,
    *,
    frames: ClipFrames,
    **regions_and_flow: Any,
) -> Samples:
    drawn: dict[str, Any] = {
        "seed": recipe.seed,
        "input_size": recipe.input_size,
        "share": share,
        "recipe": augmentation_of(recipe),
    }
    if isinstance(training, KineticsDataset):
        return KineticsSamples(training, **drawn)
    in_turn = isinstance(recipe, DetectionRecipe) and recipe.sampling == "sequence"
    sampler = SequenceSampler(training, seed=recipe.seed) if in_turn else FramePairSampler(training)
    if isinstance(recipe, LightRecipe):
        del regions_and_flow["flow_images"]
        drawn |= {"judged": recipe.judged, "recent": recipe.grad_steps}
        return StepWindows(training, frames, sampler=sampler, **drawn, **regions_and_flow)
    return TrainingSamples(training, frames, sampler=sampler, **drawn, **regions_and_flow)


def augmentation_of(recipe: Recipe) -> AugmentationRecipe:
    """How strongly a recipe changes its samples: settings of one name; it does nothing else."""
    names = [field.name for field in fields(AugmentationRecipe) if hasattr(recipe, field.name)]
    return AugmentationRecipe(**{name: getattr(recipe, name) for name in names})


STORED = ("recipe", "detector", "data", "ignore_regions", "start")  # in config.json


def _require_complete(stored: dict[str, Any], run: RunFolder) -> None:
    if absent := [key for key in STORED if key not in stored]:
        raise WeightsError(
            f"{run.config}: expected the settings of a run, found none of {', '.join(absent)}; "
            "start without --resume"
        )


def _require_same_data(stored: dict[str, Any], now: dict[str, Any], run: RunFolder) -> None:
    """Whoever goes on with other clips no longer knows what the weights were trained on."""
    for part in ("data", "ignore_regions"):
        if stored and stored[part] != now[part]:
            raise UsageError(
                f"{run.config}: this run has other {part.replace('_', ' ')}: resume with the same, "
                "or begin a new run with --init"
            )


def _validation(
    validation: Data | None,
    config: DetectorConfig,
    recipe: Recipe,
    device: str,
    flow_images: Path | None,
) -> Validation | None:
    if validation is None:
        return None
    if isinstance(validation, KineticsDataset):
        return recognition_validation(validation, config.input_size)
    # A recipe in float32 asks for a figure in float32.
    precision = "fp32" if recipe.precision == "fp32" else "auto"
    return detection_validation(
        validation, config, device=device, precision=precision, flow_images=flow_images
    )


def _publish(
    described: dict[str, Any],
    recipe: Recipe,
    path: Path,
    network: TwoStreamDetector,
    measures: dict[str, float],
) -> None:
    """Write a checkpoint: of a detector, or flow network and streams to start one from."""
    if recipe.task == "recognition":
        headless = {**described["detector"], "class_names": [], "anchors_wh": []}
        header = checkpoint_header({**described, "detector": headless}, measures)
        header = replace(header, missing=(FUSED_HEAD,))
    else:
        f_map = {f"f_map@{threshold}": value for threshold, value in measures.items()}
        header = checkpoint_header(described, f_map)
    # At the paper's weak rates half the digits would round much of the tuning away.
    dtype = torch.float16 if isinstance(recipe, LightRecipe) else torch.float32
    save_checkpoint(path, network, header, dtype)
